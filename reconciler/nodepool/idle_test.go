// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// idlePool is a pool of two nodes that lets them go after half an hour.
func idlePool(action v1alpha1.IdleAction, instances ...string) *v1alpha1.GPUNodePool {
	p := gpuPool("p", instances...)
	scaledTo(2)(p)
	p.Spec.Idle = &v1alpha1.PoolIdle{After: metav1.Duration{Duration: 30 * time.Minute}, Action: action}
	return p
}

// use declares a Workspace that names the pool, or takes it away.
func (w *world) use(name string, uses bool) {
	w.t.Helper()
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}
	ws.Spec.Resource.NodePool = subject
	if uses {
		w.create(ws)
		return
	}
	if err := w.kube.Delete(w.ctx, ws); err != nil {
		w.t.Fatal(err)
	}
}

// TestNoNodeWanted: a pool of no nodes is Ready, so that whoever waits for what
// Git declares does not wait for ever.
func TestNoNodeWanted(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", t4)
	scaledTo(0)(p)
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, pool.ReasonNothingWanted, "replicas is 0")
	for _, kind := range []string{v1alpha1.ConditionProvisioned, v1alpha1.ConditionNodesRegistered, v1alpha1.ConditionGPUReady} {
		w.want(kind, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	}
	if n := w.arm.Counts()[http.MethodPut]; n != 0 {
		t.Errorf("%d orders", n)
	}
	w.edit(scaledTo(1))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 Standard_NC4as_T4_v3 node")
}

// TestIdle follows a shared pool through its users.
func TestIdle(t *testing.T) {
	for _, action := range []v1alpha1.IdleAction{v1alpha1.IdleScaleToZero, v1alpha1.IdleDelete} {
		t.Run(string(action), func(t *testing.T) {
			w := newWorld(t)
			w.create(idlePool(action, t4))
			w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
			w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, pool.ReasonIdle, "2 nodes are asked for when a Workspace names it")
			if len(w.arm.Ordered()) != 0 {
				t.Fatal("nodes were bought for nobody")
			}
			w.use("a", true)
			w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 && w.ready("p")() })

			w.use("b", true)
			w.use("a", false)
			w.wait(2 * time.Hour)
			if got := w.get("p").Status; got.ReadyNodes != 2 || got.IdleSince != nil {
				t.Fatalf("the other user lost its nodes: %+v", got)
			}

			w.use("b", false)
			left := w.arm.Now()
			w.wait(10 * time.Minute)
			if got := w.get("p").Status; got.ReadyNodes != 2 || got.IdleSince == nil {
				t.Fatalf("within half an hour the nodes stay: %+v", got)
			}
			w.drive(&life{}, []string{"p"}, func() bool { return len(w.nodes()) == 0 })
			if took := w.arm.Now().Sub(left); took < 30*time.Minute || took > 45*time.Minute {
				t.Errorf("given back after %s, want half an hour", took)
			}
			w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
			if n := len(w.arm.Pools()); (n == 0) != (action == v1alpha1.IdleDelete) {
				t.Errorf("%d pools in the cloud", n)
			}
			if usd := w.get("p").Status.USDPerHour; usd != "" && usd != "0.5" { // what the test's price list has for no node
				t.Errorf("costs %s USD/h", usd)
			}

			w.use("c", true)
			w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 && w.ready("p")() })
		})
	}
}

// wait lets a fresh controller look at the pool for a while.
func (w *world) wait(d time.Duration) {
	w.t.Helper()
	until := w.arm.Now().Add(d)
	w.drive(&life{}, []string{subject}, func() bool { return !w.arm.Now().Before(until) })
}

// TestIdleUpgraded: AKS upgrades the empty pool of an idle one, as it does with all of a
// cluster. That is no create that takes too long: the size is not ruled out for it.
func TestIdleUpgraded(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleScaleToZero, t4, a100))
	w.use("a", true)
	w.drive(&life{}, []string{subject}, func() bool { return w.get(subject).Status.ReadyNodes == 2 })
	w.use("a", false)
	w.drive(&life{}, []string{subject}, w.phase(v1alpha1.PhaseIdle))
	w.wait(time.Hour)
	w.arm.SetState(w.get(subject).Status.PoolName, "Updating")
	w.wait(10 * time.Minute)
	if st, n := w.get(subject).Status, w.arm.Counts()["DELETE"]; st.Phase != v1alpha1.PhaseIdle || len(st.Skipped) != 0 || n != 0 {
		t.Errorf("phase %s, skipped %+v, %d DELETEs; want %s and nothing", st.Phase, st.Skipped, n, v1alpha1.PhaseIdle)
	}
	w.arm.SetState(w.get(subject).Status.PoolName, "Succeeded")
	w.use("b", true)
	w.drive(&life{}, []string{subject}, func() bool { return w.get(subject).Status.ReadyNodes == 2 && w.ready(subject)() })
	if c := w.get(subject).Status.Candidate; c.InstanceType != t4 || c.Attempt != 1 {
		t.Errorf("woken as %+v", c)
	}
}

// TestIdleWithPods: pods that no Workspace answers for are a use too.
func TestIdleWithPods(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleScaleToZero, t4))
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 })
	w.podOn(w.nodes()[0], "foreign-1")
	w.use("a", false)
	w.wait(3 * time.Hour)
	if len(w.nodes()) != 2 || w.node(w.nodes()[1]).Spec.Unschedulable {
		t.Errorf("nodes %v", w.nodes())
	}
	if !w.ready("p")() || w.get("p").Status.Phase != v1alpha1.PhaseReady {
		t.Errorf("status %+v", w.get("p").Status)
	}
	if err := w.kube.Delete(w.ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "foreign-1"}}); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
	if len(w.nodes()) != 0 {
		t.Errorf("nodes %v", w.nodes())
	}
}

// TestIdleWakesElsewhere: what the cloud says when an empty pool is to grow again
// is about its candidate, and the next one is tried.
func TestIdleWakesElsewhere(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleScaleToZero, a100, t4))
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 })
	w.use("a", false)
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
	w.arm.Refuse(a100, fakearm.Quota(hardware[a100].Family, 24, 24, 48))
	w.use("b", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 && w.ready("p")() })
	st := w.get("p").Status
	if st.Candidate.InstanceType != t4 || len(st.Skipped) != 1 || st.Skipped[0].Class != string(pool.ClassFamilyQuota) {
		t.Errorf("status %+v", st)
	}
	if len(w.arm.Pools()) != 1 {
		t.Errorf("pools %+v", w.arm.Pools())
	}
}

// TestIdleAfterEviction: a machine that was evicted still counts, and does not keep
// the pool from its rest.
func TestIdleAfterEviction(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleScaleToZero, t4+"/spot"))
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 })
	w.arm.Evict(w.get("p").Status.PoolName)
	w.arm.Evict(w.get("p").Status.PoolName)
	w.use("a", false)
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
}

// TestIdleWantedMeanwhile: a Workspace that comes between the decision and the
// mutation keeps the nodes.
func TestIdleWantedMeanwhile(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleDelete, t4))
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 })
	r, _ := w.controller(&life{})
	w.use("a", false)
	w.once(r, "p")
	w.arm.Advance(31 * time.Minute)
	w.use("b", true)
	r.Client = withoutWorkspaces{w.kube}
	w.once(r, "p")
	if n := w.arm.Counts()[http.MethodDelete]; n != 0 {
		t.Errorf("%d deletes", n)
	}
	for _, name := range w.nodes() {
		if w.node(name).Spec.Unschedulable {
			t.Errorf("node %s is cordoned", name)
		}
	}
}

// withoutWorkspaces is a cache that has not heard of any Workspace yet.
type withoutWorkspaces struct{ client.WithWatch }

func (c withoutWorkspaces) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	if _, ok := into.(*v1alpha1.WorkspaceList); ok {
		return nil
	}
	return c.WithWatch.List(ctx, into, opts...)
}

// TestIdleNodeClaims: NodeClaims that nobody uses go too, and come back.
func TestIdleNodeClaims(t *testing.T) {
	for _, action := range []v1alpha1.IdleAction{v1alpha1.IdleScaleToZero, v1alpha1.IdleDelete} {
		t.Run(string(action), func(t *testing.T) {
			w := newOrchard(t, ec2)
			user := func(name string) *v1alpha1.Workspace {
				ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}
				ws.Spec.Resource.NodePool = subject
				return ws
			}
			w.must(w.kube.Create(t.Context(), user("a")))
			w.plant(func(p *v1alpha1.GPUNodePool) {
				replicas(2)(p)
				p.Spec.Idle = &v1alpha1.PoolIdle{After: metav1.Duration{Duration: 2 * time.Minute}, Action: action}
			}, t4)
			w.drive(&life{}, w.whole)
			w.must(w.kube.Delete(t.Context(), user("a")))
			w.drive(&life{}, func() bool {
				return w.get().Status.Phase == v1alpha1.PhaseIdle && len(w.list(claimKind)) == 0
			})
			if n := len(w.list(poolKind)); action == v1alpha1.IdleDelete && n != 0 {
				t.Errorf("%d NodePools are left", n)
			}
			w.must(w.kube.Create(t.Context(), user("b")))
			w.drive(&life{}, w.whole)
			if n := len(w.live()); n != 2 {
				t.Errorf("%d NodeClaims, want 2", n)
			}
		})
	}
}
