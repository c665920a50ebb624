// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"cmp"
	"context"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// observe reads back how far the nodes and the workload are.
func (r *Reconciler) observe(ctx context.Context, p *pass) error {
	observePool(p)
	if err := r.observeQueue(ctx, p); err != nil {
		return err
	}
	if p.ws.Spec.Inference != nil {
		return r.observeInference(ctx, p)
	}
	if err := r.observeTuning(ctx, p); err != nil {
		return err
	}
	if p.broke {
		condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonBudgetSpent, p.brokeMessage())
	}
	return nil
}

func observePool(p *pass) {
	ws := p.ws
	switch {
	case p.finished(), p.pool == nil, !p.pool.DeletionTimestamp.IsZero():
		return // release and provide speak of these
	case p.poolReady():
		ws.Status.Instance = p.pool.Status.Candidate.InstanceType
		condition.True(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSucceeded, readyMessage(p.pool)+p.providerNote())
	case p.scales() && p.copies() == 0:
		condition.True(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, "No copy is wanted now, and no node is held for one")
	case p.enoughNodes():
		condition.True(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSucceeded, readyMessage(p.pool)+". More are wanted: "+poolMessage(p.pool))
	default:
		if c := p.pool.Status.Candidate; c != nil {
			ws.Status.Instance = c.InstanceType
		}
		reason := v1alpha1.ReasonWaitingForNodes
		if c := condition.Get(p.pool, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
			reason = c.Reason
		}
		condition.False(ws, v1alpha1.ConditionResourceReady, reason, poolMessage(p.pool)+p.stays())
	}
}

// poolMessage says why a pool is not ready.
func poolMessage(pool *v1alpha1.GPUNodePool) string {
	if c := condition.Get(pool, v1alpha1.ConditionReady); c != nil && c.Status != metav1.ConditionTrue {
		return c.Message
	}
	return "Node pool " + pool.Name + " is requested"
}

func readyMessage(pool *v1alpha1.GPUNodePool) string {
	if pool.Status.GPUs == nil || pool.Status.Candidate == nil {
		return "Node pool " + pool.Name + " is ready"
	}
	wanted := fmt.Sprint(pool.DesiredReplicas())
	if a := pool.Spec.Autoscale(); a != nil {
		wanted = fmt.Sprintf("at most %d", a.Max)
	}
	return fmt.Sprintf("Nodes ready: %d of %s %s; GPUs: %d", pool.Status.ReadyNodes, wanted,
		pool.Status.Candidate.InstanceType, pool.Status.GPUs.Allocatable)
}

// before says what a workload that is not there yet waits for.
func (p *pass) before(podsNext string) (reason, message string) {
	c := condition.Get(p.ws, v1alpha1.ConditionResourceReady)
	switch {
	case c == nil:
		return v1alpha1.ReasonWaitingForNodes, "Waiting for the GPU nodes"
	case c.Status != metav1.ConditionTrue:
		return c.Reason, c.Message
	}
	return v1alpha1.ReasonWaitingForPods, podsNext
}

// observeInference sets InferenceReady from the workload, and where the model
// answers.
func (r *Reconciler) observeInference(ctx context.Context, p *pass) error {
	ws := p.ws
	if p.copies() == 0 {
		condition.True(ws, v1alpha1.ConditionInferenceReady, v1alpha1.ReasonSucceeded, "No replica is wanted")
		return nil
	}
	if p.deployment == nil && len(p.sets) == 0 {
		reason, message := p.before("The first pod is being started")
		condition.False(ws, v1alpha1.ConditionInferenceReady, reason, message)
		return nil
	}
	c := p.countCopies()
	if c.done() {
		ws.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: endpoint(ws), Models: servedModels(p)}
		condition.True(ws, v1alpha1.ConditionInferenceReady, v1alpha1.ReasonSucceeded, c.String())
		return nil
	}
	reason, message := v1alpha1.ReasonWaitingForPods, c.String()
	if trouble, err := r.podTrouble(ctx, p); err != nil {
		return err
	} else if trouble.message != "" {
		reason, message = trouble.reason, trouble.message
	}
	condition.False(ws, v1alpha1.ConditionInferenceReady, reason, message)
	return nil
}

// endpoint is where requests go: of a pod of the user's own nobody knows the path.
func endpoint(ws *v1alpha1.Workspace) string {
	if ws.Spec.Inference.Template != nil {
		return fmt.Sprintf("http://%s.%s.svc", ws.Name, ws.Namespace)
	}
	return fmt.Sprintf("http://%s.%s.svc/v1", ws.Name, ws.Namespace)
}

func servedModels(p *pass) []string {
	if p.settled && p.ws.Status.Inference != nil {
		return p.ws.Status.Inference.Models
	}
	if p.ws.Spec.Inference.Template != nil {
		return nil
	}
	models := []string{p.assessment.Preset.Name()}
	if p.assessment.Runtime.Name == runtimes.KAITOTransformers { // which merges adapters into it
		return models
	}
	for _, a := range p.ws.Spec.Inference.Adapters {
		models = append(models, a.Name)
	}
	return models
}

// setStarted sets JobStarted of a Job that may run.
func setStarted(ws *v1alpha1.Workspace, job string, trouble trouble) {
	switch {
	case trouble.message != "":
		condition.False(ws, v1alpha1.ConditionJobStarted, trouble.reason, trouble.message)
	case ws.Status.Tuning.Attempts > 0: // a started run stays started, also between two of its pods
		condition.True(ws, v1alpha1.ConditionJobStarted, v1alpha1.ReasonJobRunning, "Job "+job+" was started")
	default:
		condition.False(ws, v1alpha1.ConditionJobStarted, v1alpha1.ReasonWaitingForPods, "Job "+job+" waits for its pod")
	}
}

// observeTuning sets JobStarted and TuningSucceeded from the Job.
func (r *Reconciler) observeTuning(ctx context.Context, p *pass) error {
	ws, job := p.ws, p.job()
	if p.recorded() {
		r.untold(ctx, p)
		p.judgeAgain() // the record stands, even when the Job itself was cleaned away
		return nil
	}
	if job == nil {
		ws.Status.Tuning = nil
		reason, message := p.before("The Job is being created")
		condition.False(ws, v1alpha1.ConditionJobStarted, reason, message)
		condition.False(ws, v1alpha1.ConditionTuningSucceeded, reason, message)
		return nil
	}
	var pods []corev1.Pod
	if job.Status.Active > 0 {
		var err error
		if pods, err = r.podsOf(ctx, p); err != nil {
			return err
		}
	}
	ws.Status.Tuning = tuningStatus(p, job, pods)
	if said := r.Progress.Of(job.UID); said != nil {
		ws.Status.Tuning.Progress = said
	}
	if p.isAbout(job) {
		reason, message := p.before("The pod is being placed")
		condition.False(ws, v1alpha1.ConditionJobStarted, reason, message)
		condition.False(ws, v1alpha1.ConditionTuningSucceeded, reason, message)
		return nil
	}
	var trouble trouble
	if job.Status.Active > 0 {
		var err error
		if trouble, err = r.troubleWith(ctx, p, pods); err != nil {
			return err
		}
	}
	setStarted(ws, job.Name, trouble)
	note := resumed(pods, job)
	if err := r.concludeJob(ctx, p, job, note); err != nil || trouble.message == "" {
		return err
	}
	condition.False(ws, v1alpha1.ConditionTuningSucceeded, trouble.reason, beside(trouble.message, note))
	return nil
}

func tuningStatus(p *pass, job *batchv1.Job, pods []corev1.Pod) *v1alpha1.TuningStatus {
	t := &v1alpha1.TuningStatus{
		Run: job.Name, UID: string(job.UID), Digest: p.out.Digest, StartedAt: job.Status.StartTime,
		Attempts: attempts(job),
	}
	if was := p.ws.Status.Tuning; was != nil && was.UID == string(job.UID) {
		t.Adapter, t.Evaluation, t.Progress, t.Pod = was.Adapter, was.Evaluation, was.Progress, was.Pod
		// Between the end of a pod and its being counted, the Job counts it nowhere, and
		// never one whose end is no failure of the run: of a lost node, of an eviction.
		t.Attempts = max(t.Attempts, was.Attempts)
		if pod := leaderOf(pods, job); was.Pod != "" && pod != "" && pod != was.Pod {
			t.Attempts = max(t.Attempts, was.Attempts+1)
		}
		if t.Digest == "" {
			t.Digest = was.Digest
		}
	}
	t.Pod = cmp.Or(leaderOf(pods, job), t.Pod)
	return t
}

// leaderOf is the UID of the pod of a Job, of several that train together of the first;
// empty: there is none just now.
func leaderOf(pods []corev1.Pod, job *batchv1.Job) string {
	for i := range pods {
		index := pods[i].Labels[batchv1.JobCompletionIndexAnnotation]
		if pods[i].Labels[batchv1.ControllerUidLabel] == string(job.UID) && (index == "" || index == "0") {
			return string(pods[i].UID)
		}
	}
	return ""
}

// attempts counts the tries of a Job: pods that train together are one.
func attempts(job *batchv1.Job) int32 {
	s := job.Status
	if trainersOf(job) == 1 {
		return s.Active + s.Succeeded + s.Failed
	}
	return s.Failed + min(1, s.Active+s.Succeeded)
}

// concludeJob sets TuningSucceeded; note is what the pod has found of earlier ones.
func (r *Reconciler) concludeJob(ctx context.Context, p *pass, job *batchv1.Job, note string) error {
	ws := p.ws
	complete, failed := jobCondition(job, batchv1.JobComplete), jobCondition(job, batchv1.JobFailed)
	switch {
	case complete != nil:
		left, err := r.leftBy(ctx, job)
		if err != nil {
			return err
		}
		record(ws.Status.Tuning, left)
		ws.Status.Tuning.FinishedAt = job.Status.CompletionTime
		if ws.Status.Tuning.FinishedAt == nil {
			ws.Status.Tuning.FinishedAt = &complete.LastTransitionTime
		}
		p.judge(v1alpha1.ReasonSucceeded, "Job "+job.Name+" is complete")
	case failed != nil:
		why, err := r.lastEnd(ctx, p, job)
		if err != nil {
			return err
		}
		ws.Status.Tuning.FinishedAt = &failed.LastTransitionTime
		condition.False(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonJobFailed, failureMessage(ws, job, failed, why))
	default:
		why, err := r.lastEnd(ctx, p, job)
		if err != nil {
			return err
		}
		condition.False(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonJobRunning, runningMessage(job, why, note))
	}
	return nil
}

// runningMessage says why the attempt before ended, where there was one, and what the one
// that runs has found of it.
func runningMessage(job *batchv1.Job, why, note string) string {
	message := "Job " + job.Name + " is running"
	if why != "" {
		message = "Job " + job.Name + " tries once more after a failure: " + why
	}
	return beside(message, note)
}

// failureMessage says why a Job gave up and how its inputs run once more.
func failureMessage(ws *v1alpha1.Workspace, job *batchv1.Job, failed *batchv1.JobCondition, why string) string {
	again := fmt.Sprintf("kubectl annotate --overwrite -n %s workspace %s %s=%s", ws.Namespace, ws.Name, repolayout.AnnotationRetry, job.UID)
	if limit := ws.Spec.Tuning.Timeout; limit != nil && failed.Reason == batchv1.JobReasonDeadlineExceeded {
		kept := "Its checkpoints are kept: raise the limit in Git, then go on from them with"
		if !ws.Spec.Resumes() {
			kept = "KAITO's trainer keeps no checkpoint: raise the limit in Git, then begin again with"
		}
		return fmt.Sprintf("Job %s took longer than spec.tuning.timeout, %s, and was stopped. %s %s", job.Name, limit.Duration, kept, again)
	}
	if why != "" {
		return fmt.Sprintf("Job %s gave up: %s. A changed input is another run; to run the same once more: %s", job.Name, why, again)
	}
	return fmt.Sprintf("Job %s gave up (%s: %s): see kubectl logs -n %s job/%s --all-containers. A changed input is another run; to run the same once more: %s",
		job.Name, failed.Reason, failed.Message, job.Namespace, job.Name, again)
}

// gaveUp says that a Job has failed for good: its retries are spent.
func gaveUp(job *batchv1.Job) bool { return jobCondition(job, batchv1.JobFailed) != nil }

func jobCondition(job *batchv1.Job, kind batchv1.JobConditionType) *batchv1.JobCondition {
	for i, c := range job.Status.Conditions {
		if c.Type == kind && c.Status == corev1.ConditionTrue {
			return &job.Status.Conditions[i]
		}
	}
	return nil
}
