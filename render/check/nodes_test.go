// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestFallbackBuysNoOtherNumber: a pool has one number of nodes, so a candidate
// that needs another is not used: eight nodes of one GPU must not become eight
// nodes of eight.
func TestFallbackBuysNoOtherNumber(t *testing.T) {
	w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "wide"}}
	w.Spec.Resource.Candidates = []v1alpha1.Candidate{
		{InstanceType: "Standard_NC24ads_A100_v4"},
		{InstanceType: "Standard_ND96isr_H100_v5"},
		{InstanceType: "Standard_NC40ads_H100_v5"},
	}
	w.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}, Replicas: ptr.To[int32](8)}
	a := check.Workspace(w, check.Facts{}, nil)
	if a.Refused() {
		t.Fatalf("refused: %v", a.Findings)
	}
	var used []string
	for _, c := range a.Usable() {
		used = append(used, c.InstanceType)
		if c.Nodes != a.Usable()[0].Nodes {
			t.Errorf("%s needs %d nodes, the first %d", c.InstanceType, c.Nodes, a.Usable()[0].Nodes)
		}
	}
	if len(used) != 2 {
		t.Errorf("used %v, want the two sizes of one GPU", used)
	}
	said := false
	for _, f := range a.Findings {
		said = said || f.Code == check.NodesDiffer && f.Severity == "warning"
	}
	if !said {
		t.Errorf("the candidate that is left out must be a warning: %v", a.Findings)
	}
}

// TestSeveralNodes: nobody who wrote a small size gets several of them unasked,
// and who asks for too few is told.
func TestSeveralNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, preset, instance string
		count, nodes             int32
		code, says               string
	}{
		"Unasked": {reason: "the refusal says how many would do", preset: "phi-4", instance: "Standard_NC4as_T4_v3", code: check.DoesNotFit, says: "3 of them work as one"},
		"TooFew":  {reason: "two are not enough", preset: "phi-4", instance: "Standard_NC4as_T4_v3", count: 2, code: check.NodesUnsupported, says: "one copy takes 3 nodes"},
		"Asked":   {reason: "three are", preset: "phi-4", instance: "Standard_NC4as_T4_v3", count: 3, nodes: 3},
		"Large":   {reason: "there is no larger machine of the kind", preset: "deepseek-r1-0528", instance: "Standard_ND96isr_H100_v5", nodes: 2},
		"NoPipelines": {
			reason: "vLLM cannot spread the architecture", preset: "nvidia-nemotron-nano-12b-v2-vl-bf16", instance: "Standard_NC4as_T4_v3", count: 4,
			code: check.DoesNotFit, says: "GiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "w"}}
			w.Spec.Resource = v1alpha1.ResourceSpec{InstanceType: tc.instance, Count: tc.count}
			w.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: tc.preset}}
			a := check.Workspace(w, check.Facts{}, nil)
			if tc.code == "" {
				if a.Refused() || int32(a.Usable()[0].CopyNodes) != tc.nodes {
					t.Errorf("%s: %v", tc.reason, a.Findings)
				}
				return
			}
			for _, f := range a.Findings {
				if f.Code == tc.code && strings.Contains(f.Message, tc.says) {
					return
				}
			}
			t.Errorf("%s: %v", tc.reason, a.Findings)
		})
	}
}
