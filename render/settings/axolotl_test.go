// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"fmt"
	"testing"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func axolotl() runtimes.Runtime {
	r, _ := runtimes.Lookup(runtimes.Axolotl, "", "")
	return r
}

func TestAxolotlKeys(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, config string
		want           func(settings.Training) any
		value          any
		problems       []string
	}{
		"Passed": {
			reason: "Axolotl's own name reaches Axolotl.", config: "axolotl: {train_on_inputs: true}",
			want: func(s settings.Training) any { return s.Axolotl["train_on_inputs"] }, value: true,
		},
		"Sized": {
			reason: "What changes memory reaches the sum.",
			config: "axolotl: {lora_r: 64, sequence_len: 4096, micro_batch_size: 2, optimizer: adamw_torch, gradient_checkpointing: false}",
			want: func(s settings.Training) any {
				return fmt.Sprint(s.Rank, s.SequenceLength, s.MicroBatch, s.EightBit(), s.NoCheckpointing, s.Axolotl["lora_alpha"])
			}, value: "64 4096 2 false true 128",
		},
		"BesideSections": {
			reason: "Both forms may stand side by side.", config: "training_config:\n  LoraConfig: {r: 8}\naxolotl: {num_epochs: 2}",
			want: func(s settings.Training) any { return fmt.Sprint(s.Rank, s.Axolotl["num_epochs"]) }, value: "8 2",
		},
		"Twice": {
			reason: "Which of two would win is nothing to guess.", config: "training_config:\n  LoraConfig: {r: 8}\naxolotl: {lora_r: 16}",
			problems: []string{"line 3: axolotl.lora_r: LoraConfig.r says it too"},
		},
		"SameName": {
			reason: "The sections share many names with Axolotl.", config: "training_config:\n  TrainingArguments: {seed: 1}\naxolotl:\n  seed: 2",
			problems: []string{"line 4: axolotl.seed: TrainingArguments.seed says it too"},
		},
		"Saves":   {reason: "Axolotl takes one of them.", config: "axolotl: {save_steps: 5, saves_per_epoch: 2}", problems: []string{"save_steps says it too"}},
		"Typo":    {reason: "Axolotl would ignore it in silence.", config: "axolotl:\n  learnig_rate: 0.1", problems: []string{"line 2: axolotl.learnig_rate: Axolotl 0.19.0 has no such key; did you mean learning_rate?"}},
		"Type":    {reason: "Axolotl would refuse it on a paid node.", config: "axolotl: {sample_packing: 3}", problems: []string{"axolotl.sample_packing: got number, want boolean"}},
		"Bound":   {reason: "The schema knows no bounds.", config: "axolotl: {lora_dropout: 3}", problems: []string{"not between 0 and 0.99"}},
		"Own":     {reason: "A field of the Workspace says it.", config: "axolotl: {base_model: x/y}", problems: []string{"set spec.tuning.preset"}},
		"Code":    {reason: "Nobody has reviewed it.", config: "axolotl: {plugins: [a.b]}", problems: []string{"run code"}},
		"Sandbox": {reason: "Nothing leaves the cluster unasked.", config: "axolotl: {wandb_project: a}", problems: []string{"sends data out of the cluster"}},
		"Resume":  {reason: "A lost pod must be able to go on.", config: "axolotl: {save_only_model: true}", problems: []string{"cannot be resumed from"}},
		"Sum":     {reason: "The sum knows one way to use several GPUs.", config: "axolotl: {deepspeed: x.json}", problems: []string{"each GPU of the node holds the model whole"}},
		"Unknown": {reason: "What nobody has judged is not passed on.", config: "axolotl: {torch_compile: true}", problems: []string{"is not judged"}},
		"List":    {reason: "It is a mapping.", config: "axolotl: [a]", problems: []string{"no mapping of Axolotl's keys"}},
		"Nothing": {reason: "A file that says nothing is a mistake.", config: "{}", problems: []string{"neither training_config"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: tc.config}, axolotl(), v1alpha1.QLoRA, "f")
			expect(t, tc.reason, tc.problems, problems)
			if tc.want == nil {
				return
			}
			if v := tc.want(got); v != tc.value {
				t.Errorf("%s: got %v, want %v", tc.reason, v, tc.value)
			}
		})
	}
}
