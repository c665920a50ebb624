// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// countUsers counts the Workspaces that need a pool, where that decides anything.
func (r *Reconciler) countUsers(ctx context.Context, p *pass) error {
	if p.pool.Spec.Idle == nil || p.pool.DeletionTimestamp != nil {
		return nil
	}
	var workspaces v1alpha1.WorkspaceList
	if err := r.Client.List(ctx, &workspaces, client.InNamespace(p.pool.Namespace)); err != nil {
		return fmt.Errorf("listing Workspaces: %w", err)
	}
	p.facts.Users = len(usersOf(p.pool, workspaces.Items))
	return nil
}

// wantedAgain says, live, that somebody uses a pool whose nodes the decision would
// let go: the Workspace's event is on its way, and decides anew.
func (r *Reconciler) wantedAgain(ctx context.Context, p *pass) (bool, error) {
	var workspaces v1alpha1.WorkspaceList
	if err := r.Live.List(ctx, &workspaces, client.InNamespace(p.pool.Namespace)); err != nil {
		return false, fmt.Errorf("listing Workspaces: %w", err)
	}
	if len(usersOf(p.pool, workspaces.Items)) == 0 {
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

// useChanged lets through what can change whether a Workspace uses a pool: its
// spec, and that its run is done.
func useChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*v1alpha1.Workspace)
		after, okAfter := e.ObjectNew.(*v1alpha1.Workspace)
		if !okBefore || !okAfter {
			return true
		}
		return before.Generation != after.Generation || finished(before) != finished(after)
	}}
}
