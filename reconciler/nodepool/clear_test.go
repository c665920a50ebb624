// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// node reads a node; nil: it is gone.
func (w *world) node(name string) *corev1.Node {
	w.t.Helper()
	var nodes corev1.NodeList
	if err := w.kube.List(w.ctx, &nodes); err != nil {
		w.t.Fatal(err)
	}
	for i := range nodes.Items {
		if nodes.Items[i].Name == name {
			return &nodes.Items[i]
		}
	}
	return nil
}

// nodes names the nodes, but for those that are not ours.
func (w *world) nodes() []string {
	w.t.Helper()
	var nodes corev1.NodeList
	if err := w.kube.List(w.ctx, &nodes); err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, n := range nodes.Items {
		if !strings.HasPrefix(n.Name, "foreign") {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// podOn puts a running pod on a node.
func (w *world) podOn(node, name string) *corev1.Pod {
	w.t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name}}
	p.Spec.NodeName, p.Status.Phase = node, corev1.PodRunning
	w.create(p)
	return p
}

func (w *world) blocked(reason string) func() bool {
	return func() bool {
		return w.get(subject) != nil && w.condition(subject, v1alpha1.ConditionDeletionBlocked).Reason == reason
	}
}

func scaledTo(n int32) func(*v1alpha1.GPUNodePool) {
	return func(p *v1alpha1.GPUNodePool) { p.Spec.Replicas = &n }
}

// ready is a world with a Ready pool of n nodes.
func readyWorld(t *testing.T, n int32) *world {
	t.Helper()
	w := newWorld(t)
	p := gpuPool(subject, t4)
	scaledTo(n)(p)
	w.create(p)
	w.drive(&life{}, []string{subject}, w.ready(subject))
	return w
}

// TestShrink: of three nodes, the busy one that the scale set would have taken
// stays, and an empty one goes.
func TestShrink(t *testing.T) {
	w := readyWorld(t, 3)
	names := w.nodes()
	w.podOn(names[2], "busy-2")
	w.edit(scaledTo(2))
	w.drive(&life{}, []string{subject}, func() bool { return len(w.nodes()) == 2 && w.ready(subject)() })
	if got := w.nodes(); !slices.Equal(got, []string{names[0], names[2]}) {
		t.Errorf("left %v of %v, want the empty one of the newest to be gone", got, names)
	}
	w.drive(&life{}, []string{subject}, func() bool { return len(w.get(subject).Status.Removing) == 0 })
	if c := w.arm.Counts(); c["REMOVE"] != 1 || c["PUT"] != 1 {
		t.Errorf("requests %v: want one removal of a machine and no PUT but the create", c)
	}
	if w.node(names[0]).Spec.Unschedulable || w.node(names[2]).Spec.Unschedulable {
		t.Error("a node that stays is cordoned")
	}
}

// TestShrinkWaits: while every node is busy none goes, and the pool says so and
// stays Ready.
func TestShrinkWaits(t *testing.T) {
	w := readyWorld(t, 2)
	names := w.nodes()
	w.podOn(names[0], "busy-0")
	last := w.podOn(names[1], "busy-1")
	w.edit(scaledTo(1))
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonNodesInUse))
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonNodesInUse, "1 node more than wanted")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "")
	w.arm.Advance(100 * time.Hour)
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonNodesInUse))
	if err := w.kube.Delete(w.ctx, last); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{subject}, func() bool { return len(w.nodes()) == 1 && len(w.get(subject).Status.Removing) == 0 })
	if got := w.nodes(); got[0] != names[0] {
		t.Errorf("left %v", got)
	}
	if c := w.condition(subject, v1alpha1.ConditionDeletionBlocked); c.Status != "" {
		t.Errorf("DeletionBlocked stays: %+v", c)
	}
}

// TestShrinkToNone: where every node goes, the count alone says it.
func TestShrinkToNone(t *testing.T) {
	w := readyWorld(t, 2)
	w.edit(scaledTo(0))
	w.drive(&life{}, []string{subject}, func() bool { return len(w.nodes()) == 0 && w.ready(subject)() })
	if c := w.arm.Counts(); c["REMOVE"] != 0 || c["PUT"] != 2 {
		t.Errorf("requests %v", c)
	}
	if p := w.arm.Pools(); len(p) != 1 || p[0].Count != 0 || w.get(subject).Status.USDPerHour != "0.5" {
		t.Errorf("pool %+v at %s", p, w.get(subject).Status.USDPerHour)
	}
}

// TestShrinkTakesTheAbsent: a machine that never joined runs nothing and is paid
// for: it goes before any that joined.
func TestShrinkTakesTheAbsent(t *testing.T) {
	w := readyWorld(t, 2)
	names := w.nodes()
	w.arm.NodesJoin(false)
	w.edit(scaledTo(3))
	w.drive(&life{}, []string{subject}, func() bool { return w.arm.Pools()[0].Count == 3 && w.arm.Pools()[0].State == "Succeeded" })
	w.edit(scaledTo(2))
	w.drive(&life{}, []string{subject}, func() bool { return w.arm.Pools()[0].Count == 2 && w.ready(subject)() })
	if got := w.nodes(); !slices.Equal(got, names) || !slices.Equal(w.arm.Pools()[0].Machines, names) {
		t.Errorf("nodes %v, machines %v, want %v", got, w.arm.Pools()[0].Machines, names)
	}
}

// TestShrinkTakenBack: the spec wants the node after all, before it went.
func TestShrinkTakenBack(t *testing.T) {
	w := readyWorld(t, 2)
	cordoned := func() bool {
		return slices.ContainsFunc(w.nodes(), func(n string) bool { return w.node(n).Spec.Unschedulable })
	}
	w.edit(scaledTo(1))
	w.drive(&life{}, []string{subject}, cordoned)
	w.edit(scaledTo(2))
	w.drive(&life{}, []string{subject}, func() bool { return !cordoned() && w.ready(subject)() })
	if c := w.arm.Counts(); c["REMOVE"] != 0 || c["PUT"] != 1 {
		t.Errorf("requests %v", c)
	}
}

// TestForeignPodMeanwhile: a pod that was bound while the nodes were cordoned
// stops the delete, and the nodes are given back.
func TestForeignPodMeanwhile(t *testing.T) {
	w := readyWorld(t, 2)
	names := w.nodes()
	w.delete()
	w.drive(&life{}, []string{subject}, func() bool { return w.node(names[0]).Spec.Unschedulable })
	if w.node(names[1]).Annotations[repolayout.AnnotationCordonedFor] != "uid-p" || w.arm.Counts()["DELETE"] != 0 {
		t.Fatalf("want every node cordoned before anything is deleted: %v", w.arm.Counts())
	}
	w.podOn(names[0], "foreign-late")
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonForeignPods))
	if w.node(names[0]).Spec.Unschedulable || w.node(names[1]).Spec.Unschedulable || w.arm.Counts()["DELETE"] != 0 {
		t.Error("blocked, and the nodes stay cordoned or were deleted")
	}
}

// TestForce: the UID of the very object lets the nodes go with what runs on them;
// any other value does not, and ownership is asked for all the same.
func TestForce(t *testing.T) {
	w := readyWorld(t, 1)
	w.podOn(w.nodes()[0], "stranger")
	annotate := func(value string) {
		p := w.get(subject)
		p.Annotations = map[string]string{repolayout.AnnotationForceDelete: value}
		if err := w.kube.Update(w.ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	w.delete()
	annotate("uid-of-another")
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonForeignPods))
	name := w.get(subject).Status.PoolName
	w.arm.SetTag(name, "espalier-installation", "another")
	annotate("uid-p")
	w.drive(&life{}, []string{subject}, w.phase(v1alpha1.PhaseLost))
	if w.arm.Counts()["DELETE"] != 0 {
		t.Fatal("force went over ownership")
	}
	w.arm.SetTag(name, "espalier-installation", installation)
	w.drive(&life{}, []string{subject}, w.gone())
	if len(w.arm.Pools()) != 0 {
		t.Errorf("left %+v", w.arm.Pools())
	}
}

// TestInUse: a pool that Workspaces name stays while they want it.
func TestInUse(t *testing.T) {
	w := readyWorld(t, 1)
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "phi"}}
	ws.Spec.Resource.NodePool = subject
	w.create(ws)
	other := ws.DeepCopy()
	other.Namespace, other.ResourceVersion = "team-b", ""
	w.create(other)
	w.delete()
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonInUse))
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonInUse, "team-a/phi; delete, move or suspend")
	ws.Spec.Suspend = true
	if err := w.kube.Update(w.ctx, ws); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{subject}, w.gone())
}

// TestMassDeletion: a fleet that goes at once waits for a person, and for no
// clock; what the person approved goes, and what is deleted later asks again.
func TestMassDeletion(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 6 {
		names = append(names, fmt.Sprintf("p%d", i))
		w.create(gpuPool(names[i], t4))
	}
	w.drive(&life{}, names, func() bool { return !slices.ContainsFunc(names, func(n string) bool { return !w.ready(n)() }) })
	remove := func(some ...string) {
		for _, n := range some {
			if err := w.kube.Delete(w.ctx, w.get(n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := func(n string) bool {
		return w.get(n) != nil && w.condition(n, v1alpha1.ConditionDeletionBlocked).Reason == pool.ReasonMassDeletion
	}
	remove(names[:4]...)
	w.drive(&life{}, names, func() bool { return held("p0") && held("p1") && held("p2") && held("p3") })
	w.arm.Advance(100 * time.Hour)
	user := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "phi"}}
	user.Spec.Resource.NodePool = "p0" // who comes to name a held pool, and leaves again, approves nothing
	w.create(user)
	r, _ := w.controller(&life{})
	for _, n := range names {
		w.once(r, n)
	}
	if !held("p0") {
		t.Error("a Workspace that names a held pool made the breaker forget")
	}
	if err := w.kube.Delete(w.ctx, user); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		w.once(r, n)
	}
	if w.arm.Counts()["DELETE"] != 0 {
		t.Fatal("time, or a Workspace that came and went, let a fleet go")
	}
	message := w.condition("p0", v1alpha1.ConditionDeletionBlocked).Message
	_, approval, found := strings.Cut(message, repolayout.AnnotationApproveDeletion+"=")
	if !found {
		t.Fatalf("the message does not say how to approve: %s", message)
	}
	for _, n := range names { // as --all does
		p := w.get(n)
		p.Annotations = map[string]string{repolayout.AnnotationApproveDeletion: approval}
		if err := w.kube.Update(w.ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	w.drive(&life{}, names, func() bool { return len(w.arm.Pools()) == 2 })
	if w.get("p4") == nil || w.get("p5") == nil {
		t.Error("a pool that nobody deleted is gone")
	}
}

// TestBackgroundOperation: while AKS updates the cluster for itself, nothing is
// tried blindly, and ETags that changed by it are read again.
func TestBackgroundOperation(t *testing.T) {
	w := newWorldOf(t, fakearm.Options{Background: 90 * time.Second, Limits: true})
	names := []string{"p", "q"}
	for _, n := range names {
		w.create(gpuPool(n, t4))
	}
	w.drive(&life{}, names, func() bool { return w.ready("p")() && w.ready("q")() })
	if n := w.arm.Counts()["PUT"]; n > 10 {
		t.Errorf("%d PUTs for two pools", n)
	}
}
