// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (r *Reconciler) ensureFinalizer(ctx context.Context, ws *v1alpha1.Workspace) error {
	before := ws.DeepCopy()
	if !controllerutil.AddFinalizer(ws, repolayout.Finalizer) {
		return nil
	}
	if err := r.Client.Patch(ctx, ws, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("adding the finalizer to Workspace %s/%s: %w", ws.Namespace, ws.Name, err)
	}
	r.isNew(ws)
	return nil
}

// finalize takes a Workspace down in order: the workload, the claims, the node
// pool. The Workspace stays, saying what it still costs, until the pool is gone.
func (r *Reconciler) finalize(ctx context.Context, ws *v1alpha1.Workspace) error {
	if !controllerutil.ContainsFinalizer(ws, repolayout.Finalizer) {
		return nil
	}
	p := &pass{ws: ws}
	if err := r.children(ctx, p); err != nil {
		return err
	}
	for _, step := range []func(context.Context, *pass) (string, error){
		r.removeWorkload, r.removeClaims, r.removePools,
	} {
		left, err := step(ctx, p)
		if err != nil {
			return err
		}
		if left != "" {
			condition.False(ws, v1alpha1.ConditionWorkspaceReady, v1alpha1.ReasonDeleting, left)
			condition.Progressing(ws, v1alpha1.ReasonDeleting, left)
			return fault.Wait(v1alpha1.ReasonDeleting, 0, "%s", left)
		}
	}
	before := ws.DeepCopy()
	r.written.Forget(ws.UID)
	r.dismiss(client.ObjectKeyFromObject(ws)) // the next of that name may come before a pass that finds none
	controllerutil.RemoveFinalizer(ws, repolayout.Finalizer)
	if err := r.Client.Patch(ctx, ws, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("removing the finalizer of Workspace %s/%s: %w", ws.Namespace, ws.Name, err)
	}
	return nil
}

// removeWorkload deletes Deployment, StatefulSets and Jobs, and waits for their pods.
func (r *Reconciler) removeWorkload(ctx context.Context, p *pass) (string, error) {
	left := ""
	if p.deployment != nil {
		left = "Waiting for Deployment " + p.deployment.Name + " to go"
		if err := r.deleteDeployment(ctx, p); err != nil {
			return "", err
		}
	}
	for i := range p.sets {
		left = "Waiting for StatefulSet " + p.sets[i].Name + " to go"
		if err := r.deleteWorkload(ctx, &p.sets[i]); err != nil {
			return "", err
		}
	}
	for i := range p.jobs {
		left = "Waiting for Job " + p.jobs[i].Name + " to go"
		if err := r.deleteJob(ctx, &p.jobs[i]); err != nil {
			return "", err
		}
	}
	return left, nil
}

// removeClaims deletes the claims of a Workspace. The checkpoints of a run that
// has published nothing are kept: they are the only trace of what was paid for. Such a run
// may have no Job just now, and no word in the status: what has a volume may hold something.
func (r *Reconciler) removeClaims(ctx context.Context, p *pass) (string, error) {
	claims := &corev1.PersistentVolumeClaimList{}
	err := r.Reader.List(ctx, claims, client.InNamespace(p.ws.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: p.ws.Name})
	if err != nil {
		return "", fmt.Errorf("listing the claims of Workspace %s/%s: %w", p.ws.Namespace, p.ws.Name, err)
	}
	if p.ws.Spec.Tuning.Kept().Retain == v1alpha1.RetainAlways {
		return "", nil
	}
	hasVolume := func(c corev1.PersistentVolumeClaim) bool { return c.Spec.VolumeName != "" }
	started := p.ws.Status.Tuning != nil || slices.ContainsFunc(claims.Items, hasVolume)
	if started && !condition.Is(p.ws, v1alpha1.ConditionTuningSucceeded) {
		for _, c := range claims.Items {
			r.Events.Eventf(p.ws, nil, corev1.EventTypeWarning, "CheckpointsKept", "Delete",
				"Claim %s keeps %s of a run that published nothing: a Workspace of the same name and inputs %s; else kubectl delete pvc -n %s %s",
				c.Name, p.keeps(), p.resumes(), c.Namespace, c.Name)
		}
		return "", nil
	}
	for i := range claims.Items {
		if err := r.remove(ctx, &claims.Items[i]); err != nil && !apierrors.IsNotFound(err) {
			return "", fmt.Errorf("deleting claim %s/%s: %w", claims.Items[i].Namespace, claims.Items[i].Name, err)
		}
	}
	return "", nil
}

// removePools deletes the Workspace's own pools and waits until the cloud has
// let go of the nodes.
func (r *Reconciler) removePools(ctx context.Context, p *pass) (string, error) {
	for _, pool := range []*v1alpha1.GPUNodePool{p.pool, p.left} {
		if !owns(p.ws, pool) {
			continue
		}
		if pool.DeletionTimestamp.IsZero() {
			if err := r.deletePool(ctx, pool); err != nil {
				return "", err
			}
		}
		if c := condition.Get(pool, v1alpha1.ConditionDeletionBlocked); c != nil && c.Status == metav1.ConditionTrue {
			return c.Message, nil
		}
		return fmt.Sprintf("Node pool %s is being given back; until then it costs %s", pool.Name, usd(pool.Status.USDPerHour)), nil
	}
	return "", nil
}

// keeps and resumes say what the claim of a run holds, and what that is good for.
func (p *pass) keeps() string {
	if p.ws.Spec.Resumes() {
		return "the checkpoints"
	}
	return "the adapter, where it was trained to its end,"
}

func (p *pass) resumes() string {
	if p.ws.Spec.Resumes() {
		return "resumes from it"
	}
	return "publishes it, or begins again"
}
