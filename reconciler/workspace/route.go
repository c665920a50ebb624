// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// outlet is a kind of object that publishes a service, and how its state is told.
type outlet struct {
	kind      schema.GroupVersionKind
	condition string
	refused   string // reason where a Gateway does not take it
	remedy    string // in a cluster that has no such kind
	unheard   string // where no controller says anything about it
}

var (
	routes = outlet{
		kind:      schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: render.KindRoute},
		condition: v1alpha1.ConditionRouteAccepted,
		refused:   v1alpha1.ReasonRouteNotAccepted,
		remedy:    "install Gateway API and a controller for it, or drop spec.inference.route",
		unheard:   "whether its listeners allow routes of namespace %s (allowedRoutes)",
	}
	inferencePools = outlet{
		kind:      schema.GroupVersionKind{Group: "inference.networking.k8s.io", Version: "v1", Kind: render.KindInferencePool},
		condition: v1alpha1.ConditionPoolAccepted,
		refused:   v1alpha1.ReasonPoolNotAccepted,
		remedy:    "install the Gateway API Inference Extension and a Gateway that supports it, or drop spec.inference.route.inferencePool",
		unheard:   "whether its controller supports InferencePools and looks at namespace %s",
	}
)

// expose publishes a service through the Gateways that the spec names, and takes
// that back when it names none. The service itself does not wait for it.
func (r *Reconciler) expose(ctx context.Context, p *pass) error {
	ws := p.ws
	switch {
	case p.settled:
		return nil
	case p.out.Route == nil:
		if err := r.withdraw(ctx, ws, routes); err != nil {
			return err
		}
		return r.withdraw(ctx, ws, inferencePools)
	case begun(ws, p.out):
		return fault.Wait(v1alpha1.ReasonProgressing, retryFirst, "The HTTPRoute is being made")
	}
	// The pool is made before the route that names it, and goes after it: where the
	// cluster has no such kind, what was published before stays so.
	pool, err := r.publish(ctx, ws, inferencePools, p.out.InferencePool)
	if err != nil {
		return err
	}
	route, err := r.publish(ctx, ws, routes, p.out.Route)
	if err != nil {
		return err
	}
	if pool == nil {
		if err := r.withdraw(ctx, ws, inferencePools); err != nil {
			return err
		}
	}
	return cmp.Or(judged(ws, routes, route), judged(ws, inferencePools, pool)) // both are told
}

// begun writes down that objects are being made before they are, and says that it
// has: a controller that ends in between leaves none that nobody takes back.
func begun(ws *v1alpha1.Workspace, out render.Output) bool {
	wrote := false
	for _, part := range []struct {
		outlet
		wanted *unstructured.Unstructured
	}{{routes, out.Route}, {inferencePools, out.InferencePool}} {
		if part.wanted != nil && condition.Get(ws, part.condition) == nil {
			condition.False(ws, part.condition, v1alpha1.ReasonProgressing, "The "+part.kind.Kind+" is being made")
			wrote = true
		}
	}
	return wrote
}

// publish applies an object where it is wanted, and returns it as the cluster has it.
func (r *Reconciler) publish(ctx context.Context, ws *v1alpha1.Workspace, o outlet, wanted *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if wanted == nil {
		return nil, nil
	}
	applied, err := r.applyChild(ctx, ws, wanted.DeepCopy())
	if meta.IsNoMatchError(err) {
		message := fmt.Sprintf("The cluster has no kind %s of %s, by which the service is to be published; it answers within the cluster: %s", o.kind.Kind, o.kind.GroupVersion(), o.remedy)
		condition.False(ws, o.condition, v1alpha1.ReasonInputMissing, message)
		return nil, fault.Wait(v1alpha1.ReasonInputMissing, lookAgain, "%s", message)
	}
	return applied, err
}

// judged says what Gateways answer to an object that was applied, if one was.
func judged(ws *v1alpha1.Workspace, o outlet, applied *unstructured.Unstructured) error {
	if applied == nil {
		return nil
	}
	answer, err := answerOf(ws, o, applied)
	switch {
	case err != nil:
		return err
	case answer.reason == v1alpha1.ReasonSucceeded:
		condition.True(ws, o.condition, answer.reason, answer.message)
		return nil
	}
	condition.False(ws, o.condition, answer.reason, answer.message)
	if ws.Spec.Suspend {
		return nil
	}
	return fault.Wait(answer.reason, lookAgain, "%s", answer.message)
}

// withdraw deletes the object that the Workspace had. That it had one is known from
// its condition: no pass asks for a kind that the cluster may not have.
func (r *Reconciler) withdraw(ctx context.Context, ws *v1alpha1.Workspace, outlet outlet) error {
	if condition.Get(ws, outlet.condition) == nil {
		return nil
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(outlet.kind)
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(ws), o)
	switch {
	case meta.IsNoMatchError(err), err != nil && client.IgnoreNotFound(err) == nil:
	case err != nil:
		return fmt.Errorf("reading %s %s/%s: %w", outlet.kind.Kind, ws.Namespace, ws.Name, err)
	case metav1.IsControlledBy(o, ws):
		if err := r.remove(ctx, o, client.Preconditions{UID: &o.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s %s/%s: %w", outlet.kind.Kind, ws.Namespace, ws.Name, err)
		}
	}
	condition.Remove(ws, outlet.condition)
	return nil
}

// answer of the Gateways, as a condition says it.
type answer struct{ reason, message string }

// routeParent is what a controller of Gateway API says of one Gateway.
type routeParent struct {
	ParentRef  v1alpha1.RouteParent `json:"parentRef"`
	Conditions []metav1.Condition   `json:"conditions"`
}

// answerOf reads what was said of the object as it is now, by each Gateway that the
// spec names.
func answerOf(ws *v1alpha1.Workspace, o outlet, applied *unstructured.Unstructured) (answer, error) {
	var is struct {
		Status struct {
			Parents []routeParent `json:"parents"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, &is); err != nil {
		return answer{}, fmt.Errorf("reading what Gateways say of %s %s/%s: %w", o.kind.Kind, ws.Namespace, ws.Name, err)
	}
	for _, parent := range ws.Spec.Inference.Route.ParentRefs {
		parent.Namespace = cmp.Or(parent.Namespace, ws.Namespace)
		if o.kind == inferencePools.kind {
			parent.SectionName = "" // it is taken by a Gateway as a whole
		}
		said := slices.IndexFunc(is.Status.Parents, func(p routeParent) bool {
			p.ParentRef.Namespace = cmp.Or(p.ParentRef.Namespace, ws.Namespace)
			return p.ParentRef == parent
		})
		name := parent.Namespace + "/" + parent.Name
		if said < 0 {
			return answer{v1alpha1.ReasonWaitingForGateway, fmt.Sprintf("No controller has answered for Gateway %s about the %s: see whether it is there, and "+o.unheard, name, o.kind.Kind, ws.Namespace)}, nil
		}
		if a := o.saidBy(name, is.Status.Parents[said].Conditions, applied.GetGeneration()); a != nil {
			return *a, nil
		}
	}
	return answer{v1alpha1.ReasonSucceeded, "Every Gateway takes the " + o.kind.Kind}, nil
}

// saidBy is what one Gateway has against the object, or that it has not looked at it
// as it is; nil: nothing.
func (o outlet) saidBy(gateway string, conditions []metav1.Condition, generation int64) *answer {
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		c := meta.FindStatusCondition(conditions, kind)
		switch {
		case c == nil || c.ObservedGeneration != 0 && c.ObservedGeneration < generation:
			return &answer{v1alpha1.ReasonWaitingForGateway, fmt.Sprintf("Gateway %s has not judged the %s yet", gateway, o.kind.Kind)}
		case c.Status != metav1.ConditionTrue:
			return &answer{o.refused, fmt.Sprintf("Gateway %s does not take the %s (%s): %s", gateway, o.kind.Kind, c.Reason, c.Message)}
		}
	}
	return nil
}
