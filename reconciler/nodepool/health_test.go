// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/health"
)

// TestHealth: what Flux and Argo CD make of a GPUNodePool in every phase, judged or not,
// whatever it was before.
func TestHealth(t *testing.T) {
	type judged struct {
		phase   v1alpha1.PoolPhase
		stalled bool
		alarm   string
	}
	want := map[judged]health.Health{}
	for _, phase := range []v1alpha1.PoolPhase{
		v1alpha1.PhasePending, v1alpha1.PhaseClaiming, v1alpha1.PhaseCreating, v1alpha1.PhaseNodesJoining, v1alpha1.PhaseGPUWaiting,
		v1alpha1.PhaseCleaning, v1alpha1.PhaseExhausted, v1alpha1.PhaseDeleting,
	} {
		want[judged{phase: phase}] = health.Progressing
		want[judged{phase: phase, stalled: true}] = health.Stalled
	}
	want[judged{phase: v1alpha1.PhaseReady}] = health.Ready
	want[judged{phase: v1alpha1.PhaseIdle}] = health.Ready                                    // nobody uses it: it has no node to wait for
	want[judged{phase: v1alpha1.PhaseLost, stalled: true}] = health.Stalled                   // a person says whose it is
	want[judged{phase: v1alpha1.PhaseReady, alarm: v1alpha1.ConditionDrifted}] = health.Ready // its nodes serve all the same
	want[judged{phase: v1alpha1.PhaseNodesJoining, alarm: v1alpha1.ConditionDegraded}] = health.Progressing
	said := func(p *v1alpha1.GPUNodePool, j judged, seen bool) {
		d := pool.Decision{Phase: j.phase, Stalled: j.stalled, Reason: "R", Message: "m"}
		if j.alarm != "" {
			d.Alarms = []pool.Alarm{{Type: j.alarm, Reason: "R", Message: "m"}}
		}
		p.Status.ObservedGeneration = p.Generation
		setConditions(p, d, seen, time.Unix(1, 0))
	}
	for before := range want {
		for is, expected := range want {
			for _, seen := range []bool{true, false} { // the cloud did not answer
				p := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Generation: 3}}
				said(p, before, true)
				said(p, is, seen)
				if got, err := health.Of(p); err != nil || got != expected {
					t.Errorf("%+v, after %+v: got %+v (%v), want %+v: %+v", is, before, got, err, expected, p.Status.Conditions)
				}
				p.Generation++ // not judged yet
				if got, err := health.Of(p); err != nil || got != health.Progressing {
					t.Errorf("%+v, edited since: got %+v (%v)", is, got, err)
				}
				p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
				if got, err := health.Of(p); err != nil || got != health.Deleting {
					t.Errorf("%+v, deleted: got %+v (%v)", is, got, err)
				}
			}
		}
	}
	fresh := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Generation: 1}, Status: v1alpha1.GPUNodePoolStatus{ObservedGeneration: -1}}
	if got, err := health.Of(fresh); err != nil || got != health.Progressing {
		t.Errorf("a pool that nobody has looked at: got %+v (%v)", got, err)
	}
}
