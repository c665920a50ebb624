// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// A pool whose nodes the provider makes as pods wait for them, of each candidate in
// a lane of its own: Karpenter's NodePools. Which lane may grow is decided here, by
// its limit, so that the order of candidates is kept, each failure is said, and all
// lanes together never may have more nodes than the spec allows.

// Lane is one candidate of such a pool.
type Lane struct {
	Candidate v1alpha1.Candidate
	Limit     int32 // the most nodes that the provider may make of it
	Nodes     int32 // that it has or makes
	// Ready says that the provider can make nodes of it, as far as it knows.
	Ready bool
	// Failure is why the last node that was tried could not be had; nil: it could, or
	// none was tried lately.
	Failure *Failure
	Detail  string // what it waits for, in the provider's words
	// Going says that somebody is deleting it: no node is made of it, and nothing of it
	// can be changed until it is gone.
	Going bool
}

// byPods says that the provider makes the nodes, as pods wait for them.
func (f Facts) byPods() bool { return f.Pool.Spec.ByKarpenter() }

// lanes decides about a pool of lanes. One attempt is all of them, for as long as the
// object lives.
func lanes(f Facts, d Decision) Decision {
	if d.Candidate == nil || d.PoolName == "" {
		return claimLanes(f, d)
	}
	d.Skipped, d.Removing = f.learn(d.Skipped), nil
	d.Lanes = f.share(d.Skipped)
	d.Candidate = f.leading(d)
	d = drift(f, d)
	d.Wait = f.Poll
	if len(f.Seen.Leftovers) > 0 {
		d = beside(f, d, f.Seen.Leftovers[0])
	}
	if d.Do == ActionNone && f.laneBehind(d.Lanes) {
		d.Do = ActionEnsure
	}
	return f.sayLanes(d)
}

// claimLanes records the one attempt, or finds it again after a status was lost.
func claimLanes(f Facts, d Decision) Decision {
	attempt, found := int32(1), false
	if d.Candidate != nil {
		attempt = d.Candidate.Attempt
	}
	for _, l := range f.Seen.Leftovers {
		attempt, found = max(attempt, l.Attempt), true
	}
	if f.idling() && !found {
		d.Provisioned, d.PoolName = true, ""
		return f.restingLanes(d)
	}
	c := f.Pool.Spec.Candidates[0]
	d.Candidate = &v1alpha1.CandidateStatus{
		InstanceType: c.InstanceType, Priority: priority(c), Zones: c.Zones, Attempt: attempt, Since: metav1.NewTime(f.Now.Truncate(time.Second)),
	}
	d.PoolName = Name(f.Installation, string(f.Pool.UID), attempt)
	d.Subject, d.Attempt = d.PoolName, attempt
	d.Phase, d.Wait = v1alpha1.PhaseClaiming, Soon
	return d.say(ReasonClaiming, "Asking for "+f.laneWords())
}

// learn adds what was found of each lane to what is skipped. What is skipped already
// keeps its time.
func (f Facts) learn(skipped []v1alpha1.SkippedCandidate) []v1alpha1.SkippedCandidate {
	for _, l := range f.Seen.Lanes {
		known := slices.ContainsFunc(skipped, func(s v1alpha1.SkippedCandidate) bool { return matches(s, l.Candidate) })
		if l.Failure == nil || known {
			continue
		}
		skipped = skip(skipped, failureOf(Observation{Failure: l.Failure}), l.Candidate, f.Pool.Spec.Candidates, f.Now, f.Catalog)
	}
	return skipped
}

// open is the index of the candidate whose lane may grow: the first that is not
// skipped. Where all are, the first stays open: trying costs nothing, and the
// provider does so by itself.
func (f Facts) open(skipped []v1alpha1.SkippedCandidate) int {
	return max(choose(f.Pool.Spec.Candidates, skipped, f.Now), 0)
}

// seenLane is what there is of a candidate.
func (f Facts) seenLane(c v1alpha1.Candidate) (Lane, bool) {
	at := slices.IndexFunc(f.Seen.Lanes, func(l Lane) bool { return Same(l.Candidate, c) })
	if at < 0 {
		return Lane{Candidate: c}, false
	}
	return f.Seen.Lanes[at], true
}

// share gives every lane its limit: as many nodes as it has, and what is left of the
// most that the spec allows to the one that is open. Where there are more nodes than
// that, each has as much less, so that none of them comes back. A lane that is not
// named is taken away when it has no node. A pool that nobody uses lets none grow.
func (f Facts) share(skipped []v1alpha1.SkippedCandidate) []Lane {
	if f.closing() {
		if f.Pool.DeletionTimestamp != nil || f.Pool.Spec.Idle.Action == v1alpha1.IdleDelete {
			return nil
		}
		return f.closed()
	}
	out := f.closed()
	rest := f.autoscale().Max
	for _, l := range f.Seen.Lanes {
		rest -= l.Nodes
	}
	for i := range out {
		more := min(rest, 0)
		if i == f.open(skipped) {
			more = rest
		}
		seen, _ := f.seenLane(out[i].Candidate)
		out[i].Limit = max(seen.Nodes+more, 0)
	}
	return out
}

// closed are the lanes of the spec, none of which may grow.
func (f Facts) closed() []Lane {
	var out []Lane
	for _, c := range f.Pool.Spec.Candidates {
		if !slices.ContainsFunc(out, func(l Lane) bool { return Same(l.Candidate, c) }) {
			out = append(out, Lane{Candidate: c})
		}
	}
	return out
}

// closing says that no lane may grow.
func (f Facts) closing() bool { return f.Pool.DeletionTimestamp != nil || f.idling() }

// laneBehind says whether a lane is missing, differs, or has to go.
func (f Facts) laneBehind(wanted []Lane) bool {
	for _, w := range wanted {
		seen, there := f.seenLane(w.Candidate)
		if !there || !seen.Going && seen.Limit != w.Limit {
			return true
		}
	}
	for _, l := range f.Seen.Lanes {
		if l.Going {
			continue
		}
		kept := slices.ContainsFunc(wanted, func(w Lane) bool { return Same(w.Candidate, l.Candidate) })
		if !kept && (l.Limit > 0 || l.Nodes == 0) {
			return true
		}
	}
	return len(f.Seen.Behind) > 0
}

// leading is the candidate of the status: the first that has nodes, else the one that
// may be given some.
func (f Facts) leading(d Decision) *v1alpha1.CandidateStatus {
	at := f.open(d.Skipped)
	for i, c := range f.Pool.Spec.Candidates {
		if seen, _ := f.seenLane(c); seen.Nodes > 0 {
			at = i
			break
		}
	}
	c := f.Pool.Spec.Candidates[at]
	out := *d.Candidate
	out.Index, out.InstanceType, out.Priority, out.Zones = bounded(int64(at)), c.InstanceType, priority(c), c.Zones
	return &out
}

// sayLanes judges the pool: it is Ready when pods may come, because pods are what
// brings nodes.
func (f Facts) sayLanes(d Decision) Decision {
	d = f.sayLost(d)
	open, _ := f.seenLane(f.Pool.Spec.Candidates[f.open(d.Skipped)])
	none := choose(f.Pool.Spec.Candidates, d.Skipped, f.Now) < 0
	switch {
	case f.idling():
		return f.restingLanes(d)
	case none && f.Seen.Count == 0:
		d = exhausted(f, d)
		d.Wait = min(d.Wait, f.Idle)
		return d
	case none:
		said := exhausted(f, d)
		d.Alarms = said.Alarms
	case len(d.Skipped) > 0:
		d = d.alarm(v1alpha1.ConditionCapacityNotFound, d.Skipped[0].Class, "Passed over for now: "+passed(d.Skipped))
	case !open.Ready && f.Seen.Count == 0:
		return f.awaiting(d, open)
	}
	d.Phase = v1alpha1.PhaseReady
	if d.Do == ActionNone && !f.Waiting && d.Wait != Soon {
		d.Wait = f.Idle
	}
	return d.say(v1alpha1.ReasonSucceeded, fmt.Sprintf("Karpenter keeps %s, as pods need them: %s", f.laneWords(), f.laneCount()))
}

// sayLost says of nodes that cannot be used, and replaces one that does not answer.
func (f Facts) sayLost(d Decision) Decision {
	there := fmt.Sprintf("%d of %s can be used", d.Count.Usable, plural(bounded(int64(len(f.Nodes))), "node"))
	if node, lost := f.lostNode(); lost {
		return f.replace(d, node, there)
	}
	if d.Count.Stuck == "" {
		return d
	}
	return d.alarm(v1alpha1.ConditionDegraded, ReasonNodesMissing, there+": "+d.Count.Stuck)
}

// awaiting is a pool whose first lane cannot be used yet.
func (f Facts) awaiting(d Decision, open Lane) Decision {
	d.Phase = v1alpha1.PhaseCreating
	message := "Making a NodePool of each candidate for " + f.laneWords()
	if open.Detail != "" {
		message += ": " + open.Detail
	}
	return d.say(ReasonCreating, message)
}

// restingLanes is a pool that nobody uses.
func (f Facts) restingLanes(d Decision) Decision {
	if f.Seen.Count == 0 {
		d.Phase = v1alpha1.PhaseIdle
		if d.Do == ActionNone {
			d.Wait = f.Idle
		}
		if !f.Seen.Exists {
			d.PoolName = "" // nothing is looked for
		}
		return d.say(ReasonIdle, "Nobody uses the pool: Karpenter adds no node to it before a Workspace names it")
	}
	d.Phase = v1alpha1.PhaseReady
	return d.say(v1alpha1.ReasonSucceeded, fmt.Sprintf("Nobody has used the nodes for %s: no more are made, and %s taken away when nothing runs on them", f.Pool.Spec.Idle.After.Duration, f.laneCount()))
}

// laneWords are the nodes that Karpenter may make, in the order of the candidates.
func (f Facts) laneWords() string {
	var sizes []string
	for _, c := range f.Pool.Spec.Candidates {
		sizes = append(sizes, size(c))
	}
	return fmt.Sprintf("at most %s of %s", plural(f.autoscale().Max, "node"), strings.Join(sizes, ", else "))
}

// laneCount says what there is of each candidate.
func (f Facts) laneCount() string {
	var there []string
	for _, l := range f.Seen.Lanes {
		if l.Nodes > 0 {
			there = append(there, fmt.Sprintf("%d of %s", l.Nodes, size(l.Candidate)))
		}
	}
	if len(there) == 0 {
		return "none is there now"
	}
	verb := "are"
	if f.Seen.Count == 1 {
		verb = "is"
	}
	return strings.Join(there, ", ") + " " + verb + " there or on the way"
}

// passed says of each candidate why it is passed over.
func passed(skipped []v1alpha1.SkippedCandidate) string {
	var said []string
	for _, s := range skipped {
		said = append(said, size(v1alpha1.Candidate{InstanceType: s.InstanceType, Priority: s.Priority, Zones: s.Zones})+": "+s.Message)
	}
	slices.Sort(said)
	return strings.Join(slices.Compact(said), ". ")
}

// closeFirst says that lanes may still grow of a pool that is deleted: nothing is
// drained while Karpenter may put others in its place.
func (f Facts) closeFirst() bool {
	return f.byPods() && slices.ContainsFunc(f.Seen.Lanes, func(l Lane) bool { return l.Limit > 0 })
}

// expectedOn are the GPUs that the nodes of lanes promise: each its own size's.
func (f Facts) expectedOn() int32 {
	var sum int32
	for _, n := range f.Nodes {
		sum += promised(n.InstanceType, f.Catalog)
	}
	return sum
}
