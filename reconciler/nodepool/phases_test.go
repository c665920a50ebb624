// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestPhases: the status tells where the time of a cold start went, of the attempt
// that is under way alone.
func TestPhases(t *testing.T) {
	said := func(w *world) string {
		var b strings.Builder
		for i, p := range w.get("p").Status.Phases {
			if i > 0 {
				fmt.Fprintf(&b, " +%s ", p.At.Sub(w.get("p").Status.Phases[i-1].At.Time).Round(time.Minute))
			}
			b.WriteString(string(p.Phase))
		}
		return b.String()
	}
	w := newWorld(t)
	p := idlePool(v1alpha1.IdleScaleToZero, a100, t4)
	w.arm.FailNextCreateAsync(fakearm.AllocationFailed())
	w.create(p)
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if got, want := said(w), "Claiming +0s Creating +4m0s GPUWaiting +1m0s Ready"; got != want {
		t.Errorf("the attempt that succeeded: %s, want %s", got, want)
	}
	w.arm.Evict(w.get("p").Status.PoolName)
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseNodesJoining))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if got := said(w); !strings.HasSuffix(got, "Ready") || strings.Count(got, "Ready") != 1 {
		t.Errorf("what comes later is no start: %s", got)
	}
	w.use("a", false)
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
	w.use("b", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 && w.ready("p")() })
	if got := said(w); !strings.HasPrefix(got, "NodesJoining +0s Creating +4m0s") || !strings.HasSuffix(got, "Ready") {
		t.Errorf("woken: %s", got)
	}
}

// TestPhasesTellOfReady: from then on no timeout takes the nodes of an attempt, so that it
// is told also where the others do not fit, or how it began is not known.
func TestPhasesTellOfReady(t *testing.T) {
	long := []v1alpha1.PhaseTime{{Phase: v1alpha1.PhaseClaiming}}
	was := v1alpha1.PhaseClaiming
	for range 20 {
		for _, is := range []v1alpha1.PoolPhase{v1alpha1.PhaseNodesJoining, v1alpha1.PhaseGPUWaiting} {
			long, was = timed(long, was, v1alpha1.PhaseTime{Phase: is}), is
		}
	}
	for name, phases := range map[string][]v1alpha1.PhaseTime{"to and fro": long, "a status that was lost": nil} {
		phases = timed(phases, v1alpha1.PhaseGPUWaiting, v1alpha1.PhaseTime{Phase: v1alpha1.PhaseReady})
		if len(phases) == 0 || len(phases) > mostPhases || phases[len(phases)-1].Phase != v1alpha1.PhaseReady {
			t.Errorf("%s: %d phases, %+v", name, len(phases), phases)
		}
	}
}
