// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
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
	w.setReady("foreign-a", corev1.ConditionTrue)
	w.setReady("foreign-b", corev1.ConditionTrue)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if w.removals() != 1 || w.node(ours) != nil {
		t.Errorf("%d machines were removed, want that of %s", w.removals(), ours)
	}
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
	return pool.CensusOf(nodes.Items).NotReady == 0
}
