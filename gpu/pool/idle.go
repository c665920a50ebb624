// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// wanted is the number of nodes that are wanted now: none of a pool that nobody
// has used for long enough.
func (f Facts) wanted() int32 {
	if f.idling() {
		return 0
	}
	return f.Pool.DesiredReplicas()
}

// idling says that a pool lets its nodes go, or buys none: no Workspace needs
// them, and what there is has been unused for spec.idle.after.
func (f Facts) idling() bool {
	since := f.idleSince()
	if since == nil || f.Pool.DeletionTimestamp != nil {
		return false
	}
	ordered := f.Pool.Status.Phase == v1alpha1.PhaseCreating && f.sinceAccepted() < settling
	return !f.Seen.Exists && !ordered || f.Now.Sub(since.Time) >= f.Pool.Spec.Idle.After.Duration
}

// idleSince is since when nobody uses the pool; nil: somebody does, or nobody
// asks.
func (f Facts) idleSince() *metav1.Time {
	switch {
	case f.Pool.Spec.Idle == nil || f.Users > 0:
		return nil
	case f.Pool.Status.IdleSince != nil:
		return f.Pool.Status.IdleSince
	}
	now := metav1.NewTime(f.Now.Truncate(time.Second))
	return &now
}

// lookInTime looks again no later than when the pool becomes idle.
func (d Decision) lookInTime(f Facts) Decision {
	if d.IdleSince == nil || f.idling() {
		return d
	}
	left := max(f.Pool.Spec.Idle.After.Duration-f.Now.Sub(d.IdleSince.Time), time.Second)
	if d.Wait == 0 || left < d.Wait {
		d.Wait = left
	}
	return d
}

// none is a pool of which no node is wanted and of which the cloud has nothing.
func none(f Facts, d Decision) Decision {
	d.Provisioned, d.PoolName, d.Removing = true, "", nil
	if f.idling() {
		return resting(f, d)
	}
	d.Phase = v1alpha1.PhaseReady
	return d.say(ReasonNothingWanted, "No node is wanted: replicas is 0")
}

// resting is a pool that waits, without nodes, for somebody to use it.
func resting(f Facts, d Decision) Decision {
	d.Phase, d.Wait = v1alpha1.PhaseIdle, f.Idle
	return d.say(ReasonIdle, fmt.Sprintf("Nobody uses the pool: %s %s asked for when a Workspace names it", plural(f.Pool.DesiredReplicas(), "node"), are(f.Pool.DesiredReplicas())))
}

// lets says that there is nothing to do for the pool but to let its nodes go: what the
// cloud does with one that has none is no news of any.
func (f Facts) lets() bool {
	return f.idling() && (f.Seen.State != StateRunning || f.Pool.Status.Phase == v1alpha1.PhaseIdle)
}

// letting gives back the nodes of a pool that nobody uses, once no pod is left on
// any of them.
func letting(f Facts, d Decision) Decision {
	settled := f.Seen.State == StateSucceeded || f.Seen.State == StateFailed
	away := f.Pool.Spec.Idle.Action == v1alpha1.IdleDelete
	switch {
	case (settled || d.Phase == v1alpha1.PhaseIdle) && f.Seen.Count == 0 && !away:
		if !d.Tunes {
			d.Do = ActionNone
		}
		return resting(f, d)
	case settled && away:
		d.Do, d.Subject, d.Shrinks, d.Fewer, d.Mends = ActionDelete, d.PoolName, true, 0, false
	}
	d.Lets = d.Do != ActionNone
	message := fmt.Sprintf("Nobody has used the nodes for %s: they are given back", f.Pool.Spec.Idle.After.Duration)
	if d.Phase == v1alpha1.PhaseReady {
		return d.say(v1alpha1.ReasonSucceeded, message)
	}
	return d.say(ReasonIdle, message)
}

// wake asks for the nodes of an idle pool again: recorded first, ordered by the
// next decision, as an attempt is.
func wake(f Facts, d Decision) Decision {
	d.Phase, d.Wait = v1alpha1.PhaseNodesJoining, Soon
	d.Candidate.Since, d.Candidate.Accepted = metav1.NewTime(f.Now.Truncate(time.Second)), nil
	return d.say(v1alpha1.ReasonWaitingForNodes, "A Workspace uses the pool again: asking for "+plural(d.Count.Wanted, size(Candidate(d.Candidate))+" node"))
}

// waking says that the nodes of an idle pool are being ordered again: what the
// cloud says to that is about the candidate.
func (f Facts) waking() bool {
	c := f.Pool.Status.Candidate
	return f.Pool.Status.Phase == v1alpha1.PhaseNodesJoining && f.Seen.Exists && f.Seen.Count == 0 && c != nil && c.Accepted == nil
}

// inUseByPods is what the decision to let nodes go becomes while pods run on some:
// somebody uses them without a Workspace. It is looked at again after as long as
// it took the first time.
func inUseByPods(f Facts, d Decision, pods []string) Decision {
	now := metav1.NewTime(f.Now.Truncate(time.Second))
	d.Do, d.IdleSince, d.Lets = ActionNone, &now, false
	d.Wait = min(f.Idle, f.Pool.Spec.Idle.After.Duration)
	if d.Phase == v1alpha1.PhaseReady {
		return d.say(v1alpha1.ReasonSucceeded, "No Workspace uses the nodes, and pods run on them: "+some(pods))
	}
	return d
}
