// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestUnpaged: an engine without pages takes what a request takes, of the whole GPU, and
// lays the layers over the GPUs of one node.
func TestUnpaged(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		model    string
		instance string
		serving  fit.Serving
		check    func(fit.Report) bool
	}{
		"ShortestByDefault": {
			reason: "KAITO counts with 2048 tokens for engines other than vLLM",
			model:  "phi-4", instance: "Standard_NC24ads_A100_v4",
			check: func(r fit.Report) bool {
				return r.Verdict == v1alpha1.Fits && r.Context == 2048 && r.MaxContext == 16384
			},
		},
		"WholeGPU": {
			reason: "nothing is set aside: the budget is what the driver reports",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool {
				return r.PerGPU.Budget == instance(t, "Standard_NV36ads_A10_v5").MemoryBytes() && r.MaxContext > 2048 && r.MaxContext < 131072
			},
		},
		"LayersInARow": {
			reason: "15 GiB do not fit one T4 of 14.6; two hold half of the layers each, and none is divided",
			model:  "llama-3.1-8b-instruct", instance: "Standard_NC64as_T4_v3",
			check: func(r fit.Report) bool {
				return r.TensorParallel == 1 && r.PipelineParallel == 2 && r.Nodes == 1 && r.DType == "float16" && r.Works()
			},
		},
		"GPUsThatAreNamed": {
			reason: "spec.resource.gpus is how many one copy has",
			model:  "phi-4-mini-instruct", instance: "Standard_NC64as_T4_v3", serving: fit.Serving{TensorParallel: 4},
			check: func(r fit.Report) bool { return r.PipelineParallel == 4 && r.GPUs == 4 },
		},
		"OneNode": {
			reason: "the engine has no way over several nodes, which KAITO refuses too",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC24ads_A100_v4",
			check: func(r fit.Report) bool { return r.Verdict == v1alpha1.No && r.Nodes == 1 },
		},
		"PackedOrNot": {
			reason: "12.8 GiB of MXFP4 may be unpacked to bfloat16, which one A10 does not hold",
			model:  "gpt-oss-20b", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool {
				return r.Verdict == v1alpha1.Tight && strings.Contains(r.Reasons[0].Message, "stay packed")
			},
		},
		"Latent": {
			reason: "transformers keeps what vLLM does not of DeepSeek's cache, and the catalogue has no sizes of it",
			model:  "deepseek-v3-0324", instance: "Standard_ND96isr_H200_v5",
			check: func(r fit.Report) bool { return r.Verdict == v1alpha1.Unknown },
		},
		"Merged": {
			reason: "two adapters and what they become, in 32 bit, and the decomposition of the largest matrix",
			model:  "phi-4-mini-instruct", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Adapters: 2, AdapterRank: 64},
			check: func(r fit.Report) bool { return r.PerGPU.Adapter > 3*64*32*2048*4 && r.PerGPU.Activation > 1<<30 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.serving.Unpaged = true
			r := fit.Serve(model(t, c.model), instance(t, c.instance), c.serving)
			if !c.check(r) {
				t.Errorf("%s: %s %s, max %d, %+v", c.reason, r.Verdict, r.Sum(), r.MaxContext, r.Reasons)
			}
		})
	}
}

// TestUnpagedGrows: more tokens never take less, and what is said to be the longest
// request is.
func TestUnpagedGrows(t *testing.T) {
	m, i := model(t, "llama-3.1-8b-instruct"), instance(t, "Standard_NV36ads_A10_v5")
	longest := fit.Serve(m, i, fit.Serving{Unpaged: true}).MaxContext
	before := int64(0)
	for _, n := range []int{512, 2048, int(longest), int(longest) + 64} {
		r := fit.Serve(m, i, fit.Serving{Unpaged: true, Context: n})
		if r.PerGPU.Total <= before {
			t.Errorf("%d tokens take %d bytes, and fewer take %d", n, r.PerGPU.Total, before)
		}
		if fits := r.Verdict == v1alpha1.Fits; fits != (n <= int(longest)) {
			t.Errorf("%d tokens: %s, and the longest is %d", n, r.Verdict, longest)
		}
		before = r.PerGPU.Total
	}
}
