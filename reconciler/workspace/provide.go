// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// provide asks for the GPU nodes: by a GPUNodePool of the Workspace's own, or
// one that Git declares and several share.
func (r *Reconciler) provide(ctx context.Context, p *pass) error {
	if p.finished() || p.paused() || p.settled || p.held() {
		return nil
	}
	if err := p.mayUse(); err != nil {
		return err
	}
	if p.ws.Spec.Resource.NodePool != "" {
		p.ws.Status.NodePool = p.pool.Name
		return nil
	}
	if err := p.mayApply(); err != nil {
		return err
	}
	pool := p.out.Pool.DeepCopy()
	if err := p.keepInZones(pool); err != nil {
		return err
	}
	applied, err := r.applyWork(ctx, p, pool, apply.Object)
	if err != nil {
		return err
	}
	p.ws.Status.NodePool = applied.GetName()
	if p.pool == nil {
		condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonWaitingForNodes, "Node pool "+applied.GetName()+" is requested"+p.stays())
		return nil
	}
	// What was applied may have a new generation, which nobody has judged yet: the
	// old nodes are not ready for it.
	p.pool = &v1alpha1.GPUNodePool{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, p.pool); err != nil {
		return fmt.Errorf("reading back %s: %w", apply.Describe(applied), err)
	}
	return nil
}

// providerKept is where the nodes of the Workspace's own pool come from, "" where it
// has none: they stay there, whatever the spec, a default of the RepoSync or the
// controller say of the next ones.
func (p *pass) providerKept() v1alpha1.Provider {
	if p.pool == nil || !p.ownPool() || !p.pool.DeletionTimestamp.IsZero() {
		return ""
	}
	return p.pool.Spec.Provider
}

// providerNote tells of nodes that stay with their provider although the spec names
// another.
func (p *pass) providerNote() string {
	kept, wanted := p.providerKept(), p.ws.Spec.Resource.Provider
	if kept == "" || wanted == "" || kept == wanted {
		return ""
	}
	return fmt.Sprintf(". They come from %s and stay: %s makes those that are asked for next, for example after spec.suspend", kept, wanted)
}

// ownPool says whether the pool is the Workspace's, or was that of one of this name that is
// gone: its nodes are kept, and it is applied as the one of now.
func (p *pass) ownPool() bool { return owns(p.ws, p.pool) }

// mayApply refuses to take over a pool of somebody else's, and waits while the
// Workspace's own is still being given back. Moving to another instance type is
// the pool's own affair: it replaces what its spec no longer lists.
func (p *pass) mayApply() error {
	switch {
	case p.pool == nil:
		return nil
	case !p.ownPool():
		return fault.Stopf(v1alpha1.ReasonRefused,
			"GPUNodePool %s/%s exists and is not this Workspace's: rename the Workspace, or share the pool by spec.resource.nodePool", p.pool.Namespace, p.pool.Name)
	case !p.pool.DeletionTimestamp.IsZero():
		if c := condition.Get(p.pool, v1alpha1.ConditionDeletionBlocked); c != nil && c.Status == metav1.ConditionTrue {
			return fault.Wait(v1alpha1.ReasonWaitingForNodes, 0, "Node pool %s is deleted, and held: %s", p.pool.Name, c.Message)
		}
		return fault.Wait(v1alpha1.ReasonWaitingForNodes, 0, "Node pool %s is given back before it is requested again", p.pool.Name)
	}
	return nil
}

// deletePool gives nodes back. It is the controller's own deed, whoever asked for
// them: that somebody lacks a right must not cost money.
func (r *Reconciler) deletePool(ctx context.Context, pool *v1alpha1.GPUNodePool) error {
	err := r.Client.Delete(ctx, pool, client.Preconditions{UID: &pool.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("giving back node pool %s/%s: %w", pool.Namespace, pool.Name, err)
	}
	return nil
}
