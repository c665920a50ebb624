// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// condition is a condition of a pool; the zero one if it is not there.
func (w *world) condition(name, kind string) metav1.Condition {
	w.t.Helper()
	if c := meta.FindStatusCondition(w.get(name).Status.Conditions, kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) want(kind string, status metav1.ConditionStatus, reason, part string) {
	w.t.Helper()
	c := w.condition(subject, kind)
	if c.Status != status || c.Reason != reason || !strings.Contains(c.Message, part) {
		w.t.Errorf("condition %s is %s, %s, %q; want %s, %s, with %q", kind, c.Status, c.Reason, c.Message, status, reason, part)
	}
}

// once reconciles one time.
func (w *world) once(r *Reconciler, name string) ctrl.Result {
	w.t.Helper()
	res, err := r.Reconcile(w.ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: name}})
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// pod puts a running pod on the first node of a pool.
func (w *world) pod(pool string, labels map[string]string) *corev1.Pod {
	w.t.Helper()
	var nodes corev1.NodeList
	if err := w.kube.List(w.ctx, &nodes); err != nil || len(nodes.Items) == 0 {
		w.t.Fatalf("no node for a pod of %s: %v", pool, err)
	}
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "pod-of-" + pool, Labels: labels}}
	p.Spec.NodeName, p.Status.Phase = nodes.Items[0].Name, corev1.PodRunning
	w.create(p)
	return p
}

func TestReadyStatus(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	st := w.get("p").Status
	if st.Phase != v1alpha1.PhaseReady || st.ReadyNodes != 1 || *st.GPUs != (v1alpha1.GPUCount{Expected: 1, Allocatable: 1}) || st.USDPerHour != "1.5" || st.Candidate.Accepted == nil || st.ObservedGeneration != 1 {
		t.Errorf("status %+v", st)
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionProvisioned, v1alpha1.ConditionNodesRegistered, v1alpha1.ConditionGPUReady} {
		w.want(kind, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	}
	if len(st.Conditions) != 4 {
		t.Errorf("a Ready pool has no other conditions: %+v", st.Conditions)
	}
}

// TestQuiet: when nothing happens, nothing is written, and pools share a look.
// AKS holds 99 pools of ours beside its own; the others are nodes that exist.
func TestQuiet(t *testing.T) {
	w := newWorldOf(t, fakearm.Options{CreateDelay: time.Second, GPUDelay: time.Second, DeleteDelay: time.Second, Limits: true})
	w.listSizes()
	begun := w.arm.Now()
	var names []string
	for i := range 200 {
		p := gpuPool(fmt.Sprintf("p%d", i), t4)
		if i >= 99 {
			p.Spec.Provider, p.Spec.NodeLabels = v1alpha1.ProviderExisting, map[string]string{"espalier.dev/owner-uid": "uid-p0"}
		}
		names = append(names, p.Name)
		w.create(p)
	}
	for _, made := range [][]string{names[:99], names[99:]} {
		at := 0
		w.drive(&life{}, made, func() bool {
			for at < len(made) && w.ready(made[at])() {
				at++ // a pool that was Ready stays so here
			}
			return at == len(made)
		})
	}
	quiet := &life{}
	r, _ := w.controller(quiet)
	reads := 0
	r.Live = countReads(w.kube, &reads)
	before, made := w.arm.Counts(), w.arm.Now().Sub(begun)
	const ticks = 10
	looks := 0
	for range ticks {
		for i, n := range names[:99] {
			looks++
			if res := w.once(r, n); res.RequeueAfter != defaultIdle {
				t.Fatalf("a Ready pool looks again after %s", res.RequeueAfter)
			}
			if i == 50 {
				w.arm.Advance(defaultIdle / 2) // pools are not in step
			}
		}
		w.arm.Advance(defaultIdle / 2)
	}
	quietReads := reads
	for _, n := range names[99:] {
		if res := w.once(r, n); res.RequeueAfter != 0 {
			t.Fatalf("nodes that exist are looked at every %s", res.RequeueAfter)
		}
	}
	after := w.arm.Counts()
	lists, gets := after["LIST"]-before["LIST"], after["GET"]-before["GET"]
	asked := after["CLUSTER"] + after["USAGE"] + after["SKUS"] - before["CLUSTER"] - before["USAGE"] - before["SKUS"]
	writes := len(slices.DeleteFunc(slices.Clone(quiet.log), func(c string) bool { return !strings.HasPrefix(c, "patch") }))
	minutes := ticks * defaultIdle.Minutes()
	t.Logf("%d pools, nothing happens for %.0f min: Kubernetes %.1f writes and %.1f reads past the cache a minute, ARM %.2f LISTs and %.1f GETs a minute, quota asked %d times (%d looks)",
		len(names), minutes, float64(writes)/minutes, float64(quietReads)/minutes, float64(lists)/minutes, float64(gets)/minutes, asked, looks)
	t.Logf("while the 99 pools were made: cluster read %d times, usage %d, SKUs %d, in %s", before["CLUSTER"], before["USAGE"], before["SKUS"], made)
	if most := int(made/(5*time.Minute)) + 2; before["USAGE"] > most || before["SKUS"] > 1 || before["CLUSTER"] > 1 {
		t.Errorf("asked for usage more often than every five minutes, or for sizes more than once in six hours: %v", before)
	}
	if lists > ticks+1 || gets != 0 || asked != 0 {
		t.Errorf("%d LISTs and %d GETs in %d ticks of %d pools, want one LIST a tick", lists, gets, ticks, len(names))
	}
	if quietReads > 0 {
		t.Errorf("a quiet controller read %d times past its cache", quietReads)
	}
	if writes > 0 {
		t.Errorf("a quiet controller wrote to the cluster: %v", quiet.log)
	}
}

// TestOneMutationInFlight: five pools at once are created one after the other,
// in fair order, and the cloud never has to refuse one as busy.
func TestOneMutationInFlight(t *testing.T) {
	w := newWorld(t)
	names := []string{"a", "b", "c", "d", "e"}
	for _, n := range names {
		w.create(gpuPool(n, t4))
	}
	seenBusy := false
	w.drive(&life{}, names, func() bool {
		creating := 0
		for _, p := range w.arm.Pools() {
			if p.State == "Creating" {
				creating++
			}
		}
		if creating > 1 {
			t.Fatalf("%d creates in flight", creating)
		}
		seenBusy = seenBusy || w.condition("b", v1alpha1.ConditionClusterBusy).Status == metav1.ConditionTrue
		return !slices.ContainsFunc(names, func(n string) bool { return !w.ready(n)() })
	})
	for _, r := range w.arm.Requests() {
		if r.Status == http.StatusConflict {
			t.Errorf("the cloud was asked while busy: %+v", r)
		}
	}
	if !seenBusy {
		t.Error("a waiting pool does not say ClusterBusy")
	}
	if got := w.condition("b", v1alpha1.ConditionClusterBusy); got.Status != "" {
		t.Errorf("ClusterBusy stays: %+v", got)
	}
}

func TestFailures(t *testing.T) {
	cases := map[string]struct {
		reason string
		pool   *v1alpha1.GPUNodePool
		fault  func(*fakearm.Server)
		want   string // the instance type it ends on; empty: Exhausted
		class  pool.Class
		said   string
	}{
		"Quota": {
			reason: "The sentence has family, limit, used, needed and where to ask.",
			pool:   gpuPool("p", a100), fault: func(s *fakearm.Server) { s.Refuse(a100, fakearm.Quota("standardNCADSA100v4Family", 24, 20, 24)) },
			class: pool.ClassFamilyQuota, said: "is 24 vCPUs, 20 are used and 24 more are needed; ask for more at https://aka.ms/ProdportalCRP",
		},
		"SpotFallsBackToOnDemand": {
			reason: "That is what ordered candidates are for.",
			pool:   gpuPool("p", a100+"/spot", a100), fault: func(s *fakearm.Server) { s.FailNextCreateAsync(fakearm.AllocationFailed()) },
			want: a100, class: pool.ClassCapacity,
		},
		"SizeNotOffered": {
			reason: "The next candidate is tried at once.",
			pool:   gpuPool("p", h100, t4), fault: func(s *fakearm.Server) { s.Refuse(h100, fakearm.SKUNotAvailable(h100)) },
			want: t4, class: pool.ClassSKU,
		},
		"Unoffered": {
			reason: "A retired size is refused by the cloud for the subscription.",
			pool:   gpuPool("p", "Standard_NC6s_v3", t4), fault: func(*fakearm.Server) {},
			want: t4, class: pool.ClassSKUSubscription,
		},
		"NoPermission": {
			reason: "Other sizes need the same permission.",
			pool:   gpuPool("p", a100, t4), fault: func(s *fakearm.Server) {
				s.FailNextCreate("AuthorizationFailed", "The client has no authorization to perform action agentPools/write", http.StatusForbidden)
			},
			class: pool.ClassAuth, said: "give the controller's identity the permission",
		},
		"NodesNeverJoin": {
			reason: "Succeeded without nodes is no success.",
			pool:   gpuPool("p", a100), fault: func(s *fakearm.Server) { s.NodesJoin(false) },
			class: pool.ClassProvisionTimeout, said: "0 of 1 Standard_NC24ads_A100_v4 node has joined within 20m0s",
		},
		"NodesWithoutGPUs": {
			reason: "Ready nodes without GPUs are given up, and the likely cause is named.",
			pool:   gpuPool("p", a100), fault: func(s *fakearm.Server) { s.NodesOfferGPUs(false) },
			class: pool.ClassGPUTimeout, said: "no pod of a device plugin runs on it",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			tc.fault(w.arm)
			w.create(tc.pool)
			until := w.phase(v1alpha1.PhaseExhausted)
			if tc.want != "" {
				until = w.ready("p")
			}
			w.drive(&life{}, []string{"p"}, until)
			st := w.get("p").Status
			if len(st.Skipped) == 0 || st.Skipped[0].Class != string(tc.class) || !strings.Contains(st.Skipped[0].Message, tc.said) {
				t.Errorf("%s\nskipped %+v, want %s with %q", tc.reason, st.Skipped, tc.class, tc.said)
			}
			if tc.want != "" {
				if st.Candidate.InstanceType != tc.want || st.Candidate.Priority != v1alpha1.OnDemand {
					t.Errorf("%s\nended on %+v", tc.reason, st.Candidate)
				}
				return
			}
			if len(w.arm.Pools()) != 0 || st.USDPerHour != "" {
				t.Errorf("%s\nleft behind %+v at %s USD/h", tc.reason, w.arm.Pools(), st.USDPerHour)
			}
			c := w.condition("p", v1alpha1.ConditionCapacityNotFound)
			if c.Status != metav1.ConditionTrue || !strings.Contains(c.Message, tc.said) {
				t.Errorf("%s\ncondition %+v", tc.reason, c)
			}
		})
	}
}

// TestExhaustedWakes: the candidate is tried again when its time is over, and a
// quota that was raised meanwhile is found without a restart.
func TestExhaustedWakes(t *testing.T) {
	w := newWorld(t)
	w.arm.Refuse(a100, fakearm.Quota("standardNCADSA100v4Family", 24, 24, 24))
	w.create(gpuPool("p", a100))
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseExhausted))
	w.want(v1alpha1.ConditionStalled, metav1.ConditionTrue, string(pool.ClassFamilyQuota), "Quota of")
	at := w.get("p").Status.Since.Time
	w.arm.Allow(a100)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if took := w.arm.Now().Sub(at); took < 10*time.Minute || took > 17*time.Minute {
		t.Errorf("tried again and Ready after %s, want 10 min of rest and a create", took)
	}
	if c := w.condition("p", v1alpha1.ConditionStalled); c.Status != "" {
		t.Errorf("Stalled stays: %+v", c)
	}
}

// TestRetryAfter: the queue waits for as long as the cloud asks, and a little longer,
// each pool for another while.
func TestRetryAfter(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	w.arm.FailNext("PUT", fakearm.Throttled(77*time.Second))
	r, _ := w.controller(&life{})
	w.once(r, "p")
	if res := w.once(r, "p"); res.RequeueAfter != pool.Later("uid-p", 77*time.Second) || res.RequeueAfter <= 77*time.Second {
		t.Errorf("looks again after %s, want 77 s and a little", res.RequeueAfter)
	}
	if p := w.get("p"); p.Status.Phase != v1alpha1.PhaseClaiming || p.Status.Candidate.Attempt != 1 || len(p.Status.Skipped) != 0 {
		t.Errorf("throttling cost an attempt: %+v", p.Status)
	}
}

// TestWriteAhead: the reconcile that records the attempt asks the cloud for
// nothing, and a decision on an old object is not acted on.
func TestWriteAhead(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	r, _ := w.controller(&life{})
	w.once(r, "p")
	if p := w.get("p"); p.Status.Phase != v1alpha1.PhaseClaiming || p.Status.PoolName != pool.Name(installation, "uid-p", 1) {
		t.Fatalf("status %+v", p.Status)
	}
	if len(w.arm.Ordered()) != 0 {
		t.Fatal("ordered before it was recorded and read back")
	}
	stale := &Reconciler{Client: frozen{w.kube, w.get("p")}, Live: w.kube, Deps: r.Deps}
	w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates[0].InstanceType = a100 })
	if res := w.once(stale, "p"); res.RequeueAfter != pool.Soon || len(w.arm.Ordered()) != 0 {
		t.Errorf("acted on a stale object: %v, %s", w.arm.Ordered(), res.RequeueAfter)
	}
}

func TestProviderMissing(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	r, _ := w.controller(&life{})
	delete(r.Deps.Providers, v1alpha1.ProviderAKS)
	w.once(r, "p")
	w.want(v1alpha1.ConditionStalled, metav1.ConditionTrue, string(pool.ClassUnsupported), "without the provider aks")
	w.delete()
	w.once(r, "p")
	if w.get("p") != nil {
		t.Error("an object that asked for nothing is held")
	}
}

func TestNodeEvents(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	r, _ := w.controller(&life{})
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{repolayout.LabelPool: "team-a.p"}}}
	if got := r.poolsOf(w.ctx, n); len(got) != 1 || got[0].Name != "p" {
		t.Errorf("the node wakes %v", got)
	}
	n.Labels[repolayout.LabelPool] = "team-b.p"
	if got := r.poolsOf(w.ctx, n); len(got) != 0 {
		t.Errorf("a node of another pool wakes %v", got)
	}
	beat := n.DeepCopy()
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, LastHeartbeatTime: metav1.Now()}}
	gpus := beat.DeepCopy()
	fakearm.SetGPUs(gpus, 1)
	if nodeChanged().Update(event.UpdateEvent{ObjectOld: n, ObjectNew: beat}) {
		t.Error("a heartbeat wakes the controller")
	}
	if !nodeChanged().Update(event.UpdateEvent{ObjectOld: beat, ObjectNew: gpus}) {
		t.Error("GPUs that appear do not wake the controller")
	}
}
