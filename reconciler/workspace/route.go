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

var httpRoutes = schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: render.KindRoute}

// expose publishes a service through the Gateways that the spec names, and takes
// that back when it names none. The service itself does not wait for it.
func (r *Reconciler) expose(ctx context.Context, p *pass) error {
	ws := p.ws
	switch {
	case p.settled:
		return nil
	case p.out.Route == nil:
		return r.withdraw(ctx, ws)
	case condition.Get(ws, v1alpha1.ConditionRouteAccepted) == nil:
		// Written before the route is, so that a controller that ends in between
		// leaves none that nobody takes back.
		condition.False(ws, v1alpha1.ConditionRouteAccepted, v1alpha1.ReasonProgressing, "The HTTPRoute is being made")
		return fault.Wait(v1alpha1.ReasonProgressing, retryFirst, "The HTTPRoute is being made")
	}
	applied, err := r.applyChild(ctx, ws, p.out.Route.DeepCopy())
	if meta.IsNoMatchError(err) {
		const message = "The cluster has no kind HTTPRoute of Gateway API, so nothing publishes the service, which answers within the cluster: install Gateway API and a controller for it, or drop spec.inference.route"
		condition.False(ws, v1alpha1.ConditionRouteAccepted, v1alpha1.ReasonInputMissing, message)
		return fault.Wait(v1alpha1.ReasonInputMissing, lookAgain, "%s", message)
	}
	if err != nil {
		return err
	}
	answer, err := answerOf(ws, applied)
	switch {
	case err != nil:
		return err
	case answer.reason == v1alpha1.ReasonSucceeded:
		condition.True(ws, v1alpha1.ConditionRouteAccepted, answer.reason, answer.message)
		return nil
	}
	condition.False(ws, v1alpha1.ConditionRouteAccepted, answer.reason, answer.message)
	if ws.Spec.Suspend {
		return nil
	}
	return fault.Wait(answer.reason, lookAgain, "%s", answer.message)
}

// withdraw deletes the HTTPRoute that the Workspace had. That it had one is known
// from its condition: no pass asks for a kind that the cluster may not have.
func (r *Reconciler) withdraw(ctx context.Context, ws *v1alpha1.Workspace) error {
	if condition.Get(ws, v1alpha1.ConditionRouteAccepted) == nil {
		return nil
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(httpRoutes)
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(ws), o)
	switch {
	case meta.IsNoMatchError(err), err != nil && client.IgnoreNotFound(err) == nil:
	case err != nil:
		return fmt.Errorf("reading HTTPRoute %s/%s: %w", ws.Namespace, ws.Name, err)
	case metav1.IsControlledBy(o, ws):
		if err := r.remove(ctx, o, client.Preconditions{UID: &o.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting HTTPRoute %s/%s: %w", ws.Namespace, ws.Name, err)
		}
	}
	condition.Remove(ws, v1alpha1.ConditionRouteAccepted)
	return nil
}

// answer of the Gateways, as a condition says it.
type answer struct{ reason, message string }

// routeParent is what a controller of Gateway API says of one Gateway.
type routeParent struct {
	ParentRef  v1alpha1.RouteParent `json:"parentRef"`
	Conditions []metav1.Condition   `json:"conditions"`
}

// answerOf reads what was said of the route as it is now.
func answerOf(ws *v1alpha1.Workspace, route *unstructured.Unstructured) (answer, error) {
	var is struct {
		Status struct {
			Parents []routeParent `json:"parents"`
		} `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(route.Object, &is); err != nil {
		return answer{}, fmt.Errorf("reading what Gateways say of HTTPRoute %s/%s: %w", ws.Namespace, ws.Name, err)
	}
	for _, parent := range ws.Spec.Inference.Route.ParentRefs {
		name := cmp.Or(parent.Namespace, ws.Namespace) + "/" + parent.Name
		at := slices.IndexFunc(is.Status.Parents, func(p routeParent) bool {
			p.ParentRef.Namespace = cmp.Or(p.ParentRef.Namespace, ws.Namespace)
			return p.ParentRef == v1alpha1.RouteParent{Name: parent.Name, Namespace: cmp.Or(parent.Namespace, ws.Namespace), SectionName: parent.SectionName}
		})
		if at < 0 {
			return answer{v1alpha1.ReasonWaitingForGateway, fmt.Sprintf("No controller has answered for Gateway %s: see whether it is there, and whether its listeners allow routes of namespace %s (allowedRoutes)", name, ws.Namespace)}, nil
		}
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			c := meta.FindStatusCondition(is.Status.Parents[at].Conditions, kind)
			switch {
			case c == nil || c.ObservedGeneration != 0 && c.ObservedGeneration < route.GetGeneration():
				return answer{v1alpha1.ReasonWaitingForGateway, fmt.Sprintf("Gateway %s has not judged the HTTPRoute yet", name)}, nil
			case c.Status != metav1.ConditionTrue:
				return answer{v1alpha1.ReasonRouteNotAccepted, fmt.Sprintf("Gateway %s does not take the HTTPRoute (%s): %s", name, c.Reason, c.Message)}, nil
			}
		}
	}
	return answer{v1alpha1.ReasonSucceeded, "Every Gateway takes the HTTPRoute"}, nil
}
