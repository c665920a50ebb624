// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// crashPoints is the least number of distinct (scenario, call) points that the
// enumeration must reach: fewer means that it went blind. Each is run twice, with
// the call undone and done.
const crashPoints = 710

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
	"Shrink": {
		reason: "Of three nodes the empty ones go, whenever the process dies, and the busy one never.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			scaledTo(3)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.podOn(w.nodes()[2], "busy-2")
			w.edit(scaledTo(1))
		},
		until: func(w *world) bool {
			return len(w.nodes()) == 1 && w.ready("p")() && len(w.get("p").Status.Removing) == 0
		},
		want: t4,
	},
	"SpotEviction": {
		reason: "A spot pool whose every node is evicted is given up for the next candidate, once.",
		prepare: func(w *world) {
			p := gpuPool("p", t4+"/spot", a100)
			p.Spec.Timeouts.Provision.Duration = 6 * time.Minute
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.arm.Refuse(t4, fakearm.SKUNotAvailable(t4))
			w.arm.Evict(w.get("p").Status.PoolName)
		},
		until: func(w *world) bool { return w.ready("p")() && w.get("p").Status.Candidate.InstanceType == a100 },
		want:  a100,
	},
	"NodeLost": {
		reason: "The machine of a node that does not answer is removed once and replaced, whenever the process dies, and the one beside it stays.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			scaledTo(2)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.podOn(w.nodes()[1], "busy-1")
			w.setReady(w.nodes()[0], corev1.ConditionUnknown)
			w.arm.Advance(lostAfter - time.Minute)
		},
		until: func(w *world) bool {
			return w.removals() == 1 && w.ready("p")() && len(w.get("p").Status.Removing) == 0
		},
		want: t4,
	},
	"OnlyNodeLost": {
		reason: "The only node of a pool is replaced in the same attempt, whenever the process dies.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4, a100))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.others("other-a", "other-b")
			w.setReady(w.nodes()[0], corev1.ConditionUnknown)
			w.arm.Advance(lostAfter - time.Minute)
		},
		until: func(w *world) bool {
			st := w.get("p").Status
			if st.Candidate.Attempt != 1 || len(st.Skipped) > 0 {
				w.t.Fatalf("given up: %+v", st)
			}
			return w.removals() == 1 && w.ready("p")() && len(st.Removing) == 0
		},
		want: t4,
	},
	"Foreseen": {
		reason: "What Azure lists beforehand is passed over, and whoever dies over it orders nothing of it.",
		prepare: func(w *world) {
			p := gpuPool("p", h100, a100)
			p.Spec.Candidates[1].Zones = []string{"1", "2"}
			w.arm.ListSKU(fakearm.SKU{Name: a100, Zones: []string{"1", "2"}, Restricted: []string{"2"}})
			w.arm.SetQuota(hardware[h100].Family, 8)
			w.create(p)
		},
		want: a100,
	},
	"Idle": {
		reason: "Nodes that nobody uses are given back, whenever the process dies, and the empty pool stays ours.",
		prepare: func(w *world) {
			w.create(idlePool(v1alpha1.IdleScaleToZero, t4))
			w.use("a", true)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.use("a", false)
		},
		until: func(w *world) bool { return w.phase(v1alpha1.PhaseIdle)() && len(w.nodes()) == 0 },
		want:  t4,
	},
	"IdleGone": {
		reason: "A pool that nobody uses is deleted in the cloud and its object stays.",
		prepare: func(w *world) {
			w.create(idlePool(v1alpha1.IdleDelete, t4))
			w.use("a", true)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.use("a", false)
		},
		until: func(w *world) bool { return w.phase(v1alpha1.PhaseIdle)() && w.get("p") != nil },
	},
	"Wake": {
		reason: "An empty pool grows again once, and where its size is sold out the next candidate is tried.",
		prepare: func(w *world) {
			w.create(idlePool(v1alpha1.IdleScaleToZero, a100, t4))
			w.use("a", true)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.use("a", false)
			w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
			w.arm.Refuse(a100, fakearm.SKUNotAvailable(a100))
			w.use("b", true)
		},
		until: func(w *world) bool { return w.ready("p")() && w.get("p").Status.ReadyNodes == 2 },
		want:  t4,
	},
	"Busy": {
		reason: "A create that AKS takes while it updates the cluster, and a quota that is full, cost no second pool.",
		prepare: func(w *world) {
			w.create(gpuPool("p", h100, t4))
			w.arm.SetQuota(hardware[h100].Family, 8)
			w.arm.BeginClusterOperation("Updating", 5*time.Minute)
		},
		want: t4,
	},
	"AnswerLost": {
		reason: "The order was taken and its answer never came: it is found, not ordered again.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.arm.FailNext("PUT", fakearm.Fault{Lost: true})
		},
		want: t4,
	},
	"ForeignPodOnDelete": {
		reason: "The pod of somebody else keeps the pool until it goes; the controller's death changes nothing about it.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.podOn(w.nodes()[0], "foreign-1")
			w.delete()
			w.drive(&life{}, []string{"p"}, w.blocked(pool.ReasonForeignPods))
			if err := w.kube.Delete(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "foreign-1"}}); err != nil {
				w.t.Fatal(err)
			}
		},
		until: func(w *world) bool { return w.get("p") == nil },
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
// one, and looks at what the world became. Reads of the cluster are no points: who
// dies at one has changed nothing since the call before it, after which it dies too.
func TestCrash(t *testing.T) {
	points, runs := 0, 0
	all := maps.Clone(scenarios)
	maps.Copy(all, tuneScenarios)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sc := all[name]
		calls := len(run(t, sc, &life{}, ""))
		points += calls
		for at := 1; at <= calls; at++ {
			for _, before := range []bool{true, false} {
				runs++
				t.Run(fmt.Sprintf("%s/%d/before=%t", name, at, before), func(t *testing.T) {
					t.Parallel()
					run(t, sc, &life{killAt: at, before: before}, sc.reason)
				})
			}
		}
		t.Logf("%s: killed at each of %d calls", name, calls)
	}
	t.Logf("%d scenarios, %d points (scenario, call), %d runs: before the call took effect, and after", len(all), points, runs)
	if points < crashPoints {
		t.Errorf("%d points, want at least %d", points, crashPoints)
	}
}

// run plays a scenario with a life that may end early, and a fresh one after
// it; it returns the calls of the first.
func run(t *testing.T, sc scenario, first *life, reason string) []string {
	t.Helper()
	w := newWorldOf(t, fakearm.Options{Background: 30 * time.Second, Limits: true})
	w.listSizes()
	w.arm.AddPool("foreign", a100, map[string]string{"team": "b"}, nil)
	w.arm.AddPool("foreign2", t4, map[string]string{aks.TagInstallation: "another", aks.TagOwner: "uid-p", aks.TagAttempt: "1"}, map[string]string{aks.LabelOwner: "uid-p"})
	before, stranger := w.foreign(), w.stranger()
	sc.prepare(w)
	until := w.ready("p")
	if sc.until != nil {
		until = func() bool { return sc.until(w) }
	}
	w.drive(first, []string{"p"}, until)
	w.drive(&life{}, []string{"p"}, until)
	if diff := cmp.Diff(before, w.foreign()); diff != "" {
		t.Errorf("%s: foreign pools were touched: %s", reason, diff)
	}
	if diff := cmp.Diff(stranger, w.strangers()); diff != "" {
		t.Errorf("%s: a node that is not ours, or the pod on it, was touched: %s", reason, diff)
	}
	pools := slices.DeleteFunc(w.arm.Pools(), func(p fakearm.Pool) bool { return strings.HasPrefix(p.Name, "foreign") })
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
	return first.log
}

// stranger puts a node that is not ours into the cluster, with a pod of somebody else.
func (w *world) stranger() []client.Object {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "foreign-node", Labels: map[string]string{"agentpool": "foreign"}}}
	fakearm.SetGPUs(n, 1)
	w.create(n)
	w.podOn(n.Name, "foreign-0")
	return w.strangers()
}

// strangers are that node and that pod as they are now.
func (w *world) strangers() []client.Object {
	w.t.Helper()
	n, p := &corev1.Node{}, &corev1.Pod{}
	for key, o := range map[client.ObjectKey]client.Object{{Name: "foreign-node"}: n, {Namespace: "team-a", Name: "foreign-0"}: p} {
		if err := w.kube.Get(w.ctx, key, o); err != nil {
			w.t.Fatal(err)
		}
	}
	return []client.Object{n, p}
}

// foreign is what the pools that are not ours are, without their ETags: AKS
// changes those by itself.
func (w *world) foreign() []fakearm.Pool {
	pools := slices.DeleteFunc(w.arm.Pools(), func(p fakearm.Pool) bool { return !strings.HasPrefix(p.Name, "foreign") })
	for i := range pools {
		pools[i].ETag = ""
	}
	return pools
}
