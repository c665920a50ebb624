// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

func TestExisting(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", t4)
	p.Spec.Provider, p.Spec.NodeLabels = v1alpha1.ProviderExisting, map[string]string{"gpu": "yes"}
	w.create(p)
	r, _ := w.controller(&life{})
	if res := w.once(r, "p"); res.RequeueAfter != 0 {
		t.Errorf("nodes that exist are polled every %s", res.RequeueAfter)
	}
	w.want(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonWaitingForNodes, "0 of 1 node")
	if got := *w.get("p").Status.GPUs; got != (v1alpha1.GPUCount{Expected: 1, Missing: 1}) {
		t.Errorf("GPUs are %+v, want the one to be missing", got)
	}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"gpu": "yes"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	fakearm.SetGPUs(n, 1)
	w.create(n)
	want := []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: "p"}}}
	if got := r.poolsOf(w.ctx, n); !slices.Equal(got, want) {
		t.Errorf("the node wakes %v", got)
	}
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node with 1 GPU")
	w.delete()
	w.once(r, "p")
	if w.get("p") != nil || w.arm.Counts()["LIST"] != 0 {
		t.Errorf("want the object gone and no cloud asked: %v", w.arm.Counts())
	}
}

// TestExistingOccupied: what others hold of a node is not promised, and is looked for
// again until it is free.
func TestExistingOccupied(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", a100)
	p.Spec.Provider, p.Spec.NodeLabels = v1alpha1.ProviderExisting, map[string]string{"gpu": "yes"}
	w.create(p)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"gpu": "yes", "nvidia.com/gpu.count": "8"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	fakearm.SetGPUs(n, 8)
	w.create(n)
	hold := func(name, workspace string, gpus int64) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, Labels: map[string]string{repolayout.LabelWorkspace: workspace}}}
		pod.Spec.NodeName, pod.Status.Phase = "n1", corev1.PodRunning
		pod.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{pool.ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}}}}
		w.create(pod)
		return pod
	}
	seven, one := hold("seven", "", 7), hold("one", "", 1)
	r, _ := w.controller(&life{})
	if res := w.once(r, "p"); res.RequeueAfter != time.Minute {
		t.Errorf("looks again in %s: no node tells when a pod goes", res.RequeueAfter)
	}
	w.want(v1alpha1.ConditionReady, metav1.ConditionFalse, pool.ReasonGPUsNotReady, "the others are held by team-a/one (1), team-a/seven (7)")
	stranger := seven.DeepCopy()
	stranger.Namespace, stranger.ResourceVersion = "team-b", ""
	w.create(stranger)
	r.Deps.NamesWithin = true
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionFalse, pool.ReasonGPUsNotReady, "the others are held by pods of other namespaces (7), team-a/one (1), team-a/seven (7)")
	if err := w.kube.Delete(w.ctx, stranger); err != nil {
		t.Fatal(err)
	}
	if err := w.kube.Delete(w.ctx, one); err != nil {
		t.Fatal(err)
	}
	if res := w.once(r, "p"); res.RequeueAfter != 0 {
		t.Errorf("looks again in %s", res.RequeueAfter)
	}
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
	if got := *w.get("p").Status.GPUs; got != (v1alpha1.GPUCount{Expected: 1, Allocatable: 1, Held: 7}) {
		t.Errorf("GPUs are %+v, want 1 free of 8", got)
	}
	w.use("a", true) // whose pods are what the pool is for
	hold("ours", "a", 1)
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
	w.use("a", false)
	w.once(r, "p")
	w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodesMissing, "node n1 has 0 of its 8 GPUs free")
	if err := w.kube.Delete(w.ctx, seven); err != nil {
		t.Fatal(err)
	}
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
}

// TestExistingSlices: of a node whose GPUs are cut into slices of several sizes, those
// of the pool's size count, and a change of them is seen.
func TestExistingSlices(t *testing.T) {
	const slices = corev1.ResourceName("nvidia.com/mig-2g.24gb")
	w := newWorld(t)
	p := gpuPool("p", a100)
	p.Spec.Provider, p.Spec.NodeLabels = v1alpha1.ProviderExisting, map[string]string{"gpu": "yes"}
	p.Spec.Existing = &v1alpha1.ExistingSpec{MIG: "2g.24gb", GPUs: 2}
	w.create(p)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"gpu": "yes"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{slices: resource.MustParse("3"), "nvidia.com/mig-1g.12gb": resource.MustParse("1")}
	n.Status.Capacity = n.Status.Allocatable.DeepCopy()
	w.create(n)
	r, _ := w.controller(&life{})
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team-b", Name: "x"}}
	pod.Spec.NodeName, pod.Status.Phase = "n1", corev1.PodRunning
	pod.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{slices: resource.MustParse("2")}}}}
	w.create(pod)
	w.once(r, "p")
	w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodesMissing, "node n1 has 1 of its 3 slices of 2g.24gb free, and the Workspace takes 2: the others are held by team-b/x (2)")
	cut := n.DeepCopy()
	cut.Status.Allocatable[slices] = resource.MustParse("2")
	if !nodeChanged().Update(event.UpdateEvent{ObjectOld: n, ObjectNew: cut}) {
		t.Error("nobody sees that a slice is gone")
	}
}
