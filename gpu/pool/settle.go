// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"hash/fnv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// throttlePause is how long to wait where the cloud throttles and names no time.
const throttlePause = time.Minute

// Acted is what the decision becomes after its mutation was carried out.
func Acted(f Facts, d Decision, step Step) Decision {
	d.Wait = f.Poll
	switch step {
	case StepCreated:
		now := metav1.NewTime(f.Now.Truncate(time.Second))
		d.Phase, d.Candidate.Accepted = v1alpha1.PhaseCreating, &now
		return d.say(ReasonCreating, creatingMessage(f, d))
	case StepUpdated:
		return f.tuned(d)
	case StepScaled:
		now := metav1.NewTime(f.Now.Truncate(time.Second))
		d.Candidate.Accepted = &now // the next try is paced from here
	case StepNone, StepGone, StepPartial:
		if step == StepNone && f.byPods() {
			break // there is nothing to write: what is watched tells when there is
		}
		d.Wait = Soon // the world has moved on since it was observed
	}
	return d
}

// Failed is what the decision becomes when observing or acting failed. retry
// says that only the caller's backoff can pace the next try.
func Failed(f Facts, d Decision, why *Failure) (_ Decision, retry bool) {
	ensuring := d.Do == ActionEnsure
	d.Do = ActionNone
	if ensuring && !f.byPods() && (d.Phase == v1alpha1.PhaseClaiming || f.waking()) && !why.Class.KeepsCandidate() {
		return fail(f, d, why), false
	}
	if d.Tunes {
		d = refused(f, d, why)
	}
	if d.Phase != v1alpha1.PhaseReady || d.Reason == "" { // usable nodes stay so while a call fails
		d = d.say(string(why.Class), why.Sentence())
	}
	return pace(f, d, why, ensuring)
}

// pace says when what failed is tried again, and what it means for the pool.
func pace(f Facts, d Decision, why *Failure, ensuring bool) (_ Decision, retry bool) {
	switch why.Class {
	case ClassBusy:
		d.Wait = max(Later(string(f.Pool.UID), why.RetryAfter), spread(string(f.Pool.UID), f.Poll))
		return d.alarm(v1alpha1.ConditionClusterBusy, string(ClassBusy), why.Text), false
	case ClassPrecondition:
		d.Wait = time.Second
		return d, false
	case ClassThrottled:
		d.Wait = cmp.Or(Later(string(f.Pool.UID), why.RetryAfter), spread(string(f.Pool.UID), throttlePause))
		return d, false
	case ClassConflict:
		d.Wait = rules[ClassConflict].skip
		return d.drifted(string(ClassConflict), why.Sentence()), false
	case ClassOwnership:
		return lost(f, d, why.Text), false
	case ClassTransient, ClassUnknown:
		if d.Tunes && why.Class == ClassUnknown { // said as Drifted, and paced like any refusal
			d.Wait = max(why.RetryAfter, mendAfter)
			return d, false
		}
		d.Wait = Later(string(f.Pool.UID), why.RetryAfter)
		return d, d.Wait == 0
	}
	d.Wait = why.Rest(Candidate(d.Candidate))
	if ensuring {
		d.Wait = min(d.Wait, mendAfter) // its nodes, or what is left of them, are looked after meanwhile
	}
	d.Stalled = why.Class.NeedsAction()
	return d, false
}

// spread lengthens a pause by up to three times itself, differently for every
// pool and always alike for one, so that pools do not come back together.
func spread(uid string, pause time.Duration) time.Duration {
	return pause + part(uid)*3*pause/1000
}

// Later lengthens a wait that was asked for by up to a quarter, differently for every
// key and always alike for one: all that were sent away at once come back one after
// the other, and none earlier than it was told.
func Later(key string, wait time.Duration) time.Duration {
	return wait + part(key)*wait/4000
}

// part is a number from 0 to 999 that goes by a key alone.
func part(key string) time.Duration {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // a hash does not fail
	return time.Duration(h.Sum32() % 1000)
}

// stuckAfter is how long a pod that should have ended is waited for.
const stuckAfter = 5 * time.Minute

// Stuck says whether a pod should have ended long ago, its grace included, and nobody
// ends it: its node is dead, or what runs on it cannot be killed. Other nodes are the
// cure, so that such a pod holds none.
func Stuck(p *corev1.Pod, now time.Time) bool {
	return p.DeletionTimestamp != nil && now.Sub(p.DeletionTimestamp.Time) > stuckAfter // which its grace is part of
}

// Works says whether a pod is work that its node's end would interrupt: it runs,
// and it is none of those that every node has.
func Works(p *corev1.Pod) bool {
	if p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	if _, mirror := p.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return false
	}
	owner := metav1.GetControllerOf(p)
	return owner == nil || owner.Kind != "DaemonSet"
}

// Foreign says whether a pod forbids taking its node away: it is work, and not
// of the given Workspace, which is empty for a pool that no Workspace owns.
func Foreign(p *corev1.Pod, namespace, workspace, label string) bool {
	if !Works(p) {
		return false
	}
	return workspace == "" || p.Namespace != namespace || p.Labels[label] != workspace
}
