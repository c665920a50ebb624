// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// filled declares a pool that Karpenter fills.
func filled(t *testing.T, s *harness.Stand, ns string, instances ...string) *v1alpha1.GPUNodePool {
	t.Helper()
	p := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "filled"}}
	p.Spec.Provider = v1alpha1.ProviderKarpenter
	p.Spec.Karpenter = &v1alpha1.KarpenterSpec{
		Mode: v1alpha1.KarpenterNodePools, MaxNodes: 2, ConsolidateAfter: &metav1.Duration{Duration: 2 * time.Second},
	}
	for _, i := range instances {
		p.Spec.Candidates = append(p.Spec.Candidates, v1alpha1.Candidate{InstanceType: i})
	}
	if err := s.Client.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestFilled: a pool without a node is Ready, the pods of a Workspace bring one, of the
// second candidate where Karpenter can have none of the first, and it goes when they do.
func TestFilled(t *testing.T) {
	s := theStand(t)
	namespace(t, s, "filled")
	p := filled(t, s, "filled", a100, h100, t4)
	if err := harness.Until(patient(t), s, p, "Ready without a node", usable(0)); err != nil {
		t.Fatal(err)
	}
	w := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Namespace: "filled", Name: "qwen"},
		Spec: v1alpha1.WorkspaceSpec{
			Resource:  v1alpha1.ResourceSpec{NodePool: "filled"},
			Inference: &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}},
		},
	}
	if err := s.Client.Create(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), s, w, "Ready", func(w *v1alpha1.Workspace) bool { return condition.Is(w, v1alpha1.ConditionReady) }); err != nil {
		t.Fatal(err)
	}
	err := harness.Until(patient(t), s, p, "with a node of the second candidate", func(p *v1alpha1.GPUNodePool) bool {
		c := condition.Get(p, v1alpha1.ConditionCapacityNotFound)
		return usable(1)(p) && p.Status.Candidate.InstanceType == h100 && p.Status.USDPerHour != "0" && c != nil && strings.Contains(c.Message, a100)
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "NodePool", string(p.UID))); n != 3 {
		t.Errorf("%d NodePools, want one a candidate", n)
	}
	t.Log(condition.Get(p, v1alpha1.ConditionCapacityNotFound).Message)
	t.Log(condition.Get(p, v1alpha1.ConditionReady).Message)
	if err := s.Client.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), s, p, "without nodes", usable(0)); err != nil {
		t.Fatal(err)
	}
	held(t, s, p)
	if err := s.Client.Delete(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), s, p); err != nil {
		t.Fatal(err)
	}
	if n := len(objects(t, s, "NodePool", string(p.UID))) + len(objects(t, s, "NodeClaim", string(p.UID))); n > 0 {
		t.Errorf("%d objects are left over", n)
	}
	gone(t, s, string(p.UID))
}

// held sets a limit by hand: it is not taken over by force, and said.
func held(t *testing.T, s *harness.Stand, p *v1alpha1.GPUNodePool) {
	t.Helper()
	set := func(owner client.FieldOwner, change func(*unstructured.Unstructured)) {
		t.Helper()
		for _, n := range objects(t, s, "NodePool", string(p.UID)) {
			if value, _, _ := unstructured.NestedInt64(n.Object, "spec", "weight"); value != 98 {
				continue
			}
			change(&n)
			if err := s.Client.Update(context.Background(), &n, owner); err != nil {
				t.Fatal(err)
			}
		}
	}
	set("somebody", func(n *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(n.Object, "9", "spec", "limits", "nvidia.com/gpu")
	})
	err := harness.Until(patient(t), s, p, "told of the change by hand", func(p *v1alpha1.GPUNodePool) bool {
		c := condition.Get(p, v1alpha1.ConditionReady)
		return strings.Contains(c.Message, "limits") || drifted(p)
	})
	if err != nil {
		t.Fatal(err)
	}
	set("somebody", func(n *unstructured.Unstructured) {
		_ = unstructured.SetNestedField(n.Object, "0", "spec", "limits", "nvidia.com/gpu")
	})
	err = harness.Until(patient(t), s, p, "content again", func(p *v1alpha1.GPUNodePool) bool {
		return condition.Is(p, v1alpha1.ConditionReady) && !drifted(p)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func drifted(p *v1alpha1.GPUNodePool) bool {
	c := condition.Get(p, v1alpha1.ConditionDrifted)
	return c != nil && strings.Contains(c.Message, "limits")
}
