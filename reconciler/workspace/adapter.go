// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// adapters waits for the adapters that a tuning Workspace of the namespace promotes
// to this one and that Git does not name by digest yet: until then they may not be
// there, and nodes would be paid for nothing. What serves already, serves on.
func (r *Reconciler) adapters(ctx context.Context, p *pass) error {
	s := p.ws.Spec.Inference
	if s == nil || p.ws.Spec.Suspend || p.settled || p.deployment != nil || len(p.sets) > 0 {
		return nil
	}
	if !slices.ContainsFunc(s.Adapters, func(a v1alpha1.Adapter) bool { return a.Image != "" && !repolayout.Pinned(a.Image) }) {
		return nil
	}
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(ctx, list, client.InNamespace(p.ws.Namespace)); err != nil {
		return fmt.Errorf("listing the Workspaces of namespace %s: %w", p.ws.Namespace, err)
	}
	for i := range list.Items {
		if why := awaits(p.ws, &list.Items[i]); why != "" {
			if p.pool == nil {
				condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonWaitingForAdapter, why)
			}
			return fault.Wait(v1alpha1.ReasonWaitingForAdapter, 0, "%s", why)
		}
	}
	return nil
}

// awaits says which adapter of a service is not yet in Git as the run made it, ""
// for none.
func awaits(service, tuning *v1alpha1.Workspace) string {
	for _, i := range repolayout.PromotedAdapters(tuning, service) {
		a := service.Spec.Inference.Adapters[i]
		if repolayout.Pinned(a.Image) {
			continue
		}
		if c := condition.Get(tuning, v1alpha1.ConditionTuningSucceeded); c != nil && c.Reason == v1alpha1.ReasonEvaluationFailed {
			return fmt.Sprintf("Adapter %s has no digest in Git yet: Workspace %s has trained it, and it missed its evaluation; no node is requested before one is good enough", a.Name, tuning.Name)
		}
		if t := tuning.Status.Tuning; t != nil && repolayout.Pinned(t.Adapter) {
			return fmt.Sprintf("Adapter %s is published by Workspace %s: merge the pull request that brings its digest, or write image: %s in its place; no node is requested before", a.Name, tuning.Name, t.Adapter)
		}
		return fmt.Sprintf("Adapter %s has no digest in Git yet: Workspace %s trains it; no node is requested before", a.Name, tuning.Name)
	}
	return ""
}

// promotedTo maps a tuning Workspace to the one that waits for its adapter.
func promotedTo(_ context.Context, o client.Object) []reconcile.Request {
	w, ok := o.(*v1alpha1.Workspace)
	if !ok || w.Spec.Tuning == nil || w.Spec.Tuning.Promote == nil {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: w.Namespace, Name: w.Spec.Tuning.Promote.To}}}
}
