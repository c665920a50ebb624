// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Kinds of Kueue, which the cluster may not have.
const (
	kueueGroup   = "kueue.x-k8s.io"
	kindQueue    = "LocalQueue"
	kindWorkload = "Workload"
	labelJobUID  = "kueue.x-k8s.io/job-uid"
	lookAtQueue  = time.Minute // what Kueue says of a run that waits is watched by nobody
	lookAtSaving = 5 * time.Second
	savingAtMost = 6 * time.Minute // a pod has 5 to go (presets/runtimes)
	noKueue      = "spec.queue names a queue of Kueue, and this cluster has no Kueue: install it, or remove spec.queue"
)

// queued says that Kueue decides when the run goes.
func (p *pass) queued() bool { return p.ws.Spec.Queue != "" && p.ws.Spec.Tuning != nil }

// held says that the run waits for Kueue: there is no Job yet, or Kueue has not
// let it go, or has taken it out again.
func (p *pass) held() bool {
	if !p.queued() {
		return false
	}
	job := p.job()
	return job == nil || !job.DeletionTimestamp.IsZero() || job.Labels[repolayout.LabelQueue] != p.ws.Spec.Queue || ptr.Deref(job.Spec.Suspend, false)
}

// takenOut says that Kueue holds a Job that is there.
func (p *pass) takenOut() bool {
	job := p.job()
	return p.queued() && job != nil && job.Labels[repolayout.LabelQueue] == p.ws.Spec.Queue && ptr.Deref(job.Spec.Suspend, false)
}

// queue sees that the queue of the spec is there.
func (r *Reconciler) queue(ctx context.Context, p *pass) error {
	q, err := r.kueueKind(kindQueue)
	if err != nil {
		return err
	}
	return r.input(ctx, p.ws, kindQueue, p.ws.Spec.Queue, q)
}

// kueueKind is an empty object of a kind in the version that the cluster prefers.
func (r *Reconciler) kueueKind(kind string) (*unstructured.Unstructured, error) {
	mapping, err := r.Client.RESTMapper().RESTMapping(schema.GroupKind{Group: kueueGroup, Kind: kind})
	if meta.IsNoMatchError(err) {
		return nil, fault.Wait(v1alpha1.ReasonInputMissing, lookAtQueue, "%s", noKueue)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for kind %s of Kueue: %w", kind, err)
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(mapping.GroupVersionKind)
	return o, nil
}

// enqueue writes the Job before the nodes, where a queue decides when they are
// bought: a Job that waits is what Kueue counts.
func (r *Reconciler) enqueue(ctx context.Context, p *pass) error {
	if !p.queued() || p.finished() || p.settled {
		return nil
	}
	if p.job() == nil && !p.paused() {
		if err := r.queue(ctx, p); err != nil {
			return err
		}
	}
	if !p.paused() { // a Job that is there too: it is not deleted for one that is refused
		if err := p.mayUse(); err != nil {
			p.alsoFailed(r.releaseHeld(ctx, p))
			return err
		}
	}
	if err := r.work(ctx, p); err != nil {
		return err
	}
	p.worked = true
	return nil
}

// releaseHeld gives back the nodes of a run that Kueue holds, where the pass ends
// before it comes to that. A Job that runs and is to move to the queue needs them.
func (r *Reconciler) releaseHeld(ctx context.Context, p *pass) error {
	if p.job() != nil && !p.takenOut() {
		return nil
	}
	return r.release(ctx, p)
}

// awaits says that the run waits for Kueue, or for the nodes that are bought since
// it was admitted; its pods are there meanwhile and cannot be placed.
func (p *pass) awaits() bool {
	return p.queued() && !p.finished() && (p.held() || !p.poolReady())
}

// leaveQueue removes the Jobs of a queued run that is suspended: Kueue would let a
// Job go on that only we have suspended. Its checkpoints stay.
func (r *Reconciler) leaveQueue(ctx context.Context, p *pass) error {
	for i := range p.jobs {
		if err := r.deleteJob(ctx, &p.jobs[i]); err != nil {
			return err
		}
		if p.jobs[i].DeletionTimestamp.IsZero() { // this pass has told its pods to go
			p.jobs[i].DeletionTimestamp = &metav1.Time{Time: r.Clock()}
		}
	}
	return nil
}

// observeQueue says what a run waits for in its queue.
func (r *Reconciler) observeQueue(ctx context.Context, p *pass) error {
	if !p.held() || p.finished() || p.paused() {
		return nil
	}
	message := fmt.Sprintf("The run waits in queue %s: no node is bought before Kueue admits it", p.ws.Spec.Queue)
	if owns(p.ws, p.pool) {
		message = fmt.Sprintf("Kueue has taken the run out of queue %s: its nodes are given back, and it %s when it is admitted again", p.ws.Spec.Queue, repolayout.GoesOn(p.ws.Spec))
	}
	if job := p.job(); job != nil {
		said, err := r.kueueSays(ctx, job)
		if err != nil {
			return err
		}
		if said != "" {
			message += "; Kueue says: " + said
		}
	}
	if p.pool == nil {
		p.ws.Status.Instance = "" // nothing is paid for
	}
	p.lookAfter(lookAtQueue)
	condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonWaitingForQueue, message)
	return nil
}

// kueueSays is why Kueue does not admit a Job, in its own words; "" where it says
// nothing.
func (r *Reconciler) kueueSays(ctx context.Context, job *batchv1.Job) (string, error) {
	kind, err := r.kueueKind(kindWorkload)
	if _, none := fault.AsWaiting(err); none {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersionKind())
	err = r.Reader.List(ctx, list, client.InNamespace(job.Namespace), client.MatchingLabels{labelJobUID: string(job.UID)})
	if err != nil {
		return "", fmt.Errorf("reading what Kueue says of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	for _, w := range list.Items {
		if said := refusedQuota(w); said != "" {
			return said, nil
		}
	}
	return "", nil
}

// refusedQuota is the message of a Workload that has no quota.
func refusedQuota(workload unstructured.Unstructured) string {
	var status struct {
		Status struct {
			Conditions []metav1.Condition `json:"conditions"`
		} `json:"status"`
	}
	if runtime.DefaultUnstructuredConverter.FromUnstructured(workload.Object, &status) != nil {
		return "" // another version of Kueue: what it says is not needed
	}
	c := meta.FindStatusCondition(status.Status.Conditions, "QuotaReserved")
	if c == nil || c.Status != metav1.ConditionFalse {
		return ""
	}
	return c.Message
}

// saving says that pods of a run that was told to go may still be writing a
// checkpoint: their nodes are kept that long, and no longer than pods may take.
func (p *pass) saving(now time.Time) bool {
	for i := range p.jobs {
		job := &p.jobs[i]
		if job.Status.Active+ptr.Deref(job.Status.Terminating, 0) == 0 {
			continue
		}
		c, told := jobCondition(job, batchv1.JobSuspended), job.DeletionTimestamp
		switch {
		case told != nil:
		case c != nil:
			told = &c.LastTransitionTime
		case ptr.Deref(job.Spec.Suspend, false):
			return true // just now: the pods are still counted as before
		default:
			continue
		}
		if now.Sub(told.Time) < savingAtMost {
			return true
		}
	}
	return false
}
