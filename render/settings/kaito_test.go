// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// trainer is KAITO's.
func trainer(t *testing.T) runtimes.Runtime {
	t.Helper()
	r, ok := runtimes.Lookup(runtimes.KAITO, "", "")
	if !ok {
		t.Fatal("there is no runtime kaito")
	}
	return r.For(runtimes.Tuning)
}

// TestKaitoTraining: what KAITO's trainer takes is kept as it is, what it does to memory is
// known, and what would end it on a paid node is refused.
func TestKaitoTraining(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, config string
		method         v1alpha1.TuningMethod
		says           string // of the one finding
		warning        bool
		check          func(settings.Training) bool
	}{
		"Empty":  {reason: "KAITO's own values", config: "training_config: {}", check: func(s settings.Training) bool { return s.Rank == 8 && s.SequenceLength == 1024 && !s.EightBit() }},
		"Rank":   {reason: "alpha stays at KAITO's 8", config: "training_config: {LoraConfig: {r: 32}}", check: func(s settings.Training) bool { return s.Rank == 32 && s.Kaito["LoraConfig"]["lora_alpha"] == nil }},
		"Length": {reason: "it is in the sum", config: "training_config: {TrainingArguments: {max_length: 4096, per_device_train_batch_size: 2}}", check: func(s settings.Training) bool { return s.SequenceLength == 4096 && s.MicroBatch == 2 }},
		"Kept":   {reason: "it reaches the trainer as it is written", config: `training_config: {TrainingArguments: {learning_rate: "1e-5"}}`, check: func(s settings.Training) bool { return s.Kaito["TrainingArguments"]["learning_rate"] == "1e-5" }},
		"Steps":  {reason: "the price follows from it", config: "training_config: {TrainingArguments: {max_steps: 20}}", check: func(s settings.Training) bool { return s.Axolotl["max_steps"] == 20 }},

		"Results":      {reason: "the run decides", config: "training_config: {TrainingArguments: {output_dir: /mnt/results}}", says: "results go to a volume", warning: true},
		"Checkpoints":  {reason: "nothing goes on from them", config: "training_config: {TrainingArguments: {save_strategy: epoch}}", says: "goes on from no checkpoint", warning: true},
		"OldName":      {reason: "TRL renamed it, and the trainer ends at it", config: "training_config: {TrainingArguments: {max_seq_length: 512}}", says: "write max_length"},
		"NoKey":        {reason: "the trainer ends at it", config: "training_config: {ModelConfig: {use_cache: false}}", says: "has no such key, and ends at it"},
		"NotJudged":    {reason: "modules that are saved whole are in no sum", config: "training_config: {LoraConfig: {modules_to_save: [lm_head]}}", says: "is not judged; taken are bias"},
		"Packing":      {reason: "TRL ends beside the trainer's collator", config: "training_config: {TrainingArguments: {packing: true}}", says: "only false"},
		"Half":         {reason: "TRL has no float16 for adapters", config: "training_config: {TrainingArguments: {fp16: true}}", says: "only false"},
		"RemoteCode":   {reason: "it would run in the pod", config: "training_config: {ModelConfig: {trust_remote_code: true}}", says: "only false"},
		"Method":       {reason: "the method says it", config: "training_config: {QuantizationConfig: {load_in_4bit: true}}", method: v1alpha1.LoRA, says: "method lora means false"},
		"Template":     {reason: "the trainer prints the file that is named", config: "training_config: {ModelConfig: {chat_template: /proc/self/environ}}", says: "a file that is named here would be printed"},
		"TemplateText": {reason: "a template is a template", config: `training_config: {ModelConfig: {chat_template: "{{ messages }}"}}`, check: func(s settings.Training) bool { return s.Kaito["ModelConfig"]["chat_template"] != nil }},
		"Outside":      {reason: "the data is in its folder", config: "training_config: {DatasetConfig: {dataset_path: data/../config/x.json}}", says: "not in the folder of the data"},
		"Hub":          {reason: "an adapter does not leave by another door", config: "training_config: {TrainingArguments: {push_to_hub: true}}", says: "it is not taken"},
		"Axolotl":      {reason: "they are another trainer's", config: "axolotl: {lora_r: 8}", says: "these are Axolotl's keys"},
		"Optimizer":    {reason: "transformers 5 removed it", config: "training_config: {TrainingArguments: {optim: adamw_hf}}", says: "write adamw_torch"},
	} {
		t.Run(name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = v1alpha1.QLoRA
			}
			got, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: tc.config}, trainer(t), method, "f")
			switch {
			case tc.says == "" && len(problems) > 0:
				t.Errorf("%s: %v", tc.reason, problems)
			case tc.says != "" && (len(problems) != 1 || !strings.Contains(problems[0].Message, tc.says) || (problems[0].Severity == finding.Warning) != tc.warning):
				t.Errorf("%s: %v, want %q", tc.reason, problems, tc.says)
			}
			if tc.check != nil && !tc.check(got) {
				t.Errorf("%s: %+v", tc.reason, got)
			}
		})
	}
}

// TestKaitoDefaultsAsTheyAre: the ConfigMap that KAITO installs is what a run without one
// is told.
func TestKaitoDefaultsAsTheyAre(t *testing.T) {
	without := settings.DefaultTraining(trainer(t)).KaitoConfig(v1alpha1.QLoRA)
	parsed, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: kaitoDefaults}, trainer(t), v1alpha1.QLoRA, "f")
	if finding.HasError(problems) {
		t.Fatal(problems)
	}
	with := parsed.KaitoConfig(v1alpha1.QLoRA)
	for section, values := range without {
		for key, value := range values {
			if diff := cmp.Diff(number(value), number(with[section][key])); diff != "" {
				t.Errorf("%s.%s (-without +with):\n%s", section, key, diff)
			}
		}
	}
}

// number is a number whatever type a decoder gives it.
func number(v any) any {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	}
	return v
}

// TestKaitoKeysAreTheTrainers: everything that is taken is a key of the trainer.
func TestKaitoKeysAreTheTrainers(t *testing.T) {
	for section, values := range settings.DefaultTraining(trainer(t)).KaitoConfig(v1alpha1.QLoRA) {
		for key := range values {
			if !slices.Contains(runtimes.KaitoKeys(section), key) {
				t.Errorf("%s has no %s, and the trainer ends at it", section, key)
			}
		}
	}
	for section, keys := range settings.KaitoTaken() {
		for _, key := range keys {
			if key != "max_seq_length" && !slices.Contains(runtimes.KaitoKeys(section), key) {
				t.Errorf("%s has no %s, and the trainer ends at it", section, key)
			}
		}
	}
}
