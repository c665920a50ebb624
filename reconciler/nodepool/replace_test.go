// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lostAfter is how long nodes may be not Ready here.
const lostAfter = 20 * time.Minute

// setReady has a node say, since the fake's now, whether it is Ready.
func (w *world) setReady(name string, status corev1.ConditionStatus) {
	w.t.Helper()
	n := &corev1.Node{}
	if err := w.kube.Get(w.ctx, types.NamespacedName{Name: name}, n); err != nil {
		w.t.Fatal(err)
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status, Reason: "NodeStatusUnknown", LastTransitionTime: metav1.NewTime(w.arm.Now())}}
	if err := w.kube.Status().Update(w.ctx, n); err != nil {
		w.t.Fatal(err)
	}
	w.remember(name)
}

// others puts nodes that are not ours into the cluster.
func (w *world) others(names ...string) {
	w.t.Helper()
	for _, name := range names {
		w.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		w.setReady(name, corev1.ConditionTrue)
	}
}

// removals is how often machines were removed by name.
func (w *world) removals() int { return w.arm.Counts()["REMOVE"] }

// lost says whether the pool tells of a lost node.
func (w *world) lost() bool {
	return w.condition(subject, v1alpha1.ConditionDegraded).Reason == pool.ReasonNodeLost
}

// TestNodeLost: of two nodes one does not answer. Its machine is removed by name after
// twenty minutes, whatever pods are left on it, and another one comes; the node that
// works, and what runs on it, are left alone.
func TestNodeLost(t *testing.T) {
	w := readyWorld(t, 2)
	w.others("foreign-a", "foreign-b")
	gone, kept := w.nodes()[0], w.nodes()[1]
	w.podOn(gone, "stuck")
	if err := w.kube.Delete(w.ctx, w.terminating("stuck")); err != nil {
		t.Fatal(err)
	}
	w.podOn(kept, "busy")
	w.setReady(gone, corev1.ConditionUnknown)
	at := w.arm.Now()
	w.drive(&life{}, []string{"p"}, w.lost)
	if waited := w.arm.Now().Sub(at); waited < lostAfter || waited > lostAfter+5*time.Minute || w.removals() != 0 {
		t.Errorf("said to be lost after %s, with %d removals before", waited, w.removals())
	}
	w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodeLost, "node "+gone+" has not been Ready for longer than 20m0s: its machine is deleted")
	w.drive(&life{}, []string{"p"}, func() bool { return w.ready("p")() && len(w.get("p").Status.Removing) == 0 })
	if w.node(gone) != nil || w.node(kept) == nil || len(w.nodes()) != 2 || w.removals() != 1 {
		t.Errorf("%d removals, nodes %v, want %s to be gone and %s to be there", w.removals(), w.nodes(), gone, kept)
	}
	if st := w.get("p").Status; st.Candidate.Attempt != 1 || st.ReadyNodes != 2 {
		t.Errorf("status %+v, want the same attempt with two nodes", st)
	}
}

// TestOnlyNodeLost: the only node of a pool is replaced in the same attempt. Its candidate
// is not given up because no node is left for a moment, and the agent pool stays.
func TestOnlyNodeLost(t *testing.T) {
	w := readyWorld(t, 1)
	w.others("foreign-a", "foreign-b")
	gone, before := w.nodes()[0], w.arm.Counts()
	w.setReady(gone, corev1.ConditionUnknown)
	w.drive(&life{}, []string{"p"}, func() bool {
		return w.node(gone) == nil && w.ready("p")() && len(w.get("p").Status.Removing) == 0
	})
	counts := w.arm.Counts()
	if counts["REMOVE"] != 1 || counts["DELETE"] != 0 || counts["PUT"] != before["PUT"]+1 {
		t.Errorf("%v requests, before %v: want one REMOVE, one PUT and no DELETE", counts, before)
	}
	if st := w.get("p").Status; st.Candidate.Attempt != 1 || len(st.Skipped) != 0 || len(w.nodes()) != 1 {
		t.Errorf("attempt %d, skipped %+v, nodes %v: want the same attempt", st.Candidate.Attempt, st.Skipped, w.nodes())
	}
}

// terminating gives a pod a finalizer, for want of a kubelet that would have to say that
// it has ended.
func (w *world) terminating(name string) *corev1.Pod {
	w.t.Helper()
	p := &corev1.Pod{}
	if err := w.kube.Get(w.ctx, types.NamespacedName{Namespace: "team-a", Name: name}, p); err != nil {
		w.t.Fatal(err)
	}
	p.Finalizers = []string{"example.com/dead-kubelet"}
	if err := w.kube.Update(w.ctx, p); err != nil {
		w.t.Fatal(err)
	}
	return p
}

// TestNodesLostTogether: when many nodes do not answer, no machine is touched, for
// however long, and it is said why; when the others are back it is the node's own fault.
func TestNodesLostTogether(t *testing.T) {
	w := readyWorld(t, 1)
	w.others("foreign-a", "foreign-b", "foreign-c")
	ours := w.nodes()[0]
	for _, name := range []string{ours, "foreign-a", "foreign-b"} {
		w.setReady(name, corev1.ConditionUnknown)
	}
	w.drive(&life{}, []string{"p"}, w.lost)
	w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodeLost, "3 of 4 nodes of the cluster are not")
	r, _ := w.controller(&life{})
	for range 20 {
		w.arm.Advance(time.Hour)
		w.once(r, "p")
	}
	if w.removals() != 0 || w.node(ours) == nil {
		t.Fatalf("%d machines were removed in a partition", w.removals())
	}
	back := w.arm.Now()
	w.setReady("foreign-a", corev1.ConditionTrue)
	w.setReady("foreign-b", corev1.ConditionTrue)
	w.drive(&life{}, []string{"p"}, func() bool { return w.removals() > 0 })
	if waited := w.arm.Now().Sub(back); waited < 10*time.Minute || waited > 12*time.Minute {
		t.Errorf("removed %s after the others came back, want the ten minutes that it may take longer", waited)
	}
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if w.removals() != 1 || w.node(ours) != nil {
		t.Errorf("%d machines were removed, want that of %s", w.removals(), ours)
	}
}

// TestNodesComeBack: a partition of 25 minutes ends, and the node with GPUs is back some
// minutes after the others: its machine is not touched.
func TestNodesComeBack(t *testing.T) {
	w := readyWorld(t, 1)
	w.others("foreign-a", "foreign-b", "foreign-c")
	ours := w.nodes()[0]
	for _, name := range []string{ours, "foreign-a", "foreign-b"} {
		w.setReady(name, corev1.ConditionUnknown)
	}
	at := w.arm.Now()
	until := func(d time.Duration) func() bool { return func() bool { return w.arm.Now().Sub(at) >= d } }
	w.drive(&life{}, []string{"p"}, until(25*time.Minute))
	w.setReady("foreign-a", corev1.ConditionTrue)
	w.setReady("foreign-b", corev1.ConditionTrue)
	w.drive(&life{}, []string{"p"}, until(33*time.Minute))
	w.setReady(ours, corev1.ConditionTrue)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if st := w.get("p").Status; w.removals() != 0 || w.node(ours) == nil || len(st.Removing) != 0 {
		t.Errorf("%d machines were removed, recorded %v", w.removals(), st.Removing)
	}
}

// TestNodesLostInTurn: of two pools that lose their node at once, one is replaced after
// the other has another one ordered, whoever begins.
func TestNodesLostInTurn(t *testing.T) {
	w := newWorld(t)
	names := []string{"p", "q"}
	for _, name := range names {
		w.create(gpuPool(name, t4))
	}
	w.drive(&life{}, names, func() bool { return w.ready("p")() && w.ready("q")() })
	lost := w.nodes()
	for i := range 6 { // of other pools that were bought: two of eight are no disturbance
		name := fmt.Sprintf("bought-%d", i)
		w.create(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{repolayout.LabelPool: "other"}}})
		w.setReady(name, corev1.ConditionTrue)
	}
	for _, name := range lost {
		w.setReady(name, corev1.ConditionUnknown)
	}
	w.drive(&life{}, names, func() bool {
		going := 0
		for _, name := range names {
			if p := w.get(name); pool.Replaces(p) && w.removals() > 0 {
				going++
			}
		}
		if going > 1 {
			t.Fatalf("two machines are replaced at a time: %s", w.describe(names))
		}
		return w.removals() == 2 && w.ready("p")() && w.ready("q")()
	})
	if counts := w.arm.Counts(); len(lost) != 2 || counts["DELETE"] != 0 || counts["REMOVE"] != 2 {
		t.Errorf("lost %v: %v requests", lost, counts)
	}
}

// TestReplacingInTurn: of two pools that recorded a machine at the same moment one goes.
func TestReplacingInTurn(t *testing.T) {
	w := newWorld(t)
	recorded := func(name string) *v1alpha1.GPUNodePool {
		p := gpuPool(name, t4)
		p.Status.Removing = []string{"n-" + name}
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: pool.ReasonNodeLost, LastTransitionTime: metav1.NewTime(w.arm.Now())}}
		w.create(p)
		return w.get(name)
	}
	a, b := recorded("a"), recorded("b")
	r, _ := w.controller(&life{})
	for name, c := range map[string]struct {
		pool     *v1alpha1.GPUNodePool
		recorded bool
		hidden   bool // names of other namespaces are not for this one
		want     string
	}{
		"First":         {a, true, false, ""},
		"Second":        {b, true, false, "pool team-a/a"},
		"FirstNotYet":   {a, false, false, "pool team-a/b"},
		"OtherTeam":     {stranger(b), false, true, "a pool of another namespace"},
		"OtherTeamSeen": {stranger(b), false, false, "pool team-a/a"},
	} {
		t.Run(name, func(t *testing.T) {
			r.Deps.NamesWithin = c.hidden
			got, err := r.replacing(w.ctx, w.kube, &pass{pool: c.pool}, c.recorded)
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// stranger is a pool as if it were of another namespace.
func stranger(p *v1alpha1.GPUNodePool) *v1alpha1.GPUNodePool {
	p = p.DeepCopy()
	p.Namespace = "team-z"
	return p
}

// TestNodeBackInTime: the cache is behind; the live look before the order sees that the
// node is back, or that others went too.
func TestNodeBackInTime(t *testing.T) {
	for name, change := range map[string]func(w *world, ours string){
		"Back":   func(w *world, ours string) { w.setReady(ours, corev1.ConditionTrue) },
		"Others": func(w *world, _ string) { w.setReady("foreign-a", corev1.ConditionUnknown) },
		"Gone": func(w *world, ours string) {
			if err := w.kube.Delete(w.ctx, w.node(ours)); err != nil {
				w.t.Fatal(err)
			}
			w.remember(ours)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := readyWorld(t, 1)
			w.others("foreign-a")
			ours := w.nodes()[0]
			w.setReady(ours, corev1.ConditionUnknown)
			w.drive(&life{}, []string{"p"}, w.lost) // recorded, not ordered
			r, _ := w.controller(&life{})
			p := &pass{now: w.arm.Now(), pool: w.get("p")}
			p.decision = pool.Decision{Do: pool.ActionEnsure, Replaces: ours, Removing: []string{ours}}
			if lost, err := r.stillLost(w.ctx, p); err != nil || !lost {
				t.Fatalf("before anything changes: %t %v", lost, err)
			}
			change(w, ours)
			if lost, err := r.stillLost(w.ctx, p); err != nil || lost || p.decision.Do != pool.ActionNone || p.decision.Removing != nil {
				t.Errorf("%t %v, decision %+v", lost, err, p.decision)
			}
		})
	}
}

// TestLostNodeOccupied: a pod of somebody else that tolerates a node which does not
// answer keeps its machine until it is deleted; one of the Workspace does not.
func TestLostNodeOccupied(t *testing.T) {
	w := newWorld(t)
	yes := true
	p := gpuPool("p", t4)
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "ws", UID: "ws", Controller: &yes}}
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.pod("own", map[string]string{repolayout.LabelWorkspace: "ws"})
	stranger := w.podOn(w.nodes()[0], "foreign-database")
	w.setReady(w.nodes()[0], corev1.ConditionUnknown)
	w.drive(&life{}, []string{"p"}, w.blocked(pool.ReasonForeignPods))
	w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodeLost, "team-a/foreign-database; delete them")
	if c := w.condition(subject, v1alpha1.ConditionDegraded); strings.Contains(c.Message, "pod-of-own") || w.removals() != 0 {
		t.Errorf("%d removals: %s", w.removals(), c.Message)
	}
	if err := w.kube.Delete(w.ctx, stranger); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if w.removals() != 1 || len(w.nodes()) != 1 {
		t.Errorf("%d removals, nodes %v", w.removals(), w.nodes())
	}
}

// silence has a node answer no more.
func (w *orchard) silence(name string) {
	w.t.Helper()
	n := &corev1.Node{}
	w.must(w.kube.Get(w.t.Context(), types.NamespacedName{Name: name}, n))
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown, LastTransitionTime: metav1.NewTime(w.now)}}
	w.must(w.kube.Update(w.t.Context(), n))
}

// answers says whether every node does.
func (w *orchard) answers() bool {
	w.t.Helper()
	nodes := &corev1.NodeList{}
	w.must(w.kube.List(w.t.Context(), nodes))
	return pool.CensusOf(nodes.Items, repolayout.LabelPool, w.now).NotReady == 0
}
