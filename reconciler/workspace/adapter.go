// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// adapters waits for the adapters that a tuning Workspace of the namespace trains and
// that have no digest yet: those that it promotes to this one until Git names the digest,
// others by the tag that it pushes to until it has pushed. Until then they may not be
// there, and nodes would be paid for nothing. What serves already, serves on: its pods are
// not replaced by such that would wait for an adapter.
func (r *Reconciler) adapters(ctx context.Context, p *pass) error {
	s := p.ws.Spec.Inference
	if s == nil || p.ws.Spec.Suspend || p.settled || p.servesThis() {
		return nil
	}
	if !slices.ContainsFunc(s.Adapters, func(a v1alpha1.Adapter) bool { return a.Image != "" && !repolayout.Pinned(a.Image) }) {
		return nil
	}
	meanwhile := "no node is requested before"
	if p.works() {
		meanwhile = "what serves goes on as it is until then"
	}
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(ctx, list, client.InNamespace(p.ws.Namespace), client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return fmt.Errorf("listing the Workspaces of namespace %s: %w", p.ws.Namespace, err)
	}
	for i := range list.Items {
		if why := awaits(p.ws, &list.Items[i], meanwhile); why != "" {
			if p.pool == nil {
				condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonWaitingForAdapter, why)
			}
			return fault.Wait(v1alpha1.ReasonWaitingForAdapter, 0, "%s", why)
		}
	}
	return nil
}

// awaits says which adapter of a service is not yet in Git as the run made it, and what is
// done meanwhile; "" for none.
func awaits(service, tuning *v1alpha1.Workspace, meanwhile string) string {
	for _, i := range repolayout.PromotedAdapters(tuning, service) {
		a := service.Spec.Inference.Adapters[i]
		if repolayout.Pinned(a.Image) {
			continue
		}
		if c := condition.Get(tuning, v1alpha1.ConditionTuningSucceeded); c != nil && c.Reason == v1alpha1.ReasonEvaluationFailed {
			return fmt.Sprintf("Adapter %s has no digest in Git yet: Workspace %s has trained it, and it missed its evaluation: one that is good enough is waited for; %s", a.Name, tuning.Name, meanwhile)
		}
		if t := tuning.Status.Tuning; t != nil && repolayout.Pinned(t.Adapter) {
			return fmt.Sprintf("Adapter %s is published by Workspace %s: merge the pull request that brings its digest, or write image: %s in its place; %s", a.Name, tuning.Name, t.Adapter, meanwhile)
		}
		return fmt.Sprintf("Adapter %s has no digest in Git yet: Workspace %s trains it; %s", a.Name, tuning.Name, meanwhile)
	}
	return awaitsTag(service, tuning, meanwhile)
}

// awaitsTag says which adapter of a service is at a tag that nothing was pushed to yet, by
// the run that pushes there; "" for none.
func awaitsTag(service, tuning *v1alpha1.Workspace, meanwhile string) string {
	t := tuning.Status.Tuning
	if t != nil && repolayout.Pinned(t.Adapter) {
		return ""
	}
	for _, i := range repolayout.TrainedAdapters(tuning, service) {
		a := service.Spec.Inference.Adapters[i]
		return fmt.Sprintf("Adapter %s has no digest yet: Workspace %s pushes to %s, and has not done so; %s. Where another run has, name what is there by digest",
			a.Name, tuning.Name, a.Image, meanwhile)
	}
	return ""
}

// awaiting maps a tuning Workspace to those that may wait for its adapter: the one that it
// promotes to, and those that name the tag that it pushes to. Of the latter only those
// that wait are woken while nothing is published: how far a run is concerns no service.
func (r *Reconciler) awaiting(ctx context.Context, o client.Object) []reconcile.Request {
	w, ok := o.(*v1alpha1.Workspace)
	if !ok || w.Spec.Tuning == nil {
		return nil
	}
	var requests []reconcile.Request
	if p := w.Spec.Tuning.Promote; p != nil {
		requests = append(requests, requestOf(w.Namespace, p.To))
	}
	from := repolayout.ImageRepository(w.Spec.Tuning.Output.Image)
	if from == "" {
		return requests
	}
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(ctx, list, client.InNamespace(w.Namespace), client.MatchingFields{indexAdapter: from}, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		ctrl.LoggerFrom(ctx).Error(err, "listing the Workspaces that serve an adapter", "from", from)
		return requests
	}
	for i := range list.Items {
		if to := &list.Items[i]; mayServe(w) || waits(to) {
			requests = append(requests, requestOf(to.Namespace, to.Name))
		}
	}
	return requests
}

// mayServe says that nothing waits for a tuning Workspace any more.
func mayServe(w *v1alpha1.Workspace) bool {
	t := w.Status.Tuning
	return !w.DeletionTimestamp.IsZero() || t != nil && repolayout.Pinned(t.Adapter)
}

// waits says that a service waits for an adapter, or had not been looked at.
func waits(w *v1alpha1.Workspace) bool {
	c := condition.Get(w, v1alpha1.ConditionReady)
	return c == nil || c.Reason == v1alpha1.ReasonWaitingForAdapter
}

func requestOf(namespace, name string) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}
}

// adapterRepositories are where the adapters of a spec are that have no digest.
func adapterRepositories(s *v1alpha1.WorkspaceSpec) []string {
	if s.Inference == nil {
		return nil
	}
	var from []string
	for _, a := range s.Inference.Adapters {
		if a.Image != "" && !repolayout.Pinned(a.Image) {
			from = append(from, repolayout.ImageRepository(a.Image))
		}
	}
	slices.Sort(from)
	return slices.Compact(from)
}
