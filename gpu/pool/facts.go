// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Facts is all that a decision is made of.
type Facts struct {
	Now          time.Time
	Installation string
	Pool         *v1alpha1.GPUNodePool // with the status as last written
	Seen         Observation
	Nodes        []Node
	Catalog      Catalog
	// Offers is what the cloud listed of quotas and sizes; nil: it was not asked,
	// or gave no answer, and its answer to an order is waited for.
	Offers *quota.Snapshot
	// Users counts the Workspaces that need the nodes, where the spec has idle.
	Users int
	// Waiting says that a Workspace waits for nodes, where pods bring them.
	Waiting bool
	// LostAfter is how long a node may be not Ready before its machine is replaced; 0:
	// for ever. Cluster counts all nodes, where one of the pool's is not Ready.
	LostAfter time.Duration
	Cluster   Census
	// Replacing names another pool, of which a machine is being replaced; empty: none.
	Replacing string
	Poll      time.Duration // between looks while something is under way
	Idle      time.Duration // between looks when nothing is
}

// Action is the one mutation that a decision asks for.
type Action string

// Values of Action.
const (
	ActionNone   Action = ""
	ActionEnsure Action = "Ensure" // create the pool, or change it in place
	ActionDelete Action = "Delete" // delete the pool named by Decision.Subject
)

// Alarm is a condition that is True when something is wrong.
type Alarm struct {
	Type, Reason, Message string
}

// Decision is what the status becomes, and the mutation that may follow.
type Decision struct {
	Do      Action
	Subject string // the pool in the cloud that Do is about
	Attempt int32  // the attempt that Subject belongs to
	Shrinks bool   // Do removes nodes that may run pods
	Fewer   int32  // nodes that Do removes of a pool that stays
	Mends   bool   // Do asks for the same number of nodes once more
	Tunes   bool   // Do changes settings of nodes that stay
	Lanes   []Lane // as they are wanted, of a pool that has some
	Lets    bool   // Do lets nodes go because nobody uses them: pods on any of them forbid it
	// Replaces is the node whose machine Do deletes because it does not answer.
	Replaces string
	// Removing names the nodes that Do removes, recorded before it is done.
	Removing []string
	// Anew begins the time in the phase anew.
	Anew bool

	Phase     v1alpha1.PoolPhase
	Candidate *v1alpha1.CandidateStatus
	PoolName  string
	Skipped   []v1alpha1.SkippedCandidate
	IdleSince *metav1.Time // since when nobody uses the pool; nil: somebody does
	Tuned     *metav1.Time // when settings were last sent; nil: never

	Reason, Message string // of Ready
	Stalled         bool   // a person has to act
	Alarms          []Alarm
	Provisioned     bool
	Count           Count
	Wait            time.Duration // until the next look; 0: an event will tell
	Gone            bool          // nothing of ours is left: the finalizer may go
	Keep            bool          // nothing new was learnt: conditions stay as they are
}

// Soon is the pause before a reconcile that only waits for the status, which was
// just written, to be read back.
const Soon = 50 * time.Millisecond

// Unseen is the decision to begin with where observing failed; see Failed.
func Unseen(f Facts) Decision {
	d := start(f)
	d.Keep = d.Phase == v1alpha1.PhaseReady && f.Pool.DeletionTimestamp == nil
	return d
}

// start carries the status over into a decision.
func start(f Facts) Decision {
	st := f.Pool.Status.DeepCopy()
	fresh := f.Pool.Generation != st.ObservedGeneration
	d := Decision{
		Phase:       st.Phase,
		Candidate:   st.Candidate,
		PoolName:    st.PoolName,
		Skipped:     current(st.Skipped, f.Pool.Spec.Candidates, f.Now, fresh),
		Removing:    st.Removing,
		IdleSince:   f.idleSince(),
		Tuned:       st.Tuned,
		Provisioned: f.Seen.Exists && f.Seen.State == StateSucceeded,
		Count:       count(f),
	}
	if d.Candidate != nil {
		d.Attempt = d.Candidate.Attempt
	}
	d.Subject = d.PoolName
	return d
}

// say sets the reason and message of Ready.
func (d Decision) say(reason, message string) Decision {
	d.Reason, d.Message = reason, message
	return d
}

// alarm raises a condition.
func (d Decision) alarm(kind, reason, message string) Decision {
	d.Alarms = append(d.Alarms, Alarm{Type: kind, Reason: reason, Message: message})
	return d
}

// wasReady says whether the nodes have been usable once: from then on no timeout
// takes them away, because work may run on them. An idle pool has none.
func (f Facts) wasReady() bool {
	st := f.Pool.Status
	passed := slices.ContainsFunc(st.Phases, func(p v1alpha1.PhaseTime) bool { return p.Phase == v1alpha1.PhaseReady })
	return st.Phase == v1alpha1.PhaseReady || passed && st.Phase != v1alpha1.PhaseIdle ||
		meta.IsStatusConditionTrue(st.Conditions, v1alpha1.ConditionDegraded)
}

// since is how long the pool has been in its phase.
func (f Facts) since() time.Duration {
	if f.Pool.Status.Since == nil {
		return 0
	}
	return f.Now.Sub(f.Pool.Status.Since.Time)
}

// sinceAccepted is how long ago the cloud took the order.
func (f Facts) sinceAccepted() time.Duration {
	c := f.Pool.Status.Candidate
	if c == nil || c.Accepted == nil {
		return 0
	}
	return f.Now.Sub(c.Accepted.Time)
}

// Candidate is the candidate of a status, as a spec would write it.
func Candidate(s *v1alpha1.CandidateStatus) v1alpha1.Candidate {
	if s == nil {
		return v1alpha1.Candidate{}
	}
	return v1alpha1.Candidate{InstanceType: s.InstanceType, Priority: s.Priority, Zones: s.Zones}
}

// Ordered is the candidate of a status as the cloud is asked for it: in those of
// its zones that the size is offered in.
func Ordered(s *v1alpha1.CandidateStatus) v1alpha1.Candidate {
	c := Candidate(s)
	if s != nil && len(s.OfferedZones) > 0 {
		c.Zones = s.OfferedZones
	}
	return c
}
