// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// progress judges a living pool of ours by its nodes: Ready means usable.
func progress(f Facts, d Decision) Decision {
	d = f.stillRefused(drift(f, d))
	d.Wait = f.Poll
	if f.Pool.Status.Phase == v1alpha1.PhaseIdle && !f.idling() {
		return wake(f, d)
	}
	d = recount(f, d)
	if f.lets() {
		return letting(f, d)
	}
	settled := f.Seen.State == StateSucceeded
	switch {
	case d.Count.Usable >= d.Count.Wanted && (settled || f.wasReady()):
		return ready(f, d)
	case f.wasReady():
		return degraded(f, d)
	case !settled:
		return creating(f, d)
	case d.Count.Joined < d.Count.Wanted:
		return joining(f, d)
	}
	return gpuWaiting(f, d)
}

// recount orders the number of nodes that is wanted, where it may be ordered now,
// and then what else can be changed in place.
func recount(f Facts, d Decision) Decision {
	settled := f.Seen.State == StateSucceeded
	switch fewest, most := f.bounds(); {
	case (settled || f.mayRetry()) && (f.Seen.Count < fewest || f.Seen.Count > most):
		d.Do, d.Fewer = ActionEnsure, max(f.Seen.Count-most, 0)
		d.Shrinks = d.Fewer > 0
		if !d.Shrinks {
			d.Removing = nil // they are gone
		}
	case f.mayTune():
		d.Do, d.Tunes = ActionEnsure, true
	case f.mayMend(d.Count):
		d.Do, d.Mends, d.Removing = ActionEnsure, true, nil
	case settled:
		d.Removing = nil
	case f.Seen.Short:
		d.Do = ActionEnsure
	}
	return d
}

// Pauses before the cloud is asked again about a pool that was Ready: after an
// operation that failed, and when nodes went and none came back.
const (
	retryAfter = 10 * time.Minute
	mendAfter  = 5 * time.Minute
	// mendPolls bounds mendAfter where looks are close together, as in a test: with the
	// default of 15 seconds both are the same.
	mendPolls = 20
)

// mayRetry says whether a failed operation on a pool that was Ready has rested
// long enough. Its nodes are kept meanwhile.
func (f Facts) mayRetry() bool {
	return f.Seen.State == StateFailed && f.wasReady() && f.sinceAccepted() > retryAfter
}

// mayMend says whether the order for as many nodes is to be repeated: some of
// them went, and without the cluster autoscaler AKS does not replace an evicted
// one by itself.
func (f Facts) mayMend(c Count) bool {
	settled := (f.Seen.State == StateSucceeded || f.mayRetry()) && !f.Seen.Autoscaled
	gone := len(f.Nodes) < int(c.Wanted) && f.Pool.Status.Phase == v1alpha1.PhaseNodesJoining
	rest := min(mendAfter, mendPolls*f.Poll)
	return settled && gone && f.wasReady() && f.since() > rest && f.sinceAccepted() > rest
}

func ready(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseReady
	if d.Do == ActionNone && len(f.Seen.Behind) == 0 {
		d.Wait = f.Idle
	}
	if f.Seen.State == StateFailed {
		d = d.alarm(v1alpha1.ConditionDegraded, string(failureOf(f.Seen).Class), "The last operation of the cloud on the node pool failed: "+failureOf(f.Seen).Text)
	}
	switch {
	case f.autoscale() != nil:
		return readyAutoscaled(f, d)
	case d.Count.Wanted == 0:
		return d.say(v1alpha1.ReasonSucceeded, "Scaled to 0 nodes")
	}
	return d.say(v1alpha1.ReasonSucceeded, fmt.Sprintf("%s with %s", plural(d.Count.Wanted, instance(f, d)+" node"), plural(d.Count.Expected, "GPU")))
}

// degraded keeps a pool that was Ready once: work may run on what is left of
// it. Only when no node is left at all, so no work either, is it given up.
func degraded(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseNodesJoining
	if d.Count.Joined >= d.Count.Wanted {
		d.Phase = v1alpha1.PhaseGPUWaiting
	}
	message := fmt.Sprintf("%d of %s can be used", d.Count.Usable, plural(d.Count.Wanted, instance(f, d)+" node"))
	switch {
	case d.Count.Problem != "":
		message += ": " + d.Count.Problem
	case f.Seen.State == StateFailed && f.Seen.Failure != nil:
		message += ": " + f.Seen.Failure.Text
	default:
		message = f.detailed(message)
	}
	d.Anew = len(f.Pool.Status.Removing) > 0 && len(d.Removing) == 0
	if limit := f.Pool.Spec.Timeouts.Provision.Duration; f.emptied() && limit > 0 && f.since() > limit {
		return fail(f, d, &Failure{Class: ClassProvisionTimeout, Text: "every node is gone and none came back"})
	}
	if node, lost := f.lostNode(); lost {
		return f.replace(d, node, message)
	}
	return d.alarm(v1alpha1.ConditionDegraded, ReasonNodesMissing, message).say(ReasonNodesMissing, message)
}

// emptied says that every node went by itself: while one that was lost is taken away here
// it may have been the last.
func (f Facts) emptied() bool {
	st := f.Pool.Status
	return !f.Seen.External && len(f.Nodes) == 0 && len(st.Removing) == 0 && st.Phase == v1alpha1.PhaseNodesJoining
}

// found notes an order whose answer was lost in a crash. When it was taken nobody knows: it
// may have waited for a busy cluster since it was recorded, so that its time begins now.
func (f Facts) found(c *v1alpha1.CandidateStatus) {
	now := metav1.NewTime(f.Now.Truncate(time.Second))
	c.Accepted = &now
}

func creating(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseCreating
	if d.Candidate.Accepted == nil {
		f.found(d.Candidate)
	}
	if provisionTimedOut(f) {
		return fail(f, d, &Failure{Class: ClassProvisionTimeout, Text: f.detailed("the cloud did not finish creating the node pool within " + f.Pool.Spec.Timeouts.Provision.Duration.String())})
	}
	return d.say(ReasonCreating, f.detailed(creatingMessage(f, d)))
}

func joining(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseNodesJoining
	if d.Candidate.Accepted == nil && f.Seen.Count >= d.Count.Wanted {
		f.found(d.Candidate)
	}
	message := fmt.Sprintf("%d of %s has joined", d.Count.Joined, plural(d.Count.Wanted, instance(f, d)+" node"))
	if d.Count.Joined > 1 {
		message = strings.Replace(message, "has joined", "have joined", 1)
	}
	if d.Count.Problem != "" {
		message += ": " + d.Count.Problem
	} else {
		message = f.detailed(message)
	}
	if provisionTimedOut(f) {
		return fail(f, d, &Failure{Class: ClassProvisionTimeout, Text: message + " within " + f.Pool.Spec.Timeouts.Provision.Duration.String()})
	}
	return d.say(v1alpha1.ReasonWaitingForNodes, message)
}

func gpuWaiting(f Facts, d Decision) Decision {
	d.Phase = v1alpha1.PhaseGPUWaiting
	message := fmt.Sprintf("%d of %s can be allocated: %s", d.Count.Allocatable, plural(d.Count.Expected, "GPU"), d.Count.Problem)
	limit := f.Pool.Spec.Timeouts.GPUReady.Duration
	if limit > 0 && f.Pool.Status.Phase == v1alpha1.PhaseGPUWaiting && f.since() > limit {
		return fail(f, d, &Failure{Class: ClassGPUTimeout, Text: message})
	}
	return d.say(ReasonGPUsNotReady, message)
}

// detailed adds what the provider can say.
func (f Facts) detailed(message string) string {
	if f.Seen.Detail == "" {
		return message
	}
	return message + ": " + f.Seen.Detail
}

func provisionTimedOut(f Facts) bool {
	limit := f.Pool.Spec.Timeouts.Provision.Duration
	return limit > 0 && f.sinceAccepted() > limit
}

// drift reports what the spec says and the cloud cannot change in place.
func drift(f Facts, d Decision) Decision {
	if len(f.Seen.Drift) == 0 {
		return d
	}
	return d.alarm(v1alpha1.ConditionDrifted, ReasonImmutableField,
		"These cannot be changed on a node pool that exists: "+strings.Join(f.Seen.Drift, ", ")+"; suspend the Workspaces on it, then delete the GPUNodePool, to have them")
}

// external judges nodes that exist without us. They are waited for without a
// timeout and never given up. Node events tell all there is to know, but for when
// somebody else's pod lets go of a GPU.
func external(f Facts, d Decision) Decision {
	d = judged(f, d)
	d.Wait = f.untilLost()
	if d.Phase != v1alpha1.PhaseReady && f.contested() {
		d.Wait = contestedPolls * f.Poll
	}
	return d
}

// contestedPolls is how many times longer than for the cloud a GPU is waited for
// that somebody else's pod holds: each look lists the pods of every node.
const contestedPolls = 4

func judged(f Facts, d Decision) Decision {
	d.Provisioned, d.PoolName = true, ""
	if d.Candidate == nil || !Same(Candidate(d.Candidate), f.Pool.Spec.Candidates[0]) {
		d.Candidate = externalCandidate(f)
	}
	switch {
	case d.Count.Usable >= d.Count.Wanted:
		return ready(f, d)
	case f.wasReady():
		return degraded(f, d)
	case d.Count.Joined < d.Count.Wanted:
		d.Phase = v1alpha1.PhaseNodesJoining
		return d.say(v1alpha1.ReasonWaitingForNodes, fmt.Sprintf("%d of %s with the pool's labels %s Ready", d.Count.Joined, plural(d.Count.Wanted, "node"), are(d.Count.Joined)))
	}
	d.Phase = v1alpha1.PhaseGPUWaiting
	return d.say(ReasonGPUsNotReady, fmt.Sprintf("%d of %s can be used: %s", d.Count.Usable, plural(d.Count.Wanted, "existing node"), d.Count.Problem))
}

func externalCandidate(f Facts) *v1alpha1.CandidateStatus {
	c := f.Pool.Spec.Candidates[0]
	out := &v1alpha1.CandidateStatus{InstanceType: c.InstanceType, Priority: priority(c), Zones: c.Zones, Attempt: 1}
	out.Since.Time = f.Now
	return out
}

func are(n int32) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// instance names the size of the nodes in a message.
func instance(f Facts, d Decision) string {
	if f.Seen.External {
		return "existing"
	}
	return size(Candidate(d.Candidate))
}
