// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"slices"
	"testing"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// crashPoints is the least number of (scenario, call, before or after) points
// that the enumeration must reach: fewer means that it went blind.
const crashPoints = 200

// scenario is one story of one pool; prepare runs unharmed, then the controller
// is killed at every call of the rest.
type scenario struct {
	reason  string
	prepare func(*world)
	until   func(*world) bool
	want    string // instance type of the one agent pool at the end; empty: none
}

var scenarios = map[string]scenario{
	"Create": {
		reason:  "A create that was ordered and not recorded must be found again, not ordered twice.",
		prepare: func(w *world) { w.create(gpuPool("p", t4)) },
		want:    t4,
	},
	"Failover": {
		reason: "A failed attempt is deleted and its candidate skipped, whenever the process dies.",
		prepare: func(w *world) {
			w.create(gpuPool("p", h100, a100, t4))
			w.arm.FailNextCreateAsync(fakearm.AllocationFailed())
			w.arm.Refuse(a100, fakearm.Quota(hardware[a100].Family, 24, 24, 24))
		},
		want: t4,
	},
	"Resize": {
		reason: "A changed count is applied to the pool that is there.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.edit(func(p *v1alpha1.GPUNodePool) { two := int32(2); p.Spec.Replicas = &two })
		},
		until: func(w *world) bool { return w.ready("p")() && w.get("p").Status.ReadyNodes == 2 },
		want:  t4,
	},
	"Replace": {
		reason: "A candidate that the spec no longer lists is deleted before its successor is ordered.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates[0].InstanceType = a100 })
		},
		want: a100,
	},
	"StatusLost": {
		reason: "A restored object has no status: its pool carries its marks and is found again.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			p := w.get("p")
			p.Status = v1alpha1.GPUNodePoolStatus{ObservedGeneration: -1}
			if err := w.kube.Status().Update(w.ctx, p); err != nil {
				w.t.Fatal(err)
			}
		},
		want: t4,
	},
	"DeleteReady": {
		reason: "The object goes only when its agent pool is gone.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.delete()
		},
		until: func(w *world) bool { return w.get("p") == nil },
	},
	"DeleteCreating": {
		reason: "An object deleted while its pool is being created leaves nothing.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseCreating))
			w.delete()
		},
		until: func(w *world) bool { return w.get("p") == nil },
	},
	"DeleteClaiming": {
		reason: "An object deleted between the record and the order leaves nothing, whether the order went out or not.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{killAt: 6}, []string{"p"}, w.phase(v1alpha1.PhaseCreating))
			w.delete()
		},
		until: func(w *world) bool { return w.get("p") == nil },
	},
}

// TestCrash kills the controller at every call it makes to the cloud and every
// write to the cluster, before the call took effect and after, starts a fresh
// one, and looks at what the world became.
func TestCrash(t *testing.T) {
	total := 0
	for name, sc := range scenarios {
		calls := len(run(t, sc, &life{}, ""))
		total += 2 * calls
		for at := 1; at <= calls; at++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/before=%t", name, at, before), func(t *testing.T) {
					run(t, sc, &life{killAt: at, before: before}, sc.reason)
				})
			}
		}
		t.Logf("%s: killed at %d calls, before and after each", name, calls)
	}
	t.Logf("%d crash points", total)
	if total < crashPoints {
		t.Errorf("%d crash points, want at least %d", total, crashPoints)
	}
}

// run plays a scenario with a life that may end early, and a fresh one after
// it; it returns the calls of the first.
func run(t *testing.T, sc scenario, first *life, reason string) []string {
	t.Helper()
	w := newWorld(t)
	w.arm.AddPool("foreign", a100, map[string]string{"team": "b"}, nil)
	foreign := w.arm.Pools()
	sc.prepare(w)
	until := w.ready("p")
	if sc.until != nil {
		until = func() bool { return sc.until(w) }
	}
	w.drive(first, []string{"p"}, until)
	w.drive(&life{}, []string{"p"}, until)

	pools := w.arm.Pools()
	if i := slices.IndexFunc(pools, func(p fakearm.Pool) bool { return p.Name == "foreign" }); i < 0 || pools[i].ETag != foreign[0].ETag {
		t.Errorf("%s: the foreign pool was touched: %+v", reason, pools)
	} else {
		pools = slices.Delete(pools, i, i+1)
	}
	if sc.want == "" {
		if len(pools) != 0 {
			t.Errorf("%s: left in the cloud: %+v", reason, pools)
		}
		return first.log
	}
	st := w.get("p").Status
	if len(pools) != 1 || pools[0].VMSize != sc.want || pools[0].Name != st.PoolName || pools[0].Tags[aks.TagOwner] != "uid-p" {
		t.Errorf("%s: want one pool of %s named %s, got %+v", reason, sc.want, st.PoolName, pools)
	}
	if names := w.arm.Ordered(); len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("%s: a name was ordered twice: %v", reason, names)
	}
	return first.log
}
