// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// KindRoute is Gateway API's kind for HTTP.
const KindRoute = "HTTPRoute"

// published adds what publishes a service, where the spec says so.
func (j job) published(l *layer) error {
	r := j.spec.Inference.Route
	if r == nil {
		return nil
	}
	l.objects = append(l.objects, j.route())
	if r.InferencePool == nil {
		return nil
	}
	pool, err := j.inferencePool(l.base)
	if err != nil {
		return err
	}
	l.objects = append(l.objects, pool)
	return nil
}

// backend is who answers what comes by the route: the Service, or the pool whose
// copies an endpoint picker knows.
func (j job) backend() object {
	if j.spec.Inference.Route.InferencePool != nil {
		return object{"group": inferenceGroup, "kind": KindInferencePool, "name": j.name, "weight": 1}
	}
	return object{"group": "", "kind": "Service", "name": j.name, "port": 80, "weight": 1}
}

// route publishes a service through the Gateways that the spec
// names.
func (j job) route() object {
	r := j.spec.Inference.Route
	parents := make([]any, 0, len(r.ParentRefs))
	for _, p := range r.ParentRefs {
		parent := object{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": p.Name}
		if p.Namespace != "" {
			parent["namespace"] = p.Namespace
		}
		if p.SectionName != "" {
			parent["sectionName"] = p.SectionName
		}
		parents = append(parents, parent)
	}
	rule := object{
		"matches":     []any{object{"path": object{"type": "PathPrefix", "value": "/"}}},
		"backendRefs": []any{j.backend()},
	}
	if r.Path != "" {
		rule["matches"] = []any{object{"path": object{"type": "PathPrefix", "value": r.Path}}}
		rule["filters"] = []any{object{"type": "URLRewrite", "urlRewrite": object{
			"path": object{"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"},
		}}}
	}
	spec := object{"parentRefs": parents, "rules": []any{rule}}
	if len(r.Hostnames) > 0 {
		spec["hostnames"] = texts(r.Hostnames)
	}
	return object{
		"apiVersion": "gateway.networking.k8s.io/v1", "kind": KindRoute, "metadata": object{"name": j.name}, "spec": spec,
	}
}

// filters of a route that leave a request to whom it is for.
var filters = []any{"RequestHeaderModifier", "ResponseHeaderModifier", "URLRewrite", "CORS"}

// permittedRoute sees that a patch sends requests nowhere else: other backends
// would publish what somebody else has not.
func permittedRoute(own, out *unstructured.Unstructured) error {
	if own.GetKind() != KindRoute {
		return nil
	}
	ours, _, _ := unstructured.NestedSlice(own.Object, "spec", "rules")
	rules, _, err := unstructured.NestedSlice(out.Object, "spec", "rules")
	if err != nil || len(ours) == 0 {
		return errors.New("spec.rules is no list")
	}
	backends := ours[0].(object)["backendRefs"]
	for _, r := range rules {
		rule, ok := r.(object)
		if !ok || !reflect.DeepEqual(rule["backendRefs"], backends) {
			return errors.New("backendRefs of every rule are the Service or the InferencePool of this Workspace, without filters of their own")
		}
		list, _, _ := unstructured.NestedSlice(rule, "filters")
		for _, f := range list {
			if filter, ok := f.(object); !ok || !slices.Contains(filters, filter["type"]) {
				return fmt.Errorf("filter %v is not allowed, which may send requests elsewhere: allowed are %v", filter["type"], filters)
			}
		}
	}
	return nil
}
