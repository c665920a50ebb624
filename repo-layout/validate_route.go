// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of route in the CRD.
const (
	maxParents   = 8
	maxHostnames = 16
	maxHostname  = 253
	maxRoutePath = 256
)

var (
	hostname  = regexp.MustCompile(`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	routePath = regexp.MustCompile(`^/[-A-Za-z0-9._~]+(/[-A-Za-z0-9._~]+)*$`)
)

func (v *validator) route(path string, r *v1alpha1.Route) {
	if r == nil {
		return
	}
	if len(r.ParentRefs) == 0 {
		v.refuse(finding.RouteInvalid, path+".parentRefs", "name the Gateway that the service is reached through: parentRefs: [{name: public, namespace: gateways}]")
	}
	v.atMost(path+".parentRefs", len(r.ParentRefs), maxParents)
	for i, p := range r.ParentRefs {
		v.parent(finding.Index(path+".parentRefs", i), p)
	}
	v.hostnames(path+".hostnames", r.Hostnames)
	if r.Path != "" && !v.placeholder(path+".path", r.Path) && (!routePath.MatchString(r.Path) || len(r.Path) > maxRoutePath) {
		v.refuse(finding.RouteInvalid, path+".path", "want the beginning of a path such as /phi-4-mini, without a slash at its end; leave it out for every path")
	}
	v.picker(path+".inferencePool.endpointPickerRef", r.InferencePool)
}

const maxPort = 65535

// serviceName is what a Service can be called.
var serviceName = regexp.MustCompile(`^[a-z]([-a-z0-9]*[a-z0-9])?$`)

// picker checks the endpoint picker of a pool.
func (v *validator) picker(path string, pool *v1alpha1.InferencePool) {
	if pool == nil {
		return
	}
	ref := pool.EndpointPickerRef
	switch {
	case ref.Name == "":
		v.refuse(finding.RouteInvalid, path+".name", "name the Service of the endpoint picker that runs in this namespace; without one leave inferencePool out, and the Gateway spreads the requests")
	case v.placeholder(path+".name", ref.Name):
	case len(ref.Name) > 63 || !serviceName.MatchString(ref.Name):
		v.refuse(finding.RouteInvalid, path+".name", "no Service can have this name: want at most 63 lower-case letters, digits and dashes, a letter first")
	}
	v.between(path+".port", int(ref.Port), 0, maxPort, "leave it out for 9002")
	switch ref.FailureMode {
	case "", v1alpha1.FailOpen, v1alpha1.FailClose:
	default:
		v.refuse(finding.NotOneOf, path+".failureMode", "want FailOpen, which sends requests to any copy while the picker does not answer, or FailClose, which drops them")
		meant(v, ref.FailureMode, v1alpha1.FailOpen, v1alpha1.FailClose)
	}
}

// parent checks the Gateway that a route hangs on.
func (v *validator) parent(at string, p v1alpha1.RouteParent) {
	if p.Name == "" {
		v.refuse(finding.RouteInvalid, at+".name", "want the name of a Gateway")
	}
	v.reference(at+".name", "Gateway", p.Name)
	if p.Namespace != "" && !v.placeholder(at+".namespace", p.Namespace) && (!plainName.MatchString(p.Namespace) || len(p.Namespace) > 63) {
		v.refuse(finding.RouteInvalid, at+".namespace", "this is no namespace: want at most 63 lower-case letters, digits and dashes")
	}
	v.reference(at+".sectionName", "listener", p.SectionName)
}

func (v *validator) hostnames(path string, names []string) {
	v.atMost(path, len(names), maxHostnames)
	for i, h := range names {
		at := finding.Index(path, i)
		if !v.placeholder(at, h) && (!hostname.MatchString(h) || len(h) > maxHostname) {
			v.refuse(finding.RouteInvalid, at, "want a name such as chat.example.com or *.example.com, in lower case and without scheme, port or path")
		}
	}
}

// picksItself refuses the Service of the Workspace in the place of a picker's.
func (v *validator) picksItself(w *v1alpha1.Workspace) {
	s := w.Spec.Inference
	if s == nil || s.Route == nil || s.Route.InferencePool == nil || s.Route.InferencePool.EndpointPickerRef.Name != w.Name {
		return
	}
	v.refuse(finding.RouteInvalid, "spec.inference.route.inferencePool.endpointPickerRef.name",
		"this is the Service of the model itself, which picks nothing: name that of the endpoint picker, such as %s-epp", w.Name)
}
