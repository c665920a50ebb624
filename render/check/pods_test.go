// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSamePods: the pods are there before Karpenter makes a node, which may be of any
// candidate that they admit.
func TestSamePods(t *testing.T) {
	const t4, a100, h100 = "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4", "Standard_NC40ads_H100_v5"
	for name, c := range map[string]struct {
		reason  string
		pool    []string
		used    []string
		refused bool
		code    bool // PodsDiffer is among the findings
	}{
		"Alike":     {"Both compute in bfloat16 with one GPU.", []string{a100, h100}, []string{a100, h100}, false, false},
		"OtherType": {"A T4 has no bfloat16: other pods, kept off it.", []string{a100, t4}, []string{a100}, false, true},
		"FirstOut":  {"Nodes are made of the first while it can be had: a task that cannot use it would wait for ever.", []string{"Standard_NV6ads_A10_v5", a100}, []string{a100}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "w"}}
			w.Spec.Resource.NodePool = "filled"
			w.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}}
			p := &v1alpha1.GPUNodePoolSpec{
				Provider: v1alpha1.ProviderKarpenter, Karpenter: &v1alpha1.KarpenterSpec{Mode: v1alpha1.KarpenterNodePools, MaxNodes: 4},
			}
			for _, i := range c.pool {
				p.Candidates = append(p.Candidates, v1alpha1.Candidate{InstanceType: i})
			}
			a := check.Workspace(w, check.Facts{Pool: p}, nil)
			var used []string
			for _, u := range a.Usable() {
				used = append(used, u.InstanceType)
			}
			code := slices.ContainsFunc(a.Findings, func(f v1alpha1.Finding) bool { return f.Code == check.PodsDiffer })
			if !slices.Equal(used, c.used) || a.Refused() != c.refused || code != c.code {
				t.Errorf("%s\nused %v, refused %t, PodsDiffer %t: %v", c.reason, used, a.Refused(), code, a.Findings)
			}
		})
	}
}
