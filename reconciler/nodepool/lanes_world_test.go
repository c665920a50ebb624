// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The part of the orchard's Karpenter that makes nodes for pods.

// limit is how many GPUs a NodePool may have.
func limit(n *unstructured.Unstructured) int {
	text, _, _ := unstructured.NestedString(n.Object, "spec", "limits", "nvidia.com/gpu")
	gpus, _ := strconv.Atoi(text)
	return gpus
}

func weight(n *unstructured.Unstructured) int64 {
	v, _, _ := unstructured.NestedInt64(n.Object, "spec", "weight")
	return v
}

// of counts the NodeClaims of a NodePool.
func (w *orchard) of(pool string) int {
	n := 0
	for _, c := range w.list(claimKind) {
		if c.GetLabels()["karpenter.sh/nodepool"] == pool {
			n++
		}
	}
	return n
}

// fill makes NodeClaims for pods without a node, in the heaviest NodePool that has
// room, and takes away what no pod needs.
func (w *orchard) fill() {
	w.t.Helper()
	pools := w.list(poolKind)
	slices.SortFunc(pools, func(a, b unstructured.Unstructured) int { return cmp.Compare(weight(&b), weight(&a)) })
	for i := range pools {
		n := &pools[i]
		filled, _, _ := unstructured.NestedMap(n.Object, "spec", "limits")
		for filled["nvidia.com/gpu"] != nil && n.GetDeletionTimestamp() == nil && len(w.live()) < w.pods && w.of(n.GetName()) < limit(n) && !w.exhausted(n) {
			w.claimFor(n)
		}
	}
	live := w.live()
	for at := len(live) - 1; at >= 0 && at >= w.pods && w.made > 0; at-- {
		c := &unstructured.Unstructured{}
		c.SetGroupVersionKind(claimKind)
		c.SetName(live[at])
		w.must(w.kube.Delete(w.t.Context(), c))
	}
	w.wait(len(live) < w.pods)
}

// exhausted says of a NodePool that its size is sold out, after one NodeClaim has
// found that out.
func (w *orchard) exhausted(n *unstructured.Unstructured) bool {
	template, _, _ := unstructured.NestedMap(n.Object, "spec", "template")
	size := sizeOf(&unstructured.Unstructured{Object: template})
	if !w.soldOut[size] || w.made == 0 {
		return false
	}
	w.event(n, "NoCompatibleInstanceTypes", "NodePool requirements filtered out all compatible available instance types")
	return true
}

func (w *orchard) event(of *unstructured.Unstructured, reason, message string) {
	w.t.Helper()
	err := w.kube.Create(w.t.Context(), &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("%s.%d", of.GetName(), w.now.UnixNano())},
		InvolvedObject: corev1.ObjectReference{Kind: of.GetKind(), Name: of.GetName(), UID: of.GetUID()},
		Type:           "Warning", Reason: reason, Message: message, LastTimestamp: metav1.NewTime(w.now),
	})
	if !apierrors.IsAlreadyExists(err) {
		w.must(err)
	}
}

func (w *orchard) claimFor(n *unstructured.Unstructured) {
	w.t.Helper()
	w.made++
	c := &unstructured.Unstructured{Object: map[string]any{}}
	c.SetGroupVersionKind(claimKind)
	c.SetName(fmt.Sprintf("%s-%05d", n.GetName(), w.made))
	c.SetUID(types.UID("uid-" + c.GetName()))
	labels, _, _ := unstructured.NestedStringMap(n.Object, "spec", "template", "metadata", "labels")
	labels["karpenter.sh/nodepool"] = n.GetName()
	annotations, _, _ := unstructured.NestedStringMap(n.Object, "spec", "template", "metadata", "annotations")
	requirements, _, _ := unstructured.NestedSlice(n.Object, "spec", "template", "spec", "requirements")
	labels[corev1.LabelInstanceTypeStable] = requirements[0].(map[string]any)["values"].([]any)[0].(string)
	c.SetLabels(labels)
	c.SetAnnotations(annotations)
	c.SetCreationTimestamp(metav1.NewTime(w.now))
	w.must(unstructured.SetNestedSlice(c.Object, requirements, "spec", "requirements"))
	w.must(w.kube.Create(w.t.Context(), c))
	w.launch(c)
}

// wait says in a Workspace that names the pool whether one of its pods has no node.
func (w *orchard) wait(waits bool) {
	w.t.Helper()
	user := &v1alpha1.Workspace{}
	if apierrors.IsNotFound(w.kube.Get(w.t.Context(), types.NamespacedName{Namespace: "team-a", Name: "user"}, user)) {
		return
	}
	reason := v1alpha1.ReasonWaitingForPods
	if waits {
		reason = v1alpha1.ReasonWaitingForNodes
	}
	user.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason}}
	w.must(w.kube.Update(w.t.Context(), user))
}

// bounded holds at every moment: all NodePools of a pool together allow no more
// nodes than the spec does, beside those that were there before it was lowered.
func (w *orchard) bounded() {
	w.t.Helper()
	p := w.get()
	if p == nil || !p.Spec.ByKarpenter() {
		return
	}
	sum, there := 0, 0
	for _, n := range w.list(poolKind) {
		there += w.of(n.GetName())
		if n.GetDeletionTimestamp() == nil {
			sum += limit(&n)
		}
	}
	if most := int(p.Spec.Karpenter.MaxNodes); sum > max(most, there) {
		w.t.Fatalf("the NodePools allow %d nodes, where at most %d are wanted", sum, most)
	}
}

// sow declares a pool that Karpenter fills, and who uses it.
func (w *orchard) sow(pods int, change func(*v1alpha1.GPUNodePool), instances ...string) {
	w.t.Helper()
	w.pods = pods
	w.plant(func(p *v1alpha1.GPUNodePool) {
		p.Spec.Karpenter = &v1alpha1.KarpenterSpec{Mode: v1alpha1.KarpenterNodePools, MaxNodes: 3}
		if change != nil {
			change(p)
		}
	}, instances...)
	user := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "user"}}
	user.Spec.Resource.NodePool = subject
	w.must(w.kube.Create(w.t.Context(), user))
}

// leave takes the user away.
func (w *orchard) leave() {
	w.t.Helper()
	w.pods = 0
	w.must(w.kube.Delete(w.t.Context(), &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "user"}}))
}

// grown says that every pod which may has a node, and that the pool has said so.
func (w *orchard) grown() bool {
	p := w.get()
	return w.ready() && len(w.live()) == min(w.pods, int(p.Spec.Karpenter.MaxNodes)) && len(w.list(claimKind)) == len(w.live()) && w.settled()
}

// settled says that every limit is what the pool wants it to be: what is not open
// has as many as it has nodes.
func (w *orchard) settled() bool {
	open, sum := 0, 0
	for _, n := range w.list(poolKind) {
		if limit(&n) > w.of(n.GetName()) {
			open++
		}
		sum += max(limit(&n), w.of(n.GetName())) // none more of what is no longer listed
	}
	return open <= 1 && len(w.list(poolKind)) >= len(w.get().Spec.Candidates) && sum == int(w.get().Spec.Karpenter.MaxNodes)
}

func theRequest() reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: subject}}
}
