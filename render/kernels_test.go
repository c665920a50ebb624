// SPDX-License-Identifier: Apache-2.0

package render

import (
	"testing"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestRewritten: Axolotl's own kernels stay on where a run with them was seen to work, and
// where the attention is written alike.
func TestRewritten(t *testing.T) {
	preset := func(name string) presets.Preset {
		p, ok := presets.Lookup(name)
		if !ok {
			t.Fatalf("no preset %s", name)
		}
		return p
	}
	for name, c := range map[string]struct {
		reason string
		preset presets.Preset
		want   bool
	}{
		"Llama":   {"seen on an H200", preset("llama-3.1-8b-instruct"), true},
		"Mistral": {"seen on an H200", preset("mistral-7b"), true},
		"Granite": {"seen on an H200", preset("granite-4.1-8b"), true},
		"Phi-4":   {"ended with: Original QKV code not found", preset("phi-4"), false},
		"Phi-3":   {"ended with: Original QKV code not found", preset("phi-3-mini-4k-instruct"), false},
		"Locked":  {"a lock file names the architecture, and this one has a norm between", presets.Preset{Architecture: "Olmo2ForCausalLM"}, false},
		"Unknown": {"what nobody has seen run is not bet a GPU on", presets.Preset{Architecture: "NextYearForCausalLM"}, false},
		"Unnamed": {"a lock file of a configuration that names none", presets.Preset{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := rewritten(c.preset); got != c.want {
				t.Errorf("%s: %t, want %t", c.reason, got, c.want)
			}
		})
	}
}

// TestBiased: Axolotl's own kernels are off where a run with them was seen to end.
func TestBiased(t *testing.T) {
	for name, c := range map[string]struct {
		reason       string
		architecture string
		method       v1alpha1.TuningMethod
		dora, want   bool
	}{
		"Qwen2":      {"ended with: self and mat2 must have the same dtype", "Qwen2ForCausalLM", v1alpha1.QLoRA, true, true},
		"Qwen2LoRA":  {"the bias is of 16 bit too; seen on an H200", "Qwen2ForCausalLM", v1alpha1.LoRA, true, false},
		"Qwen2Plain": {"without DoRA the bias is added in 16 bit; seen on an H200", "Qwen2ForCausalLM", v1alpha1.QLoRA, false, false},
		"Llama":      {"it has no bias; seen on an H200", "LlamaForCausalLM", v1alpha1.QLoRA, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			j := job{spec: &v1alpha1.WorkspaceSpec{Tuning: &v1alpha1.TuningSpec{Method: c.method}}}
			j.Assessment.Preset.Architecture = c.architecture
			j.Assessment.Training.Axolotl = map[string]any{"peft_use_dora": c.dora}
			if got := j.biased(); got != c.want {
				t.Errorf("%s: %t, want %t", c.reason, got, c.want)
			}
		})
	}
}
