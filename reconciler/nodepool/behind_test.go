// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestPoolBehind: what a pass finds to be as the cache has the status from before the last
// write is not left at that.
func TestPoolBehind(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", t4)
	p.Spec.Provider, p.Spec.NodeLabels = v1alpha1.ProviderExisting, map[string]string{"gpu": "yes"}
	w.create(p)
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{"gpu": "yes"}}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	fakearm.SetGPUs(n, 1)
	w.create(n)
	r, _ := w.controller(&life{})
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
	was := w.get("p")
	if err := w.kube.Delete(w.ctx, n); err != nil {
		t.Fatal(err)
	}
	w.remember("n1")
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionFalse, pool.ReasonNodesMissing, "0 of 1 existing node")
	n.ResourceVersion = ""
	w.create(n)
	now := r.Client
	r.Client = frozen{w.kube, was}
	if res := w.once(r, "p"); res.RequeueAfter != behindAgain {
		t.Errorf("it looks again in %s", res.RequeueAfter)
	}
	r.Client = now
	w.once(r, "p")
	w.want(v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonSucceeded, "1 existing node")
}
