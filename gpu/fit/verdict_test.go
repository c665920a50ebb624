// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// cuda13 demands what an image with CUDA 13 does, cuda12 what one with CUDA 12.9 does.
var (
	cuda13 = fit.Image{Name: "axolotl 0.19.0", MinDriver: 580, MinCapability: sku.Capability{Major: 7, Minor: 5}, Arch: []string{"amd64", "arm64"}}
	cuda12 = fit.Image{Name: "vllm 0.26.0-cu129", MinDriver: 525, MinCapability: sku.Capability{Major: 7}, Arch: []string{"amd64"}}
)

func TestTuneVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		reason          string
		model, instance string
		tuning          fit.Tuning
		want            v1alpha1.Verdict
		code            string // of the first reason
		says            string
	}{
		"PhiOnT4": {
			reason: "3.8 billion parameters in 4 bit fit a T4 in float16",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{Image: cuda13},
			want: v1alpha1.Fits, code: fit.CodeFits, says: "of 15.0 GiB",
		},
		"PhiOnRetiredV100": {
			reason: "the cookbook's instance type: retired, and too old for the image",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC6s_v3", tuning: fit.Tuning{Image: cuda13},
			want: v1alpha1.No, code: fit.CodeRetired,
			says: "Standard_NC6s_v3 was retired by Azure on 2025-09-30: nodes of it can no longer be created",
		},
		"V100TooOld": {
			reason: "CUDA 13 dropped everything below 7.5",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_ND40rs_v2", tuning: fit.Tuning{Image: cuda13},
			want: v1alpha1.No, code: fit.CodeCapability,
			says: "V100 has compute capability 7.0; the image axolotl 0.19.0 needs 7.5 or newer",
		},
		"A10DriverTooOld": {
			reason: "AKS gives A10 the GRID driver 570, which runs no CUDA 13",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NV36ads_A10_v5", tuning: fit.Tuning{Image: cuda13},
			want: v1alpha1.No, code: fit.CodeDriver,
			says: "AKS installs driver 570.211.01 on Standard_NV36ads_A10_v5; the image axolotl 0.19.0 needs branch 580 or newer",
		},
		"A10WithCUDA12": {
			reason: "an image with CUDA 12.9 runs there",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NV36ads_A10_v5", tuning: fit.Tuning{Image: cuda12},
			want: v1alpha1.Fits, code: fit.CodeFits, says: "of 22.5 GiB",
		},
		"ArmNeedsArm": {
			reason: "Grace processors need an arm64 image",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_ND128isr_NDR_GB200_v6", tuning: fit.Tuning{Image: cuda12},
			want: v1alpha1.No, code: fit.CodeArch, says: "arm64 processors",
		},
		"UnknownCount": {
			reason: "a type whose GPUs nobody counted is never chosen",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC24lds_xl_RTXPRO6000BSE_v6", tuning: fit.Tuning{Image: cuda12},
			want: v1alpha1.No, code: fit.CodeNotSchedulable, says: "never chosen",
		},
		"UnknownShape": {
			reason: "no source gives the width of granite's layers",
			model:  "granite-4.1-8b", instance: "Standard_NC24ads_A100_v4",
			want: v1alpha1.Unknown, code: fit.CodeShapeUnknown, says: "intermediate, vocabulary, embeddings",
		},
		"Experts": {
			reason: "no formula here covers mixtures of experts",
			model:  "gpt-oss-120b", instance: "Standard_NC24ads_A100_v4",
			want: v1alpha1.Unknown, code: fit.CodeNotModelled, says: "mixture of experts",
		},
		"BigModelLongSequence": {
			reason: "70b at 8,192 tokens does not fit 80 GiB (gpu.md 5.2)",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC24ads_A100_v4", tuning: fit.Tuning{SequenceLength: 8192},
			want: v1alpha1.No, code: fit.CodeMemory, says: "it has 80.0 GiB",
		},
		"BigModelShortSequence": {
			reason: "70b at 2,048 tokens does",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC24ads_A100_v4",
			want: v1alpha1.Fits, code: fit.CodeFits, says: "of 80.0 GiB",
		},
		"OverTheModel": {
			reason: "a sequence longer than the model was made for",
			model:  "phi-3-mini-4k-instruct", instance: "Standard_NC24ads_A100_v4", tuning: fit.Tuning{SequenceLength: 8192},
			want: v1alpha1.No, code: fit.CodeContextOfModel, says: "8,192 tokens are more than the 4,096",
		},
		"EvaluatedAlike": {
			reason: "an evaluation in steps of the training's size takes nothing beside it",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{EvalBatch: 1},
			want: v1alpha1.Fits, code: fit.CodeFits, says: "logits 1.1 + overhead 1.3 = 5.8 of 15.0 GiB",
		},
		"EvaluatedInBigSteps": {
			reason: "one in larger steps keeps larger logits",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{EvalBatch: 16},
			want: v1alpha1.No, code: fit.CodeMemory, says: "logits 11.7",
		},
		"TasksInSixteenBit": {
			reason: "benchmarks run the model as it is served, which takes more than to tune it in 4 bit",
			model:  "phi-3-mini-128k-instruct", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{EvalBatch: 1, Tasks: true},
			want: v1alpha1.Fits, code: fit.CodeFits, says: "weights 7.1 + adapter 0.1 + KV cache 0.8",
		},
		"TasksTooLarge": {
			reason: "so that a model which can be tuned there may not be measured there",
			model:  "phi-4", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{EvalBatch: 1, Tasks: true},
			want: v1alpha1.No, code: fit.CodeMemory, says: "it has 15.0 GiB: weights 27",
		},
		"WrongTarget": {
			reason: "Phi-3 has fused matrices: a target that is not there is named",
			model:  "phi-3-mini-4k-instruct", instance: "Standard_NC24ads_A100_v4", tuning: fit.Tuning{TargetModules: []string{"q_proj"}},
			want: v1alpha1.Unknown, code: fit.CodeNotModelled, says: `has no matrix "q_proj": down_proj, gate_up_proj, o_proj, qkv_proj`,
		},
		"Gemma3OnT4": {
			reason: "Gemma 3 overflows in float16",
			model:  "gemma-3-4b-instruct", instance: "Standard_NC4as_T4_v3", tuning: fit.Tuning{Image: cuda13},
			want: v1alpha1.No, code: fit.CodeFloat16Refused, says: "overflows in float16",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit.Tune(model(t, c.model), instance(t, c.instance), c.tuning)
			check(t, c.reason, r, c.want, c.code, c.says)
		})
	}
}

func TestServeVerdicts(t *testing.T) {
	for name, c := range map[string]struct {
		reason          string
		model, instance string
		serving         fit.Serving
		want            v1alpha1.Verdict
		code            string
		says            string
	}{
		"PhiOnA100": {
			reason: "a small model on a big GPU has its whole context",
			model:  "phi-4-mini-instruct", instance: "Standard_NC24ads_A100_v4",
			want: v1alpha1.Fits, code: fit.CodeFits, says: "KV cache 16.0 (131,072 tokens)",
		},
		"LlamaOnOneA100": {
			reason: "131 GiB of weights are not in 72",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC24ads_A100_v4", serving: fit.Serving{Nodes: 1},
			want: v1alpha1.No, code: fit.CodeWeights, says: "of a GPU may be used",
		},
		"LlamaOnTwoA100": {
			reason: "16k tokens in two GPUs: tight (gpu.md 5.1)",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC48ads_A100_v4", serving: fit.Serving{Nodes: 1},
			want: v1alpha1.Tight, code: fit.CodeCacheSmall, says: "less than a tenth",
		},
		"LlamaOnFourA100": {
			reason: "four GPUs hold the whole context",
			model:  "llama-3.3-70b-instruct", instance: "Standard_NC96ads_A100_v4", serving: fit.Serving{Nodes: 1},
			want: v1alpha1.Fits, code: fit.CodeFits, says: "131,072 tokens",
		},
		"ContextTooLong": {
			reason: "the model fits, the context does not, and the one that would is said",
			model:  "llama-3.1-8b-instruct", instance: "Standard_NV36ads_A10_v5", serving: fit.Serving{Context: 65536, Nodes: 1},
			want: v1alpha1.No, code: fit.CodeContext, says: "tokens would fit",
		},
		"ExpertsOnH100": {
			reason: "an older vLLM had -2.14 GiB left on an 80 GB H100; as 0.26.0 was measured with gpt-oss-20b there is room, if not much",
			model:  "gpt-oss-120b", instance: "p5.4xlarge", serving: fit.Serving{Nodes: 1},
			want: v1alpha1.Tight, code: fit.CodeMargin, says: "lower end of its range",
		},
		"PartOfAnA10": {
			reason: "what the driver shows of a sixth of an A10 was not seen",
			model:  "phi-4-mini-instruct", instance: "Standard_NV6ads_A10_v5",
			want: v1alpha1.Unknown, code: fit.CodeMemoryUnknown, says: "is not known",
		},
		"FP4OnT4": {
			reason: "MXFP4 kernels start at 8.0",
			model:  "gpt-oss-20b", instance: "Standard_NC4as_T4_v3",
			want: v1alpha1.No, code: fit.CodeQuantization, says: "cannot run mxfp4 weights",
		},
		"NoVLLMOnA10": {
			reason: "the CUDA 13 image does not start on the GRID driver",
			model:  "phi-4-mini-instruct", instance: "Standard_NV36ads_A10_v5", serving: fit.Serving{Image: cuda13},
			want: v1alpha1.No, code: fit.CodeDriver, says: "570.211.01",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit.Serve(model(t, c.model), instance(t, c.instance), c.serving)
			check(t, c.reason, r, c.want, c.code, c.says)
		})
	}
}

func check(t *testing.T, reason string, r fit.Report, want v1alpha1.Verdict, code, says string) {
	t.Helper()
	if r.Verdict != want || len(r.Reasons) == 0 || r.Reasons[0].Code != code {
		t.Errorf("%s: verdict %s, want %s with %s first\nreasons: %v", reason, r.Verdict, want, code, r.Reasons)
	}
	for _, why := range r.Reasons {
		if strings.Contains(why.Message, says) {
			return
		}
	}
	t.Errorf("%s: no reason says %q: %v", reason, says, r.Reasons)
}

func TestSliceOfAGPU(t *testing.T) {
	whole := instance(t, "Standard_NC24ads_A100_v4")
	slice, err := whole.Slice("MIG3g")
	if err != nil {
		t.Fatal(err)
	}
	r := fit.Serve(model(t, "phi-4-mini-instruct"), slice, fit.Serving{})
	if !r.Works() || r.TensorParallel != 1 || r.DataParallel != 2 {
		t.Errorf("phi-4-mini on 2 slices of 39.25 GiB: %s, TP %d, DP %d", r.Verdict, r.TensorParallel, r.DataParallel)
	}
	if r := fit.Serve(model(t, "qwen2.5-coder-32b-instruct"), slice, fit.Serving{}); r.Verdict != v1alpha1.No || r.Nodes != 1 {
		t.Errorf("61 GiB of weights on slices of 39.25 GiB: %s on %d nodes; slices cannot work together", r.Verdict, r.Nodes)
	}
	if _, err := instance(t, "Standard_NC4as_T4_v3").Slice("1g"); err == nil {
		t.Error("a T4 cannot be cut into slices")
	}
}

func TestCheapest(t *testing.T) {
	azure := sku.All()[:43]
	a, ok := fit.CheapestTuning(model(t, "phi-3-mini-128k-instruct"), azure, "eastus", fit.Tuning{Image: cuda13})
	if !ok || a.Instance.Name != "Standard_NC4as_T4_v3" || a.HourlyUSD != 0.526 {
		t.Errorf("cheapest for phi-3-mini: %v %s", ok, a)
	}
	if want := "Standard_NC4as_T4_v3 works: fits with weights"; !strings.HasPrefix(a.String(), want) || !strings.HasSuffix(a.String(), "of 15.0 GiB, $0.526/h") {
		t.Errorf("said %q", a)
	}
	a, ok = fit.CheapestServing(model(t, "llama-3.3-70b-instruct"), azure, "", fit.Serving{Nodes: 1, Image: cuda13})
	if !ok || a.Report.Verdict != v1alpha1.Fits {
		t.Errorf("cheapest for llama-3.3-70b: %v %s", ok, a)
	}
	if _, ok := fit.CheapestTuning(model(t, "gpt-oss-120b"), azure, "", fit.Tuning{}); ok {
		t.Error("what is unknown is never proposed")
	}
}
