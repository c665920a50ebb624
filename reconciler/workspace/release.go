// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// release gives the nodes back when a tuning run is done, well or badly, and
// while a Workspace is suspended: nobody pays for a GPU that waits.
func (r *Reconciler) release(ctx context.Context, p *pass) error {
	ws := p.ws
	done := p.finished()
	// A Job stays where it is; a Deployment moves with its template.
	if p.left != nil && p.left.DeletionTimestamp.IsZero() && (ws.Spec.Tuning == nil || done) {
		if err := r.deletePool(ctx, p.left); err != nil {
			return err
		}
	}
	switch {
	case done && !p.wasRecorded:
		// How the run ended is written first: after a crash in between, the pods
		// that tell it may be gone with their nodes.
		p.after = retryFirst
		return nil
	case !done && !ws.Spec.Suspend:
		return nil
	}
	if p.pool != nil && metav1.IsControlledBy(p.pool, ws) && p.pool.DeletionTimestamp.IsZero() {
		if err := r.deletePool(ctx, p.pool); err != nil {
			return err
		}
	}
	if done {
		condition.True(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, "The run is done and its nodes are given back")
		return nil
	}
	condition.False(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSuspended, "Suspended: the nodes are given back")
	return nil
}

// windDown is for a pass that an earlier step has stopped: the spec is refused,
// or an input is missing. A run that has ended meanwhile still gives its nodes
// back, and suspending still stops the spending.
func (r *Reconciler) windDown(ctx context.Context, p *pass) error {
	if job := p.job(); job != nil && (gaveUp(job) || jobCondition(job, batchv1.JobComplete) != nil) {
		if err := r.observeTuning(ctx, p); err != nil {
			return err
		}
		return r.release(ctx, p)
	}
	if !p.ws.Spec.Suspend {
		return nil
	}
	// The Deployment cannot be rendered without replicas here; it comes back with
	// the Workspace. A Job is suspended as it stands.
	if p.deployment != nil {
		err := r.Client.Delete(ctx, p.deployment, client.PropagationPolicy(metav1.DeletePropagationForeground))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("suspending Deployment %s/%s: %w", p.deployment.Namespace, p.deployment.Name, err)
		}
	}
	for i := range p.jobs {
		if err := r.suspendJob(ctx, &p.jobs[i], true); err != nil {
			return err
		}
	}
	return r.release(ctx, p)
}
