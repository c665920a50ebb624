// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"maps"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// kaitoTraining are the settings of a run of KAITO's trainer without a configuration:
// those of the ConfigMaps that KAITO installs, lora-params-template and
// qlora-params-template, and where they are silent what TRL has (SFTConfig of 1.0):
// 1,024 tokens, PyTorch's fused AdamW, activations computed again.
func kaitoTraining() Training {
	return Training{
		Rank: 8, SequenceLength: 1024, MicroBatch: 1, Optimizer: "adamw_torch_fused",
		Axolotl: map[string]any{}, Kaito: map[string]map[string]any{},
	}
}

// kaitoForm is training_config.yaml as KAITO's trainer reads it. Its keys are fields of
// classes of PEFT 0.11.1, transformers 5.14.1 and TRL 1.0: at one that they do not have the
// trainer ends. Of those that they have, these are taken as they are: what they do to memory
// is in the sum, or is nothing.
var kaitoForm = form{
	sections: map[string]map[string]reader{
		"ModelConfig": {
			"torch_dtype":       oneOf("bfloat16"),
			"device_map":        oneOf("auto"),
			"trust_remote_code": mustBe(false, "it runs code of the model repository in the pod"),
			"chat_template":     (*training).template,
		},
		"QuantizationConfig": {
			"quant_method":              oneOf("bitsandbytes"),
			"load_in_4bit":              (*training).fourBit,
			"load_in_8bit":              mustBe(false, "methods are qlora (4 bit) and lora (16 bit)"),
			"bnb_4bit_quant_type":       oneOf("nf4"),
			"bnb_4bit_compute_dtype":    oneOf("bfloat16"),
			"bnb_4bit_use_double_quant": (*training).doubleQuant,
		},
		"LoraConfig": {
			"r":              (*training).rankAlone,
			"lora_alpha":     whole("lora_alpha", 1, 4096),
			"lora_dropout":   number("lora_dropout", 0, 0.99),
			"target_modules": (*training).targets,
			"use_rslora":     yes("peft_use_rslora"),
			"bias":           oneOf("none"),
		},
		"TrainingArguments": with(argumentsOfBoth, map[string]reader{
			"optim":                      (*training).optimizerOfTorch,
			"max_length":                 (*training).length,
			"max_seq_length":             instead("max_length, as the TRL of this image calls it"),
			"packing":                    mustBe(false, "the trainer has a collator of its own, beside which TRL packs nothing and ends"),
			"gradient_checkpointing":     (*training).checkpointing,
			"bf16":                       mustBe(true, "TRL keeps the adapter of a quantised model in bfloat16"),
			"fp16":                       mustBe(false, "TRL keeps the adapter of a quantised model in bfloat16"),
			"ddp_find_unused_parameters": yes("ddp_find_unused_parameters"),
			"dataloader_num_workers":     whole("dataloader_num_workers", 0, 64),
			"report_to":                  oneOf("none"),
		}),
		"DataCollator": {
			"mlm": yes("mlm"),
		},
		"DatasetConfig": {
			"shuffle_dataset":   yes("shuffle_merged_datasets"),
			"shuffle_seed":      whole("shuffle_seed", 0, math.MaxInt32),
			"train_test_split":  (*training).split,
			"response_column":   text("response_column"),
			"messages_column":   text("messages_column"),
			"context_column":    text("context_column"),
			"dataset_path":      (*training).dataFile,
			"dataset_extension": text("dataset_extension", "csv", "json", "parquet", "arrow", "webdataset"),
		},
	},
	withoutEffect: map[string]string{
		"ModelConfig.local_files_only":              "weights are downloaded at a pinned revision",
		"ModelConfig.pretrained_model_name_or_path": "spec.tuning.preset or spec.tuning.model names the model",
		"ModelConfig.revision":                      "spec.tuning.revision says it",
		"TrainingArguments.output_dir":              "results go to a volume of the run and from there to spec.tuning.output",
		"TrainingArguments.save_strategy":           "the trainer goes on from no checkpoint, and so none is written",
		"TrainingArguments.save_steps":              "the trainer goes on from no checkpoint, and so none is written",
		"TrainingArguments.save_total_limit":        "the trainer goes on from no checkpoint, and so none is written",
	},
	keeps: true,
}

// instead refuses a key for which there is another.
func instead(of string) reader {
	return func(_ *training, s section, key string) { s.refuse(key, "write %s", of) }
}

// rankAlone moves nothing along: KAITO's alpha is 8 whatever the rank is.
func (t *training) rankAlone(s section, key string) {
	if n, ok := s.whole(key, 1, 512); ok {
		t.Rank = n
	}
}

// optimizerOfTorch takes names of transformers 5 alone.
func (t *training) optimizerOfTorch(s section, key string) {
	if s.values[key] == "adamw_hf" {
		s.refuse(key, "transformers 5 has no adamw_hf: write adamw_torch, which is the same arithmetic")
		return
	}
	t.optimizer(s, key)
}

// template takes the text of a template alone: the trainer reads a file that is named
// there, whichever that is, and writes what it holds into its log.
func (t *training) template(s section, key string) {
	if v, ok := s.text(key); ok && !strings.Contains(v, "{") {
		s.refuse(key, "write the template itself: a file that is named here would be printed")
	}
}

// dataFile takes a file of the training data, by its path below /mnt, where the trainer
// looks for it.
func (t *training) dataFile(s section, key string) {
	v, ok := s.text(key)
	if !ok {
		return
	}
	if clean := path.Clean("/" + v); !strings.HasPrefix(clean, "/data/") || strings.Contains(v, "..") {
		s.refuse(key, "%.60q is not in the folder of the data: write data/ and the name of the file", v)
	}
}

// keep notes a value that is taken as it is.
func (t *training) keep(section, key string, value any) {
	if t.Kaito[section] == nil {
		t.Kaito[section] = map[string]any{}
	}
	t.Kaito[section][key] = value
}

// KaitoConfig is what KAITO's trainer is told: KAITO's own defaults of the method, and over
// them what the user's configuration says, as it is. What the run decides is put over both.
func (t Training) KaitoConfig(method v1alpha1.TuningMethod) map[string]map[string]any {
	quantization := map[string]any{"load_in_4bit": false}
	if method == v1alpha1.QLoRA {
		quantization = map[string]any{
			"load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_use_double_quant": true,
		}
	}
	all := map[string]map[string]any{
		"ModelConfig":        {"torch_dtype": "bfloat16", "device_map": "auto"},
		"QuantizationConfig": quantization,
		"LoraConfig":         {"r": 8, "lora_alpha": 8, "lora_dropout": 0.0},
		"TrainingArguments":  {"ddp_find_unused_parameters": false, "per_device_train_batch_size": 1},
		"DataCollator":       {"mlm": true},
		"DatasetConfig":      {"shuffle_dataset": true, "train_test_split": 1},
	}
	for _, name := range slices.Sorted(maps.Keys(t.Kaito)) {
		maps.Copy(all[name], t.Kaito[name])
	}
	all["TrainingArguments"]["save_strategy"] = "no"
	return all
}
