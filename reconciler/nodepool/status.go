// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/price"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// write makes the decision the object's status, or lets the object go. A write
// that lost a race is a conflict: the decision was made on what is no more.
func (r *Reconciler) write(ctx context.Context, p *pass) error {
	before := p.pool.DeepCopy()
	lock := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if p.decision.Gone {
		controllerutil.RemoveFinalizer(p.pool, repolayout.Finalizer)
		r.written.Forget(p.pool.UID)
		return client.IgnoreNotFound(r.Client.Patch(ctx, p.pool, lock, client.FieldOwner(repolayout.FieldManager)))
	}
	r.fill(p)
	if equality.Semantic.DeepEqual(before.Status, p.pool.Status) {
		return nil
	}
	if err := r.Client.Status().Patch(ctx, p.pool, lock, client.FieldOwner(repolayout.FieldManager)); err != nil {
		return client.IgnoreNotFound(err)
	}
	r.written.Note(p.pool, r.Deps.Clock())
	r.Deps.Metrics.happened(before, p.pool, p.now)
	r.announce(before, p.pool)
	return nil
}

// fill sets the status from the decision.
func (r *Reconciler) fill(p *pass) {
	if !p.judged {
		p.decision = pool.Unjudged(p.facts, p.decision, p.unseen == nil)
	}
	d, st := p.decision, &p.pool.Status
	if d.Keep {
		return // nothing was judged: the status still speaks of the earlier generation
	}
	st.ObservedGeneration = p.pool.Generation
	now := metav1.NewTime(p.now.Truncate(time.Second))
	if d.Anew {
		st.Since = &now
	}
	if st.Phase != d.Phase || st.Since == nil {
		st.Since = &now
		st.Phases = timed(st.Phases, st.Phase, v1alpha1.PhaseTime{Phase: d.Phase, At: now})
	}
	st.Phase, st.PoolName, st.Candidate, st.Skipped = d.Phase, d.PoolName, d.Candidate, d.Skipped
	st.Removing, st.IdleSince, st.Tuned = d.Removing, d.IdleSince, d.Tuned
	if p.unseen == nil {
		st.ReadyNodes = d.Count.Usable
		st.GPUs = &v1alpha1.GPUCount{Expected: d.Count.Expected, Allocatable: d.Count.Allocatable, Held: d.Count.Held, Missing: d.Count.Missing}
		st.USDPerHour = r.price(p)
	}
	setConditions(p.pool, d, p.unseen == nil, p.now)
}

// mostPhases bounds what a status tells of an attempt that goes to and fro. The last place
// is kept for Ready, from which on no timeout takes its nodes.
const mostPhases = 16

// timed adds a phase to those of an attempt. They begin anew with each attempt, and
// with nodes that an idle pool asks for again; what comes after Ready is no start. An
// attempt whose beginning is not known, as after a status was lost, tells of Ready alone.
func timed(phases []v1alpha1.PhaseTime, was v1alpha1.PoolPhase, next v1alpha1.PhaseTime) []v1alpha1.PhaseTime {
	begins := next.Phase == v1alpha1.PhaseClaiming || was == v1alpha1.PhaseIdle
	full := len(phases) == 0 || len(phases) >= mostPhases-1
	over := full && next.Phase != v1alpha1.PhaseReady || slices.ContainsFunc(phases, func(p v1alpha1.PhaseTime) bool {
		return p.Phase == v1alpha1.PhaseReady || p.Phase == v1alpha1.PhaseCleaning || p.Phase == v1alpha1.PhaseExhausted
	})
	switch {
	case begins:
		return []v1alpha1.PhaseTime{next}
	case over || next.Phase == v1alpha1.PhaseDeleting || next.Phase == v1alpha1.PhaseLost:
		return phases
	}
	return append(phases, next)
}

// price is what the nodes that the cloud has cost now; nothing for nodes that
// are not ours.
func (r *Reconciler) price(p *pass) string {
	seen := p.facts.Seen
	if !seen.Exists || !seen.Owned || p.decision.Candidate == nil {
		return ""
	}
	if p.pool.Spec.ByKarpenter() {
		return r.priceLanes(seen.Lanes)
	}
	return r.Deps.HourlyUSD(pool.Candidate(p.decision.Candidate), int(seen.Count))
}

// priceLanes is what the nodes of all lanes cost; nothing where a price is not known.
func (r *Reconciler) priceLanes(lanes []pool.Lane) string {
	var sum float64
	for _, l := range lanes {
		if l.Nodes == 0 {
			continue
		}
		usd, known := price.Amount(r.Deps.HourlyUSD(l.Candidate, int(l.Nodes)))
		if !known {
			return ""
		}
		sum += usd
	}
	return price.Plain(sum)
}

// alarms are the conditions that are there only while something is wrong.
var alarms = []string{
	v1alpha1.ConditionOwnershipLost, v1alpha1.ConditionDeletionBlocked, v1alpha1.ConditionClusterBusy,
	v1alpha1.ConditionCapacityNotFound, v1alpha1.ConditionDegraded, v1alpha1.ConditionDrifted,
}

// setConditions writes a decision as conditions. Where nothing could be seen,
// what was known of the nodes, and what was wrong with them, stays.
func setConditions(p *v1alpha1.GPUNodePool, d pool.Decision, seen bool, now time.Time) {
	set := func(kind string, status metav1.ConditionStatus, reason, message string) {
		meta.SetStatusCondition(&p.Status.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: reason, Message: message,
			ObservedGeneration: p.Generation, LastTransitionTime: metav1.NewTime(now.Truncate(time.Second)),
		})
	}
	stage := func(kind string, reached bool) {
		if reached {
			set(kind, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
			return
		}
		set(kind, metav1.ConditionFalse, d.Reason, d.Message)
	}
	if seen {
		stage(v1alpha1.ConditionProvisioned, d.Provisioned)
		stage(v1alpha1.ConditionNodesRegistered, d.Provisioned && d.Count.Joined >= d.Count.Wanted)
		stage(v1alpha1.ConditionGPUReady, d.Provisioned && d.Count.Usable >= d.Count.Wanted)
	}
	ready := d.Phase == v1alpha1.PhaseReady || d.Phase == v1alpha1.PhaseIdle
	readyStatus := metav1.ConditionFalse
	if ready {
		readyStatus = metav1.ConditionTrue
	}
	set(v1alpha1.ConditionReady, readyStatus, d.Reason, d.Message)
	drop := func(kind string) { meta.RemoveStatusCondition(&p.Status.Conditions, kind) }
	switch {
	case d.Stalled:
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue, d.Reason, d.Message)
		drop(v1alpha1.ConditionReconciling)
	case ready:
		drop(v1alpha1.ConditionStalled)
		drop(v1alpha1.ConditionReconciling)
	default:
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue, d.Reason, d.Message)
		drop(v1alpha1.ConditionStalled)
	}
	for _, kind := range alarms {
		at := slices.IndexFunc(d.Alarms, func(a pool.Alarm) bool { return a.Type == kind })
		if at >= 0 {
			set(kind, metav1.ConditionTrue, d.Alarms[at].Reason, d.Alarms[at].Message)
		} else if over(kind, seen) {
			drop(kind)
		}
	}
}

// over says whether an alarm that a decision does not raise is over: where nothing could be
// seen only the one that is about the last request.
func over(kind string, seen bool) bool { return seen || kind == v1alpha1.ConditionClusterBusy }
