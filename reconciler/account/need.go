// SPDX-License-Identifier: Apache-2.0

package account

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Verbs of the API server.
const (
	Create = "create"
	Patch  = "patch"
	Delete = "delete"
)

// Need is one right that an account must have.
type Need struct {
	Namespace string
	Group     string
	Resource  string // plural, as in a Role
	Verb      string
}

// ToApply are the rights to apply an object of a kind: server-side apply is a
// patch, and creates what is not there.
func ToApply(gvk schema.GroupVersionKind, namespace string) []Need {
	return []Need{To(Create, gvk, namespace), To(Patch, gvk, namespace)}
}

// To is the right to one verb on a kind.
func To(verb string, gvk schema.GroupVersionKind, namespace string) Need {
	plural, _ := meta.UnsafeGuessKindToResource(gvk)
	return Need{Namespace: namespace, Group: gvk.Group, Resource: plural.Resource, Verb: verb}
}

// Kinds of children.
var (
	kindDeployment = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}
	kindRevision   = schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "ControllerRevision"}
	kindJob        = schema.GroupVersionKind{Group: "batch", Version: "v1", Kind: "Job"}
	kindService    = schema.GroupVersionKind{Version: "v1", Kind: "Service"}
	kindConfigMap  = schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}
	kindClaim      = schema.GroupVersionKind{Version: "v1", Kind: "PersistentVolumeClaim"}
	kindBudget     = schema.GroupVersionKind{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"}
	kindHPA        = schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: render.KindHPA}
	kindScaled     = schema.GroupVersionKind{Group: "keda.sh", Version: "v1alpha1", Kind: render.KindScaledObject}
	kindPolicy     = schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}
	kindRoute      = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: render.KindRoute}
	kindEndpoints  = schema.GroupVersionKind{Group: "inference.networking.k8s.io", Version: "v1", Kind: render.KindInferencePool}
	kindPool       = v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind)
)

// Children are the rights that the children of a Workspace need whatever it is
// sized to: what is known before anything is rendered. What else there is, such
// as the StatefulSets of a model over several nodes, is asked for when it is.
func Children(ws *v1alpha1.Workspace) []Need {
	var kinds []schema.GroupVersionKind
	if ws.Spec.Resource.NodePool == "" {
		kinds = append(kinds, kindPool)
	}
	if ws.Spec.Tuning != nil {
		kinds = append(kinds, kindConfigMap, kindClaim, kindJob)
		if ws.Spec.Resource.Count > 1 {
			kinds = append(kinds, kindService, kindPolicy)
		}
	}
	if ws.Spec.Inference != nil {
		kinds = append(kinds, ofService(*ws.Spec.Inference)...)
	}
	var needs []Need
	for _, kind := range kinds {
		needs = append(needs, ToApply(kind, ws.Namespace)...)
	}
	if ws.Spec.Inference != nil {
		needs = append(needs, Revisions(ws.Namespace))
	}
	return needs
}

func ofService(s v1alpha1.InferenceSpec) []schema.GroupVersionKind {
	kinds := []schema.GroupVersionKind{kindDeployment, kindService, kindBudget}
	if s.Route != nil {
		kinds = append(kinds, kindRoute)
	}
	if s.Route != nil && s.Route.InferencePool != nil {
		kinds = append(kinds, kindEndpoints)
	}
	switch {
	case s.Autoscale == nil:
	case s.Autoscale.KEDA != nil:
		kinds = append(kinds, kindScaled)
	default:
		kinds = append(kinds, kindHPA)
	}
	return kinds
}

// Revisions is the right to keep what the pods of a service were rendered to.
func Revisions(namespace string) Need { return To(Create, kindRevision, namespace) }

// Sorted brings needs into the order in which they are told, each once.
func Sorted(needs []Need) []Need {
	sorted := slices.Clone(needs)
	slices.SortFunc(sorted, func(a, b Need) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Group, b.Group),
			cmp.Compare(a.Resource, b.Resource), cmp.Compare(a.Verb, b.Verb))
	})
	return slices.Compact(sorted)
}

// Text tells needs as "create, patch deployments.apps in namespace team-a; …".
func Text(needs []Need) string {
	var parts []string
	var verbs []string
	sorted := Sorted(needs)
	for i, n := range sorted {
		verbs = append(verbs, n.Verb)
		if i+1 < len(sorted) && sameResource(n, sorted[i+1]) {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s in namespace %s", strings.Join(verbs, ", "), n.resource(), n.Namespace))
		verbs = nil
	}
	return strings.Join(parts, "; ")
}

func sameResource(a, b Need) bool {
	return a.Namespace == b.Namespace && a.Group == b.Group && a.Resource == b.Resource
}

// resource is the name as kubectl takes it.
func (n Need) resource() string {
	if n.Group == "" {
		return n.Resource
	}
	return n.Resource + "." + n.Group
}
