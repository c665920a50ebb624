// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func model(t testing.TB, name string) fit.Model {
	t.Helper()
	p, ok := presets.Lookup(name)
	if !ok {
		t.Fatalf("no preset %q", name)
	}
	return p.Model
}

func instance(t testing.TB, name string) sku.Instance {
	t.Helper()
	i, ok := sku.Lookup(name)
	if !ok {
		t.Fatalf("no instance type %q", name)
	}
	return i
}

// TestWhereKAITOIsWrong holds ours to the right answer in each case where
// KAITO's estimator is known to be wrong (reference: its v0.12 catalogue and
// the results of its own code).
func TestWhereKAITOIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		model    string
		instance string
		context  int
		check    func(fit.Report) bool
	}{
		"GPTOSSCountedTwice": {
			reason: "KAITO sums the duplicate weights of gpt-oss-120b and asks for 2 H100 nodes; the weights are 60.8 GiB and one 94 GB H100 serves it",
			model:  "gpt-oss-120b", instance: "Standard_NC40ads_H100_v5",
			check: func(r fit.Report) bool { return r.Nodes == 1 && r.Verdict == v1alpha1.Fits },
		},
		"GPTOSSSmallOnOneA10": {
			reason: "KAITO asks for 2 A10 nodes for gpt-oss-20b; 12.8 GiB of weights leave one of them at worst tight",
			model:  "gpt-oss-20b", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool { return r.Nodes == 1 && r.Works() },
		},
		"LatentCacheIsReplicated": {
			reason: "KAITO divides the MLA cache of DeepSeek by the GPUs; every tensor-parallel rank holds all of it, 70,272 bytes a token",
			model:  "deepseek-v3-0324", instance: "Standard_ND96isr_H200_v5", context: 32768,
			check: func(r fit.Report) bool { return r.TensorParallel == 8 && r.PerGPU.KVCache == 32768*70272 },
		},
		"HeadsAreDivisible": {
			reason: "KAITO spreads the 28 heads of Qwen2.5-Coder-7B over 8 GPUs, which cannot start",
			model:  "qwen2.5-coder-7b-instruct", instance: "g4dn.metal",
			check: func(r fit.Report) bool { return 28%r.TensorParallel == 0 && r.Works() },
		},
		"PipelineSplitsTheCache": {
			reason: "KAITO never divides the cache by nodes, so 131,072 tokens of llama-3.3-70b are \"too small\" on A10; each stage holds its own layers only",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC24ads_A100_v4", context: 131072,
			check: func(r fit.Report) bool { return r.Works() && r.Nodes <= 3 && r.PipelineParallel == r.Nodes },
		},
		"HybridIsNotFullAttention": {
			reason: "KAITO counts all 64 layers of qwen3.6-27b; 16 keep a cache, a quarter",
			model:  "qwen3.6-27b", instance: "Standard_NC24ads_A100_v4", context: 32768,
			check: func(r fit.Report) bool { return r.PerGPU.KVCache == 32768*262144/4 },
		},
		"SlidingWindowIsShort": {
			reason: "KAITO counts every layer of gemma-3-27b in full; 52 of 62 keep 1,024 tokens",
			model:  "gemma-3-27b-instruct", instance: "Standard_NC24ads_A100_v4", context: 131072,
			check: func(r fit.Report) bool { return r.PerGPU.KVCache < 131072*507904/5 },
		},
		"DriverMemoryNotMarketing": {
			reason: "KAITO sums with 24 GiB for an A10; its driver reports 22.5",
			model:  "phi-4-mini-instruct", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool { return r.PerGPU.Budget == 23028<<20*9/10 },
		},
		"AMDIsNotCUDA": {
			reason: "KAITO lists AMD sizes with up to 207 nodes although its image is built for CUDA",
			model:  "phi-4-mini-instruct", instance: "Standard_ND96isr_MI300X_v5",
			check: func(r fit.Report) bool { return r.Verdict == v1alpha1.No && r.Blocked },
		},
		"QwenCoder32OnOneGPU": {
			reason: "KAITO asks for 2 A100-80 nodes for qwen2.5-coder-32b; one works with most of its context",
			model:  "qwen2.5-coder-32b-instruct", instance: "Standard_NC24ads_A100_v4",
			check: func(r fit.Report) bool { return r.Nodes == 1 && r.Works() && r.MaxContext > 30000 },
		},
		"NothingIsUnbounded": {
			reason: "KAITO answers with any number of nodes, 43 A10 for glm-5.2; ours stops at what anybody would run together, and says no",
			model:  "glm-5.2-fp8", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool {
				return r.Verdict == v1alpha1.No && has(r, fit.CodeTooManyNodes) && r.Nodes <= fit.MaxNodes
			},
		},
		"ContextIsSaid": {
			reason: "KAITO sizes for 2,048 tokens and starts with another length; ours says the length that fits",
			model:  "llama-3.1-8b-instruct", instance: "Standard_NV36ads_A10_v5",
			check: func(r fit.Report) bool {
				return r.MaxContext > 20000 && r.MaxContext < 30000 && has(r, fit.CodeContextLimited)
			},
		},
		"T4IsNotRefused": {
			reason: "KAITO refuses compute capability below 8.0; a T4 serves in float16",
			model:  "phi-4-mini-instruct", instance: "Standard_NC4as_T4_v3",
			check: func(r fit.Report) bool { return r.Works() && r.DType == "float16" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit.Serve(model(t, c.model), instance(t, c.instance), fit.Serving{Context: c.context})
			if !c.check(r) {
				t.Errorf("%s:\n%s on %s: %s, %d nodes, TP %d PP %d DP %d, %s\n%v", c.reason, c.model, c.instance, r.Verdict, r.Nodes,
					r.TensorParallel, r.PipelineParallel, r.DataParallel, r.Sum(), r.Reasons)
			}
		})
	}
}

// TestCountIsUsed: KAITO ignores resource.count and freezes its own number of
// nodes at the first write, whatever the context becomes. Ours judges the number
// that is asked for, and every context anew.
func TestCountIsUsed(t *testing.T) {
	m, i := model(t, "llama-3.3-70b-instruct"), instance(t, "Standard_NC24ads_A100_v4")
	for _, n := range []int{1, 2, 3, 4} {
		if r := fit.Serve(m, i, fit.Serving{Nodes: n}); r.Nodes != n {
			t.Errorf("%d nodes are asked for, %d are judged", n, r.Nodes)
		}
	}
	short, long := fit.Serve(m, i, fit.Serving{Context: 2048}), fit.Serve(m, i, fit.Serving{Context: 131072})
	if !short.Works() || !long.Works() || short.Nodes >= long.Nodes {
		t.Errorf("2,048 tokens: %d nodes, 131,072 tokens: %d nodes", short.Nodes, long.Nodes)
	}
}

func has(r fit.Report, code string) bool {
	for _, reason := range r.Reasons {
		if reason.Code == code {
			return true
		}
	}
	return false
}
