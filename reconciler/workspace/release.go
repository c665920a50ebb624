// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// release gives the nodes back when a tuning run is done, well or badly, and
// while a Workspace is suspended or waits in a queue: nobody pays for a GPU that
// waits. Pods that were told to go have the time to write a checkpoint.
func (r *Reconciler) release(ctx context.Context, p *pass) error {
	done := p.finished()
	if !done && !p.onLeft() {
		if err := r.giveBack(ctx, p.ws, p.left); err != nil {
			return err
		}
	}
	switch {
	case done && !p.wasRecorded:
		// How the run ended is written first: after a crash in between, the pods
		// that tell it may be gone with their nodes.
		p.after = retryFirst
		return nil
	case done:
		return r.releaseRun(ctx, p)
	case !p.paused() && !p.held():
		return nil
	case p.saving(r.Clock()):
		p.lookAfter(lookAtSaving)
		return nil
	}
	return r.releasePaused(ctx, p)
}

// releasePaused gives back what a Workspace holds that is not to run for now.
func (r *Reconciler) releasePaused(ctx context.Context, p *pass) error {
	if err := r.giveBackAll(ctx, p); err != nil {
		return err
	}
	p.sayPaused()
	return nil
}

// sayPaused says on ResourceReady what became of the nodes.
func (p *pass) sayPaused() {
	switch {
	case p.ws.Spec.Suspend:
		condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSuspended, "Suspended: "+p.nodesLeft())
	case p.broke:
		condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonBudgetSpent, "The budget of the run is spent: "+p.nodesLeft())
	}
}

// releaseRun gives back what a run that is done has held.
func (r *Reconciler) releaseRun(ctx context.Context, p *pass) error {
	if err := r.giveBackAll(ctx, p); err != nil {
		return err
	}
	if err := r.dropCheckpoints(ctx, p); err != nil {
		return err
	}
	message := "The run is done and its nodes are given back"
	if p.shares() {
		message = "The run is done and " + p.nodesLeft()
	}
	if c := condition.Get(p.ws, v1alpha1.ConditionJobStarted); c != nil && c.Reason == v1alpha1.ReasonAlreadyPublished {
		message = "The adapter was published before: no node is held for the run"
	}
	condition.True(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, message)
	return nil
}

// giveBackAll gives back what is the Workspace's own of what it runs on and of what it has
// left.
func (r *Reconciler) giveBackAll(ctx context.Context, p *pass) error {
	if err := r.giveBack(ctx, p.ws, p.pool); err != nil {
		return err
	}
	return r.giveBack(ctx, p.ws, p.left)
}

// onLeft says that a run is on the nodes that the Workspace has left: a Job stays where it
// is until another takes its place, where a Deployment moves with its template. On nodes that exist Jobs name no pool.
func (p *pass) onLeft() bool {
	if p.left == nil || p.ws.Spec.Tuning == nil {
		return false
	}
	label, exist := repolayout.PoolLabelValue(p.left.Namespace, p.left.Name), p.left.Spec.Provider == v1alpha1.ProviderExisting
	return slices.ContainsFunc(p.jobs, func(job batchv1.Job) bool { return exist || poolOf(&job) == label })
}

// poolOf is the pool that the pods of a Job are to run on, as its nodes name it; "" on nodes
// that exist.
func poolOf(job *batchv1.Job) string {
	return job.Spec.Template.Spec.NodeSelector[repolayout.LabelPool]
}

// moves says that a Job is to go on on another pool: the nodes of that are there, Kueue says
// when, or those that it waits for are brought by nobody, since it was suspended, or the
// Workspace's own, on which it was, is gone. Until then it stays where it is.
func (p *pass) moves(job *batchv1.Job) bool {
	if p.paused() || !p.elsewhere(job) {
		return false
	}
	own := poolOf(job) == repolayout.PoolLabelValue(p.ws.Namespace, p.ws.Name)
	return p.poolReady() || p.queued() || ptr.Deref(job.Spec.Suspend, false) || own && p.left == nil
}

// elsewhere says that a Job is on another pool than it would be rendered for now.
func (p *pass) elsewhere(job *batchv1.Job) bool {
	if p.out.Workload == nil {
		return false
	}
	wanted, err := p.wantedJob()
	return err == nil && poolOf(wanted) != poolOf(job)
}

// stays says where a run is that waits for the nodes that it is to go on on.
func (p *pass) stays() string {
	job := p.job()
	if job == nil || p.ws.Spec.Tuning == nil || !p.elsewhere(job) {
		return ""
	}
	where := "the nodes that it has"
	if p.staysOn != nil {
		where = "node pool " + p.staysOn.Name
	}
	return ". The run stays on " + where + " until these nodes are ready, and " + repolayout.GoesOn(p.ws.Spec) + " on them"
}

// giveBack deletes a pool that is the Workspace's own, and says on it that the
// Workspace has done so: a deletion by hand waits while it works on the nodes. The
// mark comes second, so that no pool has it that is not deleted.
func (r *Reconciler) giveBack(ctx context.Context, ws *v1alpha1.Workspace, pool *v1alpha1.GPUNodePool) error {
	if !owns(ws, pool) {
		return nil
	}
	if pool.DeletionTimestamp.IsZero() {
		if err := r.deletePool(ctx, pool); err != nil {
			return err
		}
	}
	if pool.Annotations[repolayout.AnnotationGivenBack] == string(pool.UID) {
		return nil
	}
	before := pool.DeepCopy()
	metav1.SetMetaDataAnnotation(&pool.ObjectMeta, repolayout.AnnotationGivenBack, string(pool.UID))
	if err := r.Client.Patch(ctx, pool, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("marking node pool %s/%s as given back: %w", pool.Namespace, pool.Name, err)
	}
	return nil
}

// windDown is for a pass that an earlier step has stopped: the spec is refused,
// or an input is missing. A run that has ended meanwhile still gives its nodes
// back, and suspending still stops the spending.
func (r *Reconciler) windDown(ctx context.Context, p *pass) error {
	if p.stopped() {
		return r.halt(ctx, p)
	}
	if job := p.job(); job != nil && (gaveUp(job) || jobCondition(job, batchv1.JobComplete) != nil) {
		if err := r.observeTuning(ctx, p); err != nil {
			return err
		}
		return r.release(ctx, p)
	}
	p.broke = p.broke || p.overspent(r.Clock())
	if !p.paused() {
		if p.takenOut() {
			return r.release(ctx, p)
		}
		return nil
	}
	if err := r.standStill(ctx, p); err != nil {
		return err
	}
	return r.release(ctx, p)
}

// standStill stops the work of a suspended Workspace that cannot be rendered. A
// service has no replicas to be set to none: it comes back with the Workspace. A
// Job is suspended as it stands.
func (r *Reconciler) standStill(ctx context.Context, p *pass) error {
	if p.queued() {
		return r.leaveQueue(ctx, p)
	}
	if err := r.deleteServing(ctx, p); err != nil {
		return err
	}
	for i := range p.jobs {
		if err := r.suspendJob(ctx, &p.jobs[i], true); err != nil {
			return err
		}
	}
	return nil
}
