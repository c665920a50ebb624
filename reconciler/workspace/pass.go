// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// pass is what one reconcile of a Workspace has learnt so far; the steps fill
// it from top to bottom.
type pass struct {
	ws *v1alpha1.Workspace
	as account.Account // who writes the children

	pool       *v1alpha1.GPUNodePool // that the pods run on; nil: there is none
	left       *v1alpha1.GPUNodePool // the Workspace's own, which it has left for a shared one
	staysOn    *v1alpha1.GPUNodePool // a shared one that the run is on, and that the Workspace has left
	deployment *appsv1.Deployment    // nil: there is none
	sets       []appsv1.StatefulSet  // of copies over several nodes
	jobs       []batchv1.Job         // of this run and of earlier ones

	configMaps  map[string]map[string]string  // data of the ConfigMaps the spec names, by name
	claimModes  map[string][]string           // of the claims that several pods may mount, by name
	claimZones  []string                      // whose nodes can mount the checkpoints, or the claim of the weights; nil: all, or there are none
	volumeZones map[string][]string           // whose nodes can mount the claims that adapters come from, by name; absent: all
	bound       []corev1.Pod                  // of the Jobs, that hold GPUs of a shared pool
	claim       *corev1.PersistentVolumeClaim // that keeps the checkpoints; nil: there is none
	claimGone   bool                          // it was looked for, and is not there or on its way out
	versions    map[string]string             // "Secret/name" → resourceVersion

	believes bool      // inputs that an earlier pass has read need not be read again
	onTrust  []trusted // those that were not, until they are confirmed

	assessment check.Assessment
	candidate  check.Candidate // obtained, else the first that works
	out        render.Output
	kept       map[string]bool // workloads of which an earlier pass has recorded the pods, by name
	askedKept  bool            // it was asked for them
	rolled     bool            // other pods were asked for in this pass
	settled    bool            // the catalogue would refuse today what already runs: left alone

	seen        bool          // pools and workloads were read
	wasRecorded bool          // the status as it was read tells how the run ended
	worked      bool          // the workload was written before the nodes
	broke       bool          // the run has spent what it may
	also        []error       // what went wrong beside what has stopped the pass
	after       time.Duration // when another pass is due that no watch brings; 0: none
}

// job is the Job of the current run, nil when there is none.
func (p *pass) job() *batchv1.Job {
	for i := range p.jobs {
		if p.jobs[i].Name == p.runName() {
			return &p.jobs[i]
		}
	}
	return nil
}

func (p *pass) runName() string {
	if p.out.Workload != nil {
		return p.out.Workload.GetName()
	}
	if p.ws.Status.Tuning != nil {
		return p.ws.Status.Tuning.Run
	}
	return ""
}

// finished says that the current tuning run has ended, well or badly: it is
// never repeated, and needs no node. The Job itself is asked beside the status,
// because the cache may hold a Workspace from before the last status write.
func (p *pass) finished() bool {
	if p.ws.Spec.Tuning == nil {
		return false
	}
	if p.owed() {
		return false
	}
	if job := p.job(); job != nil && !p.askedAgain(string(job.UID)) && (jobCondition(job, batchv1.JobComplete) != nil || gaveUp(job)) {
		return true
	}
	return p.recorded() || p.settled && p.ws.Status.Tuning != nil && p.ws.Status.Tuning.FinishedAt != nil
}

// recorded says that the status tells how the current run ended.
func (p *pass) recorded() bool {
	t := p.ws.Status.Tuning
	return t != nil && t.FinishedAt != nil && t.Run == p.runName() && !p.askedAgain(t.UID) && !p.owed()
}

// askedAgain says that a person wants the inputs of this Job, which gave up, to
// run once more. One that was measured would be measured alike.
func (p *pass) askedAgain(uid string) bool {
	if uid == "" || p.ws.Annotations[repolayout.AnnotationRetry] != uid {
		return false
	}
	c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded)
	return c == nil || c.Status != metav1.ConditionTrue && c.Reason != v1alpha1.ReasonEvaluationFailed
}

// poolReady says that the GPUs can be used now. A pool may also be Ready without
// any: nobody wanted nodes of it yet, or it let them go while nobody used them.
func (p *pass) poolReady() bool {
	return p.pool != nil && p.pool.DeletionTimestamp.IsZero() &&
		p.pool.Status.ObservedGeneration == p.pool.Generation &&
		p.pool.Status.Candidate != nil && p.pool.Status.Phase != v1alpha1.PhaseIdle &&
		condition.Is(p.pool, v1alpha1.ConditionReady)
}

// conclude turns what the pass has learnt into the conditions that sum it up.
func (p *pass) conclude(err error) {
	ws := p.ws
	ws.Status.ObservedGeneration = ws.Generation
	if revision := ws.Annotations[repolayout.AnnotationRevision]; revision != "" {
		ws.Status.Revision = revision
	}
	waiting, isWaiting := fault.AsWaiting(err)
	switch {
	case err == nil:
		p.concludeTask()
	case isWaiting:
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, waiting.Reason, waiting.Message)
		condition.Progressing(ws, waiting.Reason, waiting.Message)
	case fault.IsTerminal(err):
		reason := fault.Reason(err, v1alpha1.ReasonRefused)
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, reason, err.Error())
		condition.Stalled(ws, reason, err.Error())
		p.neverAsked(reason, err.Error())
	default:
		reason := fault.Reason(err, v1alpha1.ReasonApplyFailed)
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, reason, err.Error())
		condition.Progressing(ws, reason, err.Error())
	}
}

// neverAsked says on ResourceReady that no node was requested for a refused
// Workspace, so that the column tells the story by itself.
func (p *pass) neverAsked(reason, message string) {
	if p.pool == nil && condition.Get(p.ws, v1alpha1.ConditionResourceReady) == nil {
		condition.False(p.ws, v1alpha1.ConditionResourceReady, reason, "No node was requested: "+message)
	}
}

// concludeTask sums up a pass that went through.
func (p *pass) concludeTask() {
	ws := p.ws
	if ws.Spec.Suspend && !p.finished() {
		message := "Suspended: no pod runs and " + p.nodesLeft()
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, v1alpha1.ReasonSuspended, message)
		condition.False(ws, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, message)
		condition.Remove(ws, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
		return
	}
	task := v1alpha1.ConditionInferenceReady
	if ws.Spec.Tuning != nil {
		task = v1alpha1.ConditionTuningSucceeded
	}
	c := condition.Get(ws, task)
	switch {
	case c != nil && condition.Is(ws, task):
		condition.True(ws, v1alpha1.ConditionWorkspaceReady, c.Reason, c.Message)
		condition.Ready(ws, c.Reason, c.Message)
	case c != nil && slices.Contains([]string{v1alpha1.ReasonJobFailed, v1alpha1.ReasonBudgetSpent, v1alpha1.ReasonEvaluationFailed}, c.Reason):
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, c.Reason, c.Message)
		condition.Stalled(ws, c.Reason, c.Message)
	default:
		reason, message := v1alpha1.ReasonProgressing, "Starting"
		if c != nil {
			reason, message = c.Reason, c.Message
		}
		condition.False(ws, v1alpha1.ConditionWorkspaceReady, reason, message)
		condition.Progressing(ws, reason, message)
	}
}

// announce emits an event when the Workspace became ready, refused or failed,
// and none when nothing happened.
func (r *Reconciler) announce(before, after *v1alpha1.Workspace) {
	if said := milestone(before.Status.Tuning, after.Status.Tuning); said != "" {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, eventTraining, "Train", "%s", said)
	}
	if said := foundNow(before, after); said != "" {
		r.Events.Eventf(after, nil, corev1.EventTypeWarning, eventTraining, "Resume", "%s", said)
	}
	was, is := condition.Get(before, v1alpha1.ConditionReady), condition.Get(after, v1alpha1.ConditionReady)
	if is == nil || equality.Semantic.DeepEqual(was, is) || (was != nil && was.Reason == is.Reason && was.Status == is.Status) {
		return
	}
	kind := corev1.EventTypeNormal
	if condition.Is(after, v1alpha1.ConditionStalled) {
		kind = corev1.EventTypeWarning
	}
	r.Events.Eventf(after, nil, kind, is.Reason, "Reconcile", "%s", is.Message)
}

// usd formats a price for a message.
func usd(text string) string {
	if text == "" {
		return "an unknown price"
	}
	return fmt.Sprintf("$%s/h list price", text)
}
