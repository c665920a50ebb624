// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// settling is how long after an order was taken its absence is no news yet.
const settling = time.Minute

// Reasons of Ready beside the failure classes and the shared ones of v1alpha1.
const (
	ReasonClaiming       = "Claiming"
	ReasonCreating       = "Creating"
	ReasonGPUsNotReady   = "WaitingForGPUs"
	ReasonCleaning       = "Cleaning"
	ReasonNothingWanted  = "NothingWanted"
	ReasonNoCandidate    = "NoCandidate"
	ReasonForeignPods    = "ForeignPods"
	ReasonNodesInUse     = "NodesInUse"
	ReasonInUse          = "InUse"
	ReasonMassDeletion   = "MassDeletion"
	ReasonOrphaned       = "Orphaned"
	ReasonNodesMissing   = "NodesMissing"
	ReasonNodeLost       = "NodeLost"
	ReasonImmutableField = "ImmutableField"
	ReasonIdle           = "Idle"
)

// Decide returns what to do next about a pool. The mutation it asks for, if any,
// belongs to the status that was read: an attempt is recorded by one decision
// and ordered by the next, so that a crash in between orders nothing twice.
func Decide(f Facts) Decision { return decide(f, start(f)).lookInTime(f) }

func decide(f Facts, d Decision) Decision {
	switch {
	case f.Pool.DeletionTimestamp != nil:
		return deleting(f, d)
	case f.Seen.External:
		return external(f, d)
	case f.Seen.Exists && !f.Seen.Owned:
		return lost(f, d, f.Seen.NotOwned)
	case f.byPods():
		return lanes(f, d)
	case len(f.Seen.Leftovers) == 0:
		return advance(f, d)
	case d.Candidate == nil:
		return recoverStatus(f, d)
	case !f.Seen.Exists:
		return clean(f, d, f.Seen.Leftovers[0])
	}
	return beside(f, advance(f, d), f.Seen.Leftovers[0])
}

// beside deletes a leftover while the recorded attempt goes on, unless that
// wants a mutation of its own.
func beside(f Facts, d Decision, l Leftover) Decision {
	if d.Do != ActionNone || d.Phase == v1alpha1.PhaseCleaning {
		return d
	}
	if l.State != StateDeleting {
		d.Do, d.Subject, d.Attempt, d.Shrinks = ActionDelete, l.Name, l.Attempt, true
	}
	d.Wait = f.Poll
	return d
}

// advance goes on with the recorded attempt, or makes the next.
func advance(f Facts, d Decision) Decision {
	if d.Candidate == nil || !f.Seen.Exists && !attempting(d.Phase) {
		return next(f, d)
	}
	dropped := !slices.ContainsFunc(f.Pool.Spec.Candidates, func(c v1alpha1.Candidate) bool { return Same(c, Candidate(d.Candidate)) })
	switch {
	case !f.Seen.Exists:
		return missing(f, d, dropped)
	case f.goes(d, dropped):
		return cleanOwn(f, d, dropped)
	case f.Seen.State == StateFailed && (!f.wasReady() || f.elsewhere(d)):
		return fail(f, d, failureOf(f.Seen))
	}
	return progress(f, d)
}

// goes says whether the attempt is to be deleted. One that is recorded as such is kept
// where the spec lists it again before it went, unless it failed: work may run on it.
func (f Facts) goes(d Decision, dropped bool) bool {
	switch {
	case dropped:
		return true
	case f.Seen.State == StateDeleting:
		return d.Phase == v1alpha1.PhaseCleaning || len(d.Removing) == 0
	case d.Phase != v1alpha1.PhaseCleaning:
		return false
	}
	sound := f.Seen.State == StateSucceeded || f.Seen.State == StateRunning && f.wasReady()
	return !sound || choose([]v1alpha1.Candidate{Candidate(d.Candidate)}, d.Skipped, f.Now) < 0
}

// missing is an attempt that the cloud does not have: not ordered yet, ordered
// a moment ago, or taken away by somebody.
func missing(f Facts, d Decision, dropped bool) Decision {
	switch {
	case d.Phase == v1alpha1.PhaseClaiming && !dropped && f.wantsPool():
		d.Do, d.Wait = ActionEnsure, f.Poll
		return d.say(ReasonClaiming, "Asking for "+f.nodes(Candidate(d.Candidate)))
	case d.Phase == v1alpha1.PhaseCreating && f.sinceAccepted() < settling:
		d.Wait = f.Poll
		return d.say(ReasonCreating, creatingMessage(f, d))
	}
	return next(f, d)
}

// attempting says whether a phase has an attempt that the cloud should know.
func attempting(p v1alpha1.PoolPhase) bool {
	switch p {
	case v1alpha1.PhaseClaiming, v1alpha1.PhaseCreating, v1alpha1.PhaseNodesJoining, v1alpha1.PhaseGPUWaiting, v1alpha1.PhaseReady:
		return true
	}
	return false
}

// next records the next attempt. The cloud is asked by the decision after it.
func next(f Facts, d Decision) Decision {
	if !f.wantsPool() {
		return none(f, d)
	}
	i, skipped := foresee(f, d.Skipped)
	d.Skipped = skipped
	if i < 0 {
		return exhausted(f, d)
	}
	c := f.Pool.Spec.Candidates[i]
	attempt := int32(1)
	if d.Candidate != nil {
		attempt = d.Candidate.Attempt + 1
	}
	for _, l := range f.Seen.Leftovers {
		attempt = max(attempt, l.Attempt+1)
	}
	d.Candidate = &v1alpha1.CandidateStatus{
		Index: bounded(int64(i)), InstanceType: c.InstanceType, Priority: priority(c), Zones: c.Zones, OfferedZones: offered(f, c),
		Attempt: attempt, Since: metav1.NewTime(f.Now.Truncate(time.Second)),
	}
	d.PoolName, d.Removing, d.Tuned = Name(f.Installation, string(f.Pool.UID), attempt), nil, nil
	d.Subject, d.Attempt = d.PoolName, attempt
	d.Phase, d.Wait = v1alpha1.PhaseClaiming, Soon
	return d.say(ReasonClaiming, "Asking for "+f.nodes(c))
}

// exhausted waits until the first candidate is worth another try.
func exhausted(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseExhausted
	if len(d.Skipped) == 0 {
		d.Stalled = true
		return d.say(ReasonNoCandidate, "The spec lists no candidate")
	}
	var said []string
	d.Stalled = true
	until := d.Skipped[0].Until.Time
	for _, s := range d.Skipped {
		c := v1alpha1.Candidate{InstanceType: s.InstanceType, Priority: s.Priority, Zones: s.Zones}
		said = append(said, size(c)+": "+s.Message)
		d.Stalled = d.Stalled && Class(s.Class).NeedsAction()
		if s.Until.Time.Before(until) {
			until = s.Until.Time
		}
	}
	slices.Sort(said)
	d.Wait = max(until.Sub(f.Now), time.Second)
	message := "No candidate can be had now. " + strings.Join(slices.Compact(said), ". ")
	reason := ReasonNoCandidate
	if len(d.Skipped) == 1 {
		reason = d.Skipped[0].Class
	}
	return d.alarm(v1alpha1.ConditionCapacityNotFound, reason, message).say(reason, message)
}

// fail gives a candidate up. What it left behind is cleaned before the next.
func fail(f Facts, d Decision, why *Failure) Decision {
	d.Skipped = skip(d.Skipped, why, Candidate(d.Candidate), f.Pool.Spec.Candidates, f.Now, f.Catalog)
	d.Do, d.Phase, d.Wait = ActionNone, v1alpha1.PhaseCleaning, Soon
	return d.say(string(why.Class), size(Candidate(d.Candidate))+": "+why.Sentence())
}

// failureOf is why the cloud says that the pool failed. An operation that another
// one preempted says nothing of the candidate, which is then tried again; what is
// not in the table rests for a while, so that it does not go round and round.
func failureOf(o Observation) *Failure {
	switch {
	case o.Failure == nil:
		return &Failure{Class: ClassFailed, Text: "the cloud reports the node pool as failed and gives no reason"}
	case o.Failure.Class == ClassBusy || !o.Failure.Class.KeepsCandidate():
		return o.Failure
	}
	return &Failure{Class: ClassFailed, Code: o.Failure.Code, Text: o.Failure.Text}
}

// cleanOwn deletes the attempt of the status: it failed, or the spec has
// another candidate now, or somebody else is deleting it.
func cleanOwn(f Facts, d Decision, dropped bool) Decision {
	d.Wait = f.Poll
	message := "Deleting what is left of " + size(Candidate(d.Candidate)) + " before the next attempt"
	if d.Phase != v1alpha1.PhaseCleaning { // recorded first, deleted by the next decision
		d.Phase, d.Wait = v1alpha1.PhaseCleaning, Soon
		if dropped {
			message = "Replacing " + size(Candidate(d.Candidate)) + ", which the spec no longer lists"
		}
		return d.say(ReasonCleaning, message)
	}
	if f.Seen.State != StateDeleting {
		d.Do, d.Shrinks = ActionDelete, true
	}
	return d.say(ReasonCleaning, message)
}

// clean deletes a pool of ours that is not the recorded attempt.
func clean(f Facts, d Decision, l Leftover) Decision {
	d.Wait = f.Poll
	if l.State != StateDeleting {
		d.Do, d.Subject, d.Attempt, d.Shrinks = ActionDelete, l.Name, l.Attempt, true
	}
	return d.say(ReasonCleaning, fmt.Sprintf("Deleting node pool %s of an earlier attempt", l.Name))
}

// recoverStatus finds the attempt again after a status was lost: the newest
// living pool that carries our marks and whose candidate is still wanted.
func recoverStatus(f Facts, d Decision) Decision {
	var best *Leftover
	for i, l := range f.Seen.Leftovers {
		index := slices.IndexFunc(f.Pool.Spec.Candidates, func(c v1alpha1.Candidate) bool { return madeOf(c, l.Candidate) })
		if index < 0 || l.State == StateDeleting || l.State == StateFailed || best != nil && best.Attempt > l.Attempt {
			continue
		}
		best = &f.Seen.Leftovers[i]
		now := metav1.NewTime(f.Now.Truncate(time.Second))
		c := f.Pool.Spec.Candidates[index]
		d.Candidate = &v1alpha1.CandidateStatus{
			Index: bounded(int64(index)), InstanceType: c.InstanceType, Priority: priority(c), Zones: c.Zones,
			Attempt: l.Attempt, Since: now, Accepted: &now,
		}
		if !sameZones(c.Zones, l.Candidate.Zones) {
			d.Candidate.OfferedZones = l.Candidate.Zones
		}
	}
	if best == nil {
		return clean(f, d, f.Seen.Leftovers[0])
	}
	d.PoolName, d.Phase, d.Wait = best.Name, v1alpha1.PhaseCreating, Soon
	return d.say(ReasonCreating, fmt.Sprintf("Found node pool %s of this object again", best.Name))
}

// lost stops: a pool of our name is not ours. No event tells when it is again.
func lost(f Facts, d Decision, why string) Decision {
	d.Phase, d.Stalled, d.Wait = v1alpha1.PhaseLost, true, cmp.Or(d.Wait, f.Idle)
	message := fmt.Sprintf("Node pool %s is not ours: %s; nothing is written to it", d.PoolName, why)
	return d.alarm(v1alpha1.ConditionOwnershipLost, string(ClassOwnership), message).say(string(ClassOwnership), message)
}

func creatingMessage(f Facts, d Decision) string {
	return fmt.Sprintf("The cloud is creating %s in node pool %s", f.nodes(Candidate(d.Candidate)), d.PoolName)
}
