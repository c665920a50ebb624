// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func served(t *testing.T, resource string, inference string, options render.Options, facts check.Facts) render.Output {
	t.Helper()
	in := render.Input{Options: options, Workspace: workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n  resource: "+resource+"\n  inference: "+inference+"\n")}
	assess(t, &in, facts)
	out, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestRollout: the strategy says whether there is downtime.
func TestRollout(t *testing.T) {
	existing := options
	existing.Provider = v1alpha1.ProviderExisting
	shared := check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Provider: v1alpha1.ProviderAKS, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC48ads_A100_v4"}}}}
	for name, tc := range map[string]struct {
		reason, resource, inference string
		options                     render.Options
		facts                       check.Facts
		surge, unavailable          int64
	}{
		"OneOfOne":    {"no GPU is left for the next copy", "{instanceType: Standard_NC24ads_A100_v4}", "{preset: phi-4-mini-instruct}", options, check.Facts{}, 0, 1},
		"OneOfTwo":    {"the second GPU takes the next copy", "{instanceType: Standard_NC48ads_A100_v4}", "{preset: phi-4-mini-instruct}", options, check.Facts{}, 1, 0},
		"TwoOfTwo":    {"copies go one after the other, and the other one answers", "{instanceType: Standard_NC48ads_A100_v4}", "{preset: phi-4-mini-instruct, replicas: 2}", options, check.Facts{}, 0, 1},
		"ThreeOfFour": {"the fourth GPU is on the second node", "{instanceType: Standard_NC48ads_A100_v4}", "{preset: phi-4-mini-instruct, replicas: 3}", options, check.Facts{}, 1, 0},
		"Counted":     {"a node that was asked for has room", "{instanceType: Standard_NC24ads_A100_v4, count: 2}", "{preset: phi-4-mini-instruct}", options, check.Facts{}, 1, 0},
		"Shared":      {"others use the GPUs of a shared pool", "{nodePool: shared}", "{preset: phi-4-mini-instruct}", options, shared, 0, 1},
		"Existing":    {"and of nodes that exist", "{instanceType: Standard_NC48ads_A100_v4}", "{preset: phi-4-mini-instruct}", existing, check.Facts{}, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			out := served(t, tc.resource, tc.inference, tc.options, tc.facts)
			got, _, _ := unstructured.NestedFieldNoCopy(out.Workload.Object, "spec", "strategy", "rollingUpdate")
			want := map[string]any{"maxSurge": tc.surge, "maxUnavailable": tc.unavailable}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s: %v, want %v", tc.reason, got, want)
			}
		})
	}
}

// TestSeveralNodes: a large machine is joined by others unasked, a small one only
// where count asks for them.
func TestSeveralNodes(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, resource, inference string
		kind                        string
		copies, pods, nodes         int64
	}{
		"Large":   {"one machine is not enough", "{instanceType: Standard_ND96isr_H100_v5}", "{preset: deepseek-ai/DeepSeek-R1-0528}", "StatefulSet", 1, 2, 2},
		"Copies":  {"each copy has nodes of its own", "{instanceType: Standard_ND96isr_H100_v5}", "{preset: deepseek-ai/DeepSeek-R1-0528, replicas: 3}", "StatefulSet", 3, 2, 6},
		"Counted": {"count asks for small ones to work as one", "{instanceType: Standard_NC4as_T4_v3, count: 3}", "{preset: phi-4}", "StatefulSet", 1, 3, 3},
		"Fits":    {"one is enough", "{instanceType: Standard_ND96isr_H200_v5}", "{preset: deepseek-ai/DeepSeek-R1-0528}", "Deployment", 1, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			out := served(t, tc.resource, tc.inference, options, check.Facts{})
			pods, _, _ := unstructured.NestedInt64(out.Workload.Object, "spec", "replicas")
			nodes, _, _ := unstructured.NestedInt64(out.Pool.Object, "spec", "replicas")
			copies := int64(len(out.Copies) + 1)
			if out.Workload.GetKind() != tc.kind || copies != tc.copies || pods != tc.pods || nodes != tc.nodes {
				t.Errorf("%s: %d %s of %d pods on %d nodes", tc.reason, copies, out.Workload.GetKind(), pods, nodes)
			}
		})
	}
}

// TestHelperStays: an upgrade of Espalier brings another helper image, and the
// pods that took a program from the one before stay as they are.
func TestHelperStays(t *testing.T) {
	first := served(t, "{instanceType: Standard_ND96isr_H100_v5}", "{preset: deepseek-ai/DeepSeek-R1-0528}", options, check.Facts{})
	upgraded := options
	upgraded.HelperImage = "registry.example.com/espalier:next@sha256:1111111111111111111111111111111111111111111111111111111111111111"
	again := served(t, "{instanceType: Standard_ND96isr_H100_v5}", "{preset: deepseek-ai/DeepSeek-R1-0528}", upgraded, check.Facts{Resolved: &first.Resolved})
	if text(t, first) != text(t, again) || again.Resolved != first.Resolved {
		t.Error("an upgrade of Espalier changed the pods")
	}
}
