// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// work applies what the pods need, and the workload itself as soon as the GPUs
// can be used: a pod that cannot be placed tells nobody anything.
func (r *Reconciler) work(ctx context.Context, p *pass) error {
	if p.settled || p.finished() || p.worked {
		return nil
	}
	if err := r.support(ctx, p); err != nil {
		return err
	}
	if p.ws.Spec.Tuning != nil {
		return r.tune(ctx, p)
	}
	return r.serve(ctx, p)
}

func (r *Reconciler) support(ctx context.Context, p *pass) error {
	for _, o := range p.out.Support {
		var err error
		if o.GetKind() == "PersistentVolumeClaim" {
			err = r.applyClaim(ctx, p.ws, o.DeepCopy())
		} else {
			_, err = r.applyChild(ctx, p.ws, o.DeepCopy())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tune starts the Job of the current digest, once. A Job is never rewritten: a
// changed input has another digest and so another Job, and an upgrade of
// Espalier changes none that runs.
func (r *Reconciler) tune(ctx context.Context, p *pass) error {
	if p.queued() && p.paused() {
		return r.leaveQueue(ctx, p)
	}
	if gone, err := r.deleteOtherJobs(ctx, p); err != nil || !gone {
		return err
	}
	job := p.job()
	if job == nil {
		return r.begin(ctx, p)
	}
	if why := p.startsOver(job); why != "" {
		if err := r.startOver(ctx, p, job); err != nil {
			return err
		}
		return fault.Wait(v1alpha1.ReasonProgressing, 0, "%s", why)
	}
	if err := r.limitJob(ctx, p, job); err != nil {
		return err
	}
	return r.pause(ctx, p, job)
}

// pause suspends a Job, or lets it go on when its nodes are there: the time that the spec
// gives it counts from then. That of one in a queue is Kueue's to say.
func (r *Reconciler) pause(ctx context.Context, p *pass, job *batchv1.Job) error {
	if p.queued() || p.awaitsNodes(job) && !p.poolReady() {
		return nil
	}
	if p.awaitsNodes(job) {
		if err := r.confirm(ctx, p); err != nil {
			return err
		}
	}
	return r.suspendJob(ctx, job, p.paused())
}

// awaitsNodes says that a Job was suspended, by nobody but us, and is to go on.
func (p *pass) awaitsNodes(job *batchv1.Job) bool {
	return ptr.Deref(job.Spec.Suspend, false) && !p.paused() && !p.queued()
}

// isAbout says that the pods of a Job wait for Kueue, or for nodes.
func (p *pass) isAbout(job *batchv1.Job) bool {
	return p.awaits() || p.awaitsNodes(job) && !p.finished()
}

// begin creates the Job when its nodes are there; one that waits in a queue comes
// before them.
func (r *Reconciler) begin(ctx context.Context, p *pass) error {
	if p.paused() || !p.queued() && !p.poolReady() {
		return nil
	}
	job := p.out.Workload.DeepCopy()
	if err := ofCommit(job, p.ws.Annotations[repolayout.AnnotationRevision]); err != nil {
		return err
	}
	_, err := r.applyWork(ctx, p, job, once)
	return err
}

// ofCommit notes on the pods of a Job that is to be created which commit has last changed
// the Workspace: its adapter says so. It is no part of what is rendered and of no digest,
// and a Job that is there keeps the one that it was created with.
func ofCommit(job *unstructured.Unstructured, revision string) error {
	if revision == "" {
		return nil
	}
	err := unstructured.SetNestedField(job.Object, revision, "spec", "template", "metadata", "annotations", repolayout.AnnotationRevision)
	if err != nil {
		return fmt.Errorf("noting the commit on Job %s: %w", job.GetName(), err)
	}
	return nil
}

// once applies an object that is not there, and leaves one that is: the cache may not have
// a Job yet that an earlier pass created of an earlier commit.
func once(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error) {
	if live.GetUID() != "" {
		return desired, nil
	}
	return apply.Object(ctx, c, desired, live)
}

// limitJob gives a run under way the limits that the spec has now: they are no
// part of what it computes.
func (r *Reconciler) limitJob(ctx context.Context, p *pass, job *batchv1.Job) error {
	wanted, err := p.wantedJob()
	if err != nil {
		return err
	}
	before := job.DeepCopy()
	job.Spec.ActiveDeadlineSeconds, job.Spec.BackoffLimit = wanted.Spec.ActiveDeadlineSeconds, wanted.Spec.BackoffLimit
	if equality.Semantic.DeepEqual(before.Spec, job.Spec) {
		return nil
	}
	if err := account.Writer(ctx, r.Client).Patch(ctx, job, client.MergeFrom(before)); err != nil {
		return account.Explain(ctx, fmt.Errorf("limiting Job %s/%s: %w", job.Namespace, job.Name, err))
	}
	return nil
}

// startsOver says why a Job of the same inputs takes this one's place, "" when
// it is to stay.
func (p *pass) startsOver(job *batchv1.Job) string {
	switch {
	case p.owed() && jobCondition(job, batchv1.JobComplete) != nil:
		return "The run meets the thresholds of its evaluation now: it publishes the adapter from its last checkpoint in a new Job"
	case gaveUp(job) && p.askedAgain(string(job.UID)):
		return "The run that gave up is being removed before its inputs run once more"
	case job.Labels[repolayout.LabelQueue] != p.queueWanted():
		return "The run is to wait in another queue, or in none: it " + repolayout.GoesOn(p.ws.Spec) + " in a new Job"
	case p.moves(job):
		return "The run is to go on on another node pool: it " + repolayout.GoesOn(p.ws.Spec) + " in a new Job"
	case trainersOf(job) != p.podsWanted():
		return "The run is to be spread over another number of nodes: it " + repolayout.GoesOn(p.ws.Spec) + " in a new Job"
	case p.poolReady() && gpusOf(job) != p.gpusWanted():
		return "The nodes have another number of GPUs now: the run " + repolayout.GoesOn(p.ws.Spec) + " in a new Job"
	}
	return ""
}

// queueWanted is the label of the Job as it would be rendered now.
func (p *pass) queueWanted() string { return p.out.Workload.GetLabels()[repolayout.LabelQueue] }

// suspendJob suspends a Job or lets it go on. What stops it needs no right of the
// account, as with remove.
func (r *Reconciler) suspendJob(ctx context.Context, job *batchv1.Job, suspend bool) error {
	if ptr.Deref(job.Spec.Suspend, false) == suspend {
		return nil
	}
	before := job.DeepCopy()
	job.Spec.Suspend = ptr.To(suspend)
	err := account.Writer(ctx, r.Client).Patch(ctx, job, client.MergeFrom(before))
	if suspend && apierrors.IsForbidden(err) {
		err = r.Client.Patch(ctx, job, client.MergeFrom(before))
	}
	if err != nil {
		return account.Explain(ctx, fmt.Errorf("suspending or resuming Job %s/%s: %w", job.Namespace, job.Name, err))
	}
	return nil
}

// gpusOf is the number of GPUs that one pod of a Job takes: containers run after
// one another, so the greatest counts.
func gpusOf(job *batchv1.Job) int64 {
	var gpus int64
	spec := job.Spec.Template.Spec
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		quantity := c.Resources.Limits["nvidia.com/gpu"]
		gpus = max(gpus, quantity.Value())
	}
	return gpus
}

// startOver removes a Job whose place another one takes, and what only pods on several nodes need where that one has none.
func (r *Reconciler) startOver(ctx context.Context, p *pass, job *batchv1.Job) error {
	if trainersOf(job) > 1 && p.podsWanted() == 1 {
		if err := r.deleteMembers(ctx, p); err != nil {
			return err
		}
	}
	return r.deleteJob(ctx, job)
}

// trainersOf is the number of pods that train together.
func trainersOf(job *batchv1.Job) int32 { return ptr.Deref(job.Spec.Parallelism, 1) }

// podsWanted is the same for the Job as it would be rendered now.
func (p *pass) podsWanted() int32 {
	if p.out.Workload == nil {
		return 1
	}
	wanted, err := p.wantedJob()
	if err != nil {
		return 1
	}
	return trainersOf(wanted)
}

// gpusWanted is the same for the Job as it would be rendered now.
func (p *pass) gpusWanted() int64 {
	wanted, err := p.wantedJob()
	if err != nil {
		return 0
	}
	return gpusOf(wanted)
}

// wantedJob is the Job as it would be rendered now.
func (p *pass) wantedJob() (*batchv1.Job, error) {
	wanted := &batchv1.Job{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(p.out.Workload.Object, wanted); err != nil {
		return nil, fmt.Errorf("reading the Job of Workspace %s/%s: %w", p.ws.Namespace, p.ws.Name, err)
	}
	return wanted, nil
}

// deleteOtherJobs deletes the Jobs of earlier inputs, pods first, so that two
// runs never share GPUs and the claim. It says whether they are gone.
func (r *Reconciler) deleteOtherJobs(ctx context.Context, p *pass) (bool, error) {
	gone := true
	for i := range p.jobs {
		if p.jobs[i].Name == p.runName() {
			continue
		}
		gone = false
		if err := r.confirm(ctx, p); err != nil {
			return false, err
		}
		if err := r.startOver(ctx, p, &p.jobs[i]); err != nil {
			return false, err
		}
	}
	if !gone {
		return false, fault.Wait(v1alpha1.ReasonProgressing, 0, "The run of the earlier inputs is being removed before the new one starts")
	}
	return true, nil
}

func (r *Reconciler) deleteJob(ctx context.Context, job *batchv1.Job) error {
	if !job.DeletionTimestamp.IsZero() {
		return nil
	}
	err := r.remove(ctx, job, client.Preconditions{UID: &job.UID}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	return nil
}
