// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// seenStart is what a pass has seen of a workload that is to start.
type seenStart struct {
	// started: it has worked, or works towards it; nothing is wrong. runs: a
	// container runs just now, after crashes perhaps.
	started, runs bool
	// together is the number of pods that are of no use without each other; 0 for 1.
	together int
	// why it does not start; "" where it is just on its way.
	why string
	// inputs and uid identify what was tried.
	inputs, uid string
}

// judgeStart follows a workload that does not start on nodes that are paid for,
// and says from when on it is stopped. Nil: there is nothing to follow.
func judgeStart(was *v1alpha1.StartStatus, seen seenStart, now time.Time, limit time.Duration) *v1alpha1.StartStatus {
	switch {
	case was != nil && was.StoppedAt != nil:
		return was
	case seen.started:
		return nil
	}
	is := &v1alpha1.StartStatus{FailingSince: metav1.NewTime(now), Inputs: seen.inputs}
	if was != nil {
		is = was.DeepCopy()
	}
	is.UID = seen.uid
	if seen.why != "" {
		is.Message = seen.why
	}
	if !seen.runs && now.Sub(is.FailingSince.Time) >= limit {
		is.StoppedAt = &metav1.Time{Time: now}
	}
	return is
}

// stopped says that the work was stopped because it did not start, and nobody
// has asked for another try.
func (p *pass) stopped() bool {
	s := p.ws.Status.Start
	return s != nil && s.StoppedAt != nil && (s.UID == "" || p.ws.Annotations[repolayout.AnnotationRetry] != s.UID)
}

// attempt identifies what is tried: any change of the spec, of a ConfigMap or of
// a Secret is another attempt.
func (p *pass) attempt() string {
	digest := ""
	if r := p.ws.Status.Resolved; r != nil {
		digest = r.Digest
	}
	return check.Sum(p.ws.Generation, digest, p.versions)
}

// resume forgets a failed start where something has changed since or a person
// asks for another try, and ends the pass where the work stays stopped.
func (r *Reconciler) resume(ctx context.Context, p *pass) error {
	s := p.ws.Status.Start
	if s != nil && (s.Inputs != p.attempt() || s.StoppedAt != nil && !p.stopped()) {
		p.ws.Status.Start = nil
	}
	if !p.stopped() {
		return nil
	}
	if err := r.halt(ctx, p); err != nil {
		return err
	}
	message := p.stoppedMessage(r.StartLimit)
	kinds := []string{v1alpha1.ConditionInferenceReady}
	if p.ws.Spec.Tuning != nil {
		kinds = []string{v1alpha1.ConditionJobStarted, v1alpha1.ConditionTuningSucceeded}
	}
	for _, kind := range kinds {
		condition.False(p.ws, kind, v1alpha1.ReasonPodsNeverStarted, message)
	}
	return fault.Stopf(v1alpha1.ReasonPodsNeverStarted, "%s", message)
}

// limitStart bounds how long nodes that were bought for a Workspace wait for
// work that does not start, whatever the reason: a mistyped image, a missing key
// of a Secret, an object that the API server refuses (cause). Nodes that exist
// or are shared are not its own to give back: there it stops nothing.
func (r *Reconciler) limitStart(ctx context.Context, p *pass, cause error) error {
	switch {
	case p.stopped(), p.unread(cause):
		return nil // the record is kept: what is not read is not judged
	case r.StartLimit <= 0 || !p.paysForNodes() || !p.poolReady() || p.wantsNothing():
		p.ws.Status.Start = nil
		return nil
	}
	seen, err := r.seeStart(ctx, p)
	if err != nil {
		return err
	}
	if !seen.started && seen.why == "" && cause != nil {
		seen.why = cause.Error()
	}
	seen.inputs = p.attempt()
	is := judgeStart(p.ws.Status.Start, seen, r.Clock(), r.StartLimit)
	p.ws.Status.Start = is
	switch {
	case is == nil:
	case is.StoppedAt != nil: // written first, acted on in the next pass
		p.lookAfter(retryFirst)
	default:
		p.lookAfter(min(lookAgain, r.StartLimit/2))
	}
	return nil
}

// unread says that an error may have kept the pass from seeing the pool.
func (p *pass) unread(cause error) bool { return p.pool == nil && cause != nil }

// wantsNothing says that no pod is to run.
func (p *pass) wantsNothing() bool {
	return p.finished() || p.paused() || p.held() || p.ws.Spec.Inference != nil && p.copies() == 0
}

// paysForNodes says that nodes were bought for this Workspace alone.
func (p *pass) paysForNodes() bool {
	return owns(p.ws, p.pool) && p.pool.Spec.Provider != v1alpha1.ProviderExisting
}

// lookAfter asks for another pass that no watch brings; 0: for none.
func (p *pass) lookAfter(d time.Duration) {
	if d > 0 && (p.after == 0 || d < p.after) {
		p.after = d
	}
}

// seeStart looks at the workload and its pods.
func (r *Reconciler) seeStart(ctx context.Context, p *pass) (seenStart, error) {
	seen := seenStart{}
	switch job := p.job(); {
	case len(p.sets) > 0:
		// A StatefulSet does not tell whether it has ever been ready: a service
		// that has answered once in its life is left alone.
		seen.uid = string(p.sets[0].UID)
		seen.started = p.countCopies().answer > 0 || p.ws.Status.Inference != nil
	case p.deployment != nil:
		seen.uid = string(p.deployment.UID)
		seen.started = hasWorked(p.deployment)
	case job != nil:
		seen.uid, seen.together = string(job.UID), int(trainersOf(job))
	default:
		return seen, nil
	}
	if seen.started {
		return seen, nil
	}
	pods, err := r.podsOf(ctx, p)
	if err != nil {
		return seen, err
	}
	seen.look(pods)
	return seen, nil
}

// look judges a workload by its pods: one whose container crashed and came back
// runs, and has not started.
func (s *seenStart) look(pods []corev1.Pod) {
	crashed, running := false, 0
	for i := range pods {
		runs := false
		for _, c := range containersOf(&pods[i]) {
			runs = runs || c.State.Running != nil
			crashed = crashed || c.RestartCount > 0
		}
		if runs {
			running++
		}
	}
	s.runs = running >= max(1, s.together)
	s.why = troubleAmong(pods)
	s.started = s.runs && s.why == "" && !crashed
}

// hasWorked says that a Deployment answers, or has answered as it is now: one
// that fails later is an outage, which may pass, and not a start that failed.
func hasWorked(d *appsv1.Deployment) bool {
	if d.Status.AvailableReplicas > 0 {
		return true
	}
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentProgressing && c.Reason == "NewReplicaSetAvailable" {
			return d.Status.ObservedGeneration >= d.Generation
		}
	}
	return false
}

// halt removes the workload of a Workspace that was stopped, and then gives the
// nodes back. The claim with checkpoints stays.
func (r *Reconciler) halt(ctx context.Context, p *pass) error {
	left, err := r.removeWorkload(ctx, p)
	if err != nil {
		return err
	}
	if left == "" {
		if err := r.giveBack(ctx, p.ws, p.pool); err != nil {
			return err
		}
	} else {
		p.lookAfter(retryFirst)
	}
	condition.False(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonPodsNeverStarted, "The nodes are given back: no pod started on them")
	return nil
}

func (p *pass) stoppedMessage(limit time.Duration) string {
	s, why := p.ws.Status.Start, "no pod ran a container"
	if s.Message != "" {
		why = s.Message
	}
	message := fmt.Sprintf("The work did not start within %s of having its nodes and was stopped, so that nobody pays on: %s. A change of the Workspace or of its inputs tries again",
		shortly(limit), why)
	if s.UID != "" {
		message += fmt.Sprintf("; to try the same once more: kubectl annotate --overwrite -n %s workspace %s %s=%s", p.ws.Namespace, p.ws.Name, repolayout.AnnotationRetry, s.UID)
	}
	return message
}

// shortly is a duration without the zeros at its end: 30m, 1h, 90s as 1m30s.
func shortly(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}
