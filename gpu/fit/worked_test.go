// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"math"
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestWorkedServing holds Serve to the worked numbers of gpu.md 5.1: cache per
// token exactly, tokens in the cache within 3 % of
// the budget, which is the width of the overhead's range.
func TestWorkedServing(t *testing.T) {
	for name, c := range map[string]struct {
		model, instance string
		kib             float64 // of one token on one GPU
		tokens          float64
	}{
		"Phi3MiniOnA10":       {"phi-3-mini-4k-instruct", "Standard_NV36ads_A10_v5", 384, 31_000},
		"MistralOnA10":        {"mistral-7b", "Standard_NV36ads_A10_v5", 128, 41_000},
		"Llama8OnA10":         {"llama-3.1-8b-instruct", "Standard_NV36ads_A10_v5", 128, 28_000},
		"Llama8OnA100":        {"llama-3.1-8b-instruct", "Standard_NC24ads_A100_v4", 128, 448_000},
		"Phi4OnA100":          {"phi-4", "Standard_NC24ads_A100_v4", 200, 222_000},
		"QwenCoder32OnA100":   {"qwen2.5-coder-32b-instruct", "Standard_NC24ads_A100_v4", 256, 31_000},
		"QwenCoder32OnH100":   {"qwen2.5-coder-32b-instruct", "Standard_NC40ads_H100_v5", 256, 81_000},
		"Llama70OnTwoH100":    {"llama-3.3-70b-instruct", "Standard_NC80adis_H100_v5", 160, 96_000},
		"Llama70OnFourA100":   {"llama-3.3-70b-instruct", "Standard_NC96ads_A100_v4", 80, 472_000},
		"GPTOSS120OnH100":     {"gpt-oss-120b", "Standard_NC40ads_H100_v5", 40.535, 257_600}, // 72 and 145,000, if half of the layers had no window
		"DeepSeekOnEightH200": {"deepseek-v3-0324", "Standard_ND96isr_H200_v5", 68.625, 578_000},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit.Serve(model(t, c.model), instance(t, c.instance), fit.Serving{Nodes: 1})
			left := float64(r.PerGPU.Budget - r.PerGPU.Weights - r.PerGPU.Activation - r.PerGPU.Overhead)
			if kib := left / float64(r.KVTokens) / 1024; math.Abs(kib/c.kib-1) > 0.001 {
				t.Errorf("a token takes %.2f KiB, want %.2f", kib, c.kib)
			}
			off := (float64(r.KVTokens) - c.tokens) * c.kib * 1024 / float64(r.PerGPU.Budget)
			if math.Abs(off) > 0.03 {
				t.Errorf("%d tokens in place of %.0f are %.1f %% of the budget", r.KVTokens, c.tokens, off*100)
			}
			t.Logf("%d tokens, %.0f worked out: %+.1f %% of the budget", r.KVTokens, c.tokens, off*100)
		})
	}
}

// TestWorkedTuning holds Tune to the worked numbers of gpu.md 5.2 (rank 16, all
// matrices, batch 1) within 10 %: its constants were fitted less closely.
func TestWorkedTuning(t *testing.T) {
	for name, want := range map[string][2]float64{ // 2,048 and 8,192 tokens
		"phi-3-mini-128k-instruct":   {5.7, 11.1},
		"mistral-7b":                 {8.3, 14.8},
		"llama-3.1-8b-instruct":      {14.4, 30.1},
		"phi-4":                      {17.6, 31.9},
		"qwen2.5-coder-32b-instruct": {31.8, 53.2},
		"llama-3.3-70b-instruct":     {54.5, 78.2},
	} {
		t.Run(name, func(t *testing.T) {
			for n, length := range []int{2048, 8192} {
				r := fit.Tune(model(t, name), instance(t, "Standard_NC24ads_A100_v4"), fit.Tuning{Method: v1alpha1.QLoRA, SequenceLength: length})
				got := float64(r.PerGPU.Total) / (1 << 30)
				off := got/want[n] - 1
				if math.Abs(off) > 0.10 {
					t.Errorf("%d tokens need %.1f GiB, %.1f %% off %.1f", length, got, off*100, want[n])
				}
				t.Logf("%d tokens: %.1f GiB, %+.1f %%", length, got, off*100)
			}
		})
	}
}
