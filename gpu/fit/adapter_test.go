// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAdaptersOverGPUs: vLLM divides one half of an adapter among the GPUs that share a
// layer and keeps the other whole on each, unless it is told to divide both.
func TestAdaptersOverGPUs(t *testing.T) {
	const perWidth = 32 * 64 * 80 * 2 // adapters, rank, layers, bytes
	for name, c := range map[string]struct {
		reason   string
		model    string
		instance string
		kvHeads  int // in place of the model's
		serving  fit.Serving
		want     v1alpha1.Verdict
		adapter  int64
	}{
		"Halves": {
			reason: "q, k, v, gate and up keep their input side whole, o and down their output side",
			model:  "llama-3.3-70b-instruct", instance: "Standard_ND96asr_v4", serving: fit.Serving{Adapters: 32, AdapterRank: 64, TensorParallel: 8, Nodes: 1},
			want: v1alpha1.No, adapter: perWidth * (8192 + 1024 + 2*(8192+128) + 2*(8192+3584) + 1024 + 8192 + 3584 + 8192),
		},
		"FullySharded": {
			reason: "fully-sharded-loras divides both sides",
			model:  "llama-3.3-70b-instruct", instance: "Standard_ND96asr_v4",
			serving: fit.Serving{Adapters: 32, AdapterRank: 64, ShardedAdapters: true, Nodes: 1},
			want:    v1alpha1.Fits, adapter: perWidth * (2*(8192+8192) + 2*(8192+1024) + 3*(8192+28672)) / 8,
		},
		"OneGPU": {
			reason: "on one GPU there is nothing to divide",
			model:  "llama-3.1-8b-instruct", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Adapters: 4, AdapterRank: 64},
			want: v1alpha1.Fits, adapter: 4 * 64 * 32 * 2 * (2*(4096+4096) + 2*(4096+1024) + 3*(4096+14336)),
		},
		"FewKeys": {
			reason: "with fewer heads of keys and values than GPUs each GPU has a whole one",
			model:  "qwen2.5-coder-7b-instruct", instance: "Standard_NC64as_T4_v3", kvHeads: 2,
			serving: fit.Serving{Adapters: 1, AdapterRank: 8, TensorParallel: 4, Nodes: 1},
			want:    v1alpha1.Fits, adapter: 8 * 28 * 2 * (3584 + 3584/4 + 2*(3584+128) + 2*(3584+18944/4) + 3584/4 + 3584 + 18944/4 + 3584),
		},
		"Fused": {
			reason: "one matrix for q, k and v has one input side",
			model:  "phi-4", instance: "Standard_NC48ads_A100_v4", serving: fit.Serving{Adapters: 2, AdapterRank: 16, TensorParallel: 2, Nodes: 1},
			want: v1alpha1.Fits, adapter: 2 * 16 * 40 * 2 * (5120 + (5120+2*1280)/2 + 5120/2 + 5120 + 5120 + 17920 + 17920/2 + 5120),
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := model(t, c.model)
			if c.kvHeads > 0 {
				m.KVHeads = c.kvHeads
			}
			r := fit.Serve(m, instance(t, c.instance), c.serving)
			if r.Verdict != c.want || r.PerGPU.Adapter != c.adapter {
				t.Errorf("%s: %s with adapters of %d bytes, want %s with %d\nTP %d: %s %v",
					c.reason, r.Verdict, r.PerGPU.Adapter, c.want, c.adapter, r.TensorParallel, r.Sum(), r.Reasons)
			}
		})
	}
}

// TestAdaptersNotKnown: where a part of what adapters take is not known, nothing is said to
// fit, and what is known is counted.
func TestAdaptersNotKnown(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		model    string
		instance string
		serving  fit.Serving
		want     v1alpha1.Verdict
		says     string
	}{
		"Experts": {
			reason: "every expert takes some, and the catalogue does not have their number",
			model:  "gpt-oss-120b", instance: "Standard_NC80adis_H100_v5", serving: fit.Serving{Adapters: 2},
			want: v1alpha1.Tight, says: "how many experts gpt-oss-120b has",
		},
		"Width": {
			reason: "no source gives the width of its layers",
			model:  "ministral-3-8b-instruct", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Adapters: 8},
			want: v1alpha1.Tight, says: "how wide the layers of ministral-3-8b-instruct are",
		},
		"States": {
			reason: "layers of another kind have matrices of another kind",
			model:  "nvidia-nemotron-nano-9b-v2", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Adapters: 1},
			want: v1alpha1.Tight, says: "is not known here",
		},
		"Merged": {
			reason: "it is not known without vLLM either",
			model:  "ministral-3-8b-instruct", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Adapters: 2, Unpaged: true},
			want: v1alpha1.Tight, says: "how wide the layers of ministral-3-8b-instruct are",
		},
		"TooLarge": {
			reason: "what does not fit without the adapters does not with them",
			model:  "gpt-oss-120b", instance: "Standard_NV36ads_A10_v5", serving: fit.Serving{Adapters: 2, Nodes: 1},
			want: v1alpha1.No, says: "without any cache",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, i := model(t, c.model), instance(t, c.instance)
			r := fit.Serve(m, i, c.serving)
			code := fit.CodeNotModelled
			if c.want == v1alpha1.No {
				code = fit.CodeWeights
			}
			check(t, c.reason, r, c.want, code, c.says)
			if r.PerGPU.Adapter == 0 {
				t.Errorf("%s: adapters of 0 bytes: %s", c.reason, r.Sum())
			}
			c.serving.Adapters = 0
			if r := fit.Serve(m, i, c.serving); r.Verdict != v1alpha1.No && r.Verdict != v1alpha1.Fits {
				t.Errorf("%s: without adapters %s %v", c.reason, r.Verdict, r.Reasons)
			}
		})
	}
}
