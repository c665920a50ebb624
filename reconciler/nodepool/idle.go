// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// countUsers counts the Workspaces that can use a pool, where that decides anything.
func (r *Reconciler) countUsers(ctx context.Context, p *pass) error {
	byPods := p.pool.Spec.ByKarpenter()
	if p.pool.Spec.Idle == nil && !byPods || p.pool.DeletionTimestamp != nil {
		return nil
	}
	var workspaces v1alpha1.WorkspaceList
	if err := r.Client.List(ctx, &workspaces, client.InNamespace(p.pool.Namespace), client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return fmt.Errorf("listing Workspaces: %w", err)
	}
	if p.pool.Spec.Idle != nil {
		p.facts.Users = len(usersOf(p.pool, workspaces.Items, usesNone))
	}
	p.facts.Waiting = byPods && len(usersOf(p.pool, workspaces.Items, func(w *v1alpha1.Workspace) bool { return !waits(w) })) > 0
	return nil
}

// waits says whether a pod of a Workspace has no node.
func waits(w *v1alpha1.Workspace) bool {
	return falseFor(w, v1alpha1.ConditionReady, v1alpha1.ReasonWaitingForNodes)
}

// wantedAgain says, live, that somebody uses a pool whose nodes the decision would
// let go: the Workspace's event is on its way, and decides anew.
func (r *Reconciler) wantedAgain(ctx context.Context, p *pass) (bool, error) {
	var workspaces v1alpha1.WorkspaceList
	if err := r.Live.List(ctx, &workspaces, client.InNamespace(p.pool.Namespace)); err != nil {
		return false, fmt.Errorf("listing Workspaces: %w", err)
	}
	if len(usersOf(p.pool, workspaces.Items, usesNone)) == 0 {
		return false, nil
	}
	p.decision.Do, p.decision.Wait = pool.ActionNone, pool.Soon
	return true, nil
}

// poolUsed names the pool that a Workspace shares.
func poolUsed(_ context.Context, o client.Object) []reconcile.Request {
	w, ok := o.(*v1alpha1.Workspace)
	if !ok || w.Spec.Resource.NodePool == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: w.Namespace, Name: w.Spec.Resource.NodePool}}}
}

// usesNone says whether no pod of a Workspace can run on its nodes as it stands,
// so that none is kept or bought for it: its run is over, for good or until
// somebody acts, or it waits for Kueue, or it was stopped before it needed any.
func usesNone(w *v1alpha1.Workspace) bool {
	if finished(w) {
		return true
	}
	if w.Spec.Tuning != nil && falseFor(w, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonBudgetSpent, v1alpha1.ReasonJobFailed, v1alpha1.ReasonEvaluationFailed) {
		return true
	}
	return falseFor(w, v1alpha1.ConditionReady, v1alpha1.ReasonWaitingForQueue) || // Kueue holds the pods of its Job
		falseFor(w, v1alpha1.ConditionReady, stoppedBefore...) && !needed(w)
}

// stoppedBefore are reasons that are said before a Workspace needs a node, and also when
// one that has some is changed, or loses what it had.
var stoppedBefore = []string{
	v1alpha1.ReasonRefused, v1alpha1.ReasonInputMissing, v1alpha1.ReasonAccessDenied, v1alpha1.ReasonServiceAccountNotFound,
	v1alpha1.ReasonRegistryUnreachable, v1alpha1.ReasonClaimClassDiffers, v1alpha1.ReasonClaimNotShared, v1alpha1.ReasonWaitingForAdapter,
}

// needed says whether a Workspace came as far as to need nodes: it may run, or
// starts when it has them, whatever was refused or found missing since.
func needed(w *v1alpha1.Workspace) bool {
	if w.Spec.Tuning != nil {
		return w.Status.Tuning != nil // there is a Job
	}
	return condition.Get(w, v1alpha1.ConditionResourceReady) != nil &&
		!falseFor(w, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSuspended) && !falseFor(w, v1alpha1.ConditionResourceReady, stoppedBefore...)
}

// falseFor says whether a condition is False for one of some reasons.
func falseFor(w *v1alpha1.Workspace, kind string, reasons ...string) bool {
	c := condition.Get(w, kind)
	return c != nil && c.Status == metav1.ConditionFalse && slices.Contains(reasons, c.Reason)
}

// useChanged lets through what can change whether a Workspace uses a pool: its
// spec, and how far it is.
func useChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.Workspace)
		after, okAfter := e.ObjectNew.(*v1alpha1.Workspace)
		if !okBefore || !okAfter {
			return true
		}
		return before.Generation != after.Generation || usesNone(before) != usesNone(after) || waits(before) != waits(after)
	}}
}
