// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// axolotlSection is the mapping beside training_config whose keys are Axolotl's
// own.
const axolotlSection = "axolotl"

// axolotlKeys are the keys of Axolotl that a configuration may set: those whose
// effect on memory is in the sum, or is none. What they may hold is first a
// matter of Axolotl's schema, and then of these bounds.
var axolotlKeys = with(argumentsByName, map[string]reader{
	"lora_r":                 (*training).rank,
	"lora_alpha":             whole("lora_alpha", 1, 4096),
	"lora_dropout":           number("lora_dropout", 0, 0.99),
	"lora_target_modules":    (*training).targets,
	"lora_target_linear":     mustBe(true, "name matrices by lora_target_modules"),
	"peft_use_rslora":        yes("peft_use_rslora"),
	"peft_use_dora":          yes("peft_use_dora"),
	"loraplus_lr_ratio":      number("loraplus_lr_ratio", 0.01, 1000),
	"sequence_len":           (*training).length,
	"micro_batch_size":       (*training).microBatch,
	"optimizer":              (*training).optimizer,
	"gradient_checkpointing": (*training).checkpointing,

	"num_epochs":               number("num_epochs", 0.01, 1000),
	"lr_scheduler":             text("lr_scheduler", schedulers...),
	"cosine_min_lr_ratio":      number("cosine_min_lr_ratio", 0, 1),
	"cosine_constant_lr_ratio": number("cosine_constant_lr_ratio", 0, 1),
	"loss_watchdog_threshold":  number("loss_watchdog_threshold", 0, 1000),
	"loss_watchdog_patience":   whole("loss_watchdog_patience", 1, 100000),

	"save_steps":       (*training).saveSteps,
	"saves_per_epoch":  (*training).savesPerEpoch,
	"save_total_limit": (*training).saveLimit,
	"val_set_size":     number("val_set_size", 0, 0.99),
	"eval_batch_size":  whole("eval_batch_size", 1, 1024),
	"evals_per_epoch":  whole("evals_per_epoch", 1, 1000),

	"sample_packing":                  yes("sample_packing"),
	"eval_sample_packing":             yes("eval_sample_packing"),
	"train_on_inputs":                 yes("train_on_inputs"),
	"group_by_length":                 yes("group_by_length"),
	"shuffle_merged_datasets":         yes("shuffle_merged_datasets"),
	"shuffle_before_merging_datasets": yes("shuffle_before_merging_datasets"),
	"dataset_exact_deduplication":     yes("dataset_exact_deduplication"),
	"min_sample_len":                  whole("min_sample_len", 1, 1<<20),
	"excess_length_strategy":          text("excess_length_strategy", "drop", "truncate", "raise"),
	"dataloader_num_workers":          whole("dataloader_num_workers", 0, 64),
	"ddp_find_unused_parameters":      yes("ddp_find_unused_parameters"),
})

// counterparts are the keys of training_config that say the same.
var counterparts = map[string]string{
	"lora_r": "LoraConfig.r", "lora_alpha": "LoraConfig.lora_alpha", "lora_dropout": "LoraConfig.lora_dropout",
	"lora_target_modules": "LoraConfig.target_modules", "peft_use_rslora": "LoraConfig.use_rslora", "peft_use_dora": "LoraConfig.use_dora",
	"sequence_len": "TrainingArguments.max_seq_length", "micro_batch_size": "TrainingArguments.per_device_train_batch_size",
	"optimizer": "TrainingArguments.optim", "num_epochs": "TrainingArguments.num_train_epochs", "lr_scheduler": "TrainingArguments.lr_scheduler_type",
	"eval_batch_size": "TrainingArguments.per_device_eval_batch_size", "sample_packing": "TrainingArguments.packing",
	"shuffle_merged_datasets": "DatasetConfig.shuffle_dataset", "val_set_size": "DatasetConfig.train_test_split",
}

// notTaken are keys of Axolotl that are refused, with why.
var notTaken = map[string]string{
	"base_model": "set spec.tuning.preset or spec.tuning.model", "model_revision": "set spec.tuning.revision",
	"revision_of_model": "set spec.tuning.revision",
	"adapter":           "set spec.tuning.method", "load_in_4bit": "set spec.tuning.method", "load_in_8bit": "set spec.tuning.method",
	"datasets":    "the data is spec.tuning.input, and what a row of it is spec.tuning.input.format",
	"output_dir":  "results go to a volume of the run and from there to spec.tuning.output",
	"bf16":        "the GPU decides between bfloat16 and float16",
	"fp16":        "the GPU decides between bfloat16 and float16",
	"plugins":     "they run code that nobody has reviewed",
	"trainer_cls": "it names Python code to run",
	"trl":         "only supervised fine-tuning is sized", "rl": "only supervised fine-tuning is sized",
	"trust_remote_code":            "it runs code of the model repository in the pod",
	"dataset_prepared_path":        "the prepared data is kept with the checkpoints of the run",
	"auto_resume_from_checkpoints": "a lost pod always goes on from the last checkpoint",
	"resume_from_checkpoint":       "a lost pod always goes on from the last checkpoint",
	"save_only_model":              "a checkpoint without the state of the optimizer cannot be resumed from",
	"save_strategy":                "checkpoints are always kept, so that a lost pod goes on",
	"save_first_step":              "it shows early that the volume can be written to",
	"attn_implementation":          "the image has no other that packs samples",
	"test_datasets":                "name files of held-out rows in spec.tuning.evaluation.urls",
	"eval_strategy":                measuredTwice,
	"evaluation_strategy":          measuredTwice,
	"eval_steps":                   measuredTwice,
	"load_best_model_at_end":       "the adapter is the one that the run ends with, which is the one that is measured",
	"early_stopping_patience":      "a run ends where Git says it does",
	"pretraining_dataset":          "the data is spec.tuning.input",
	"lora_model_dir":               "every run begins with a new adapter",
}

// notTakenGroups are beginnings of keys for which one reason holds.
var notTakenGroups = map[string]string{
	"wandb_": noTracker, "use_wandb": noTracker, "mlflow_": noTracker, "hf_mlflow": noTracker, "use_mlflow": noTracker, "comet_": noTracker,
	"use_comet": noTracker, "trackio_": noTracker, "use_trackio": noTracker, "otel_": noTracker, "use_otel": noTracker, "gradio_": noTracker,
	"hub_": "the adapter goes to spec.tuning.output", "push_dataset": "data does not leave the cluster", "hf_use_auth": "set spec.tuning.accessSecret",
	"deepspeed": oneWay, "fsdp": oneWay, "tensor_parallel": oneWay, "context_parallel": oneWay, "sequence_parallel": oneWay,
	"dp_": oneWay, "ray_": oneWay, "use_ray": oneWay, "device": oneWay, "world_size": oneWay, "local_rank": oneWay,
}

const (
	measuredTwice = "spec.tuning.evaluation measures before and after the run, evals_per_epoch also in between"

	noTracker = "it sends data out of the cluster"
	oneWay    = "each GPU of the node holds the model whole, which is what the memory sum is for"
)

// axolotl reads the section of Axolotl's own keys. config is training_config,
// whose keys must not say the same.
func (t *training) axolotl(doc decoded, config map[string]any, r runtimes.Runtime) {
	value, there := doc.tree[axolotlSection]
	values, ok := value.(map[string]any)
	if !ok {
		if there && value != nil {
			t.problem([]string{axolotlSection}, "%s is no mapping of Axolotl's keys", axolotlSection)
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		s := section{field: t.field, entry: TrainingKey, path: []string{axolotlSection}, root: doc.root, values: values, problems: &t.problems}
		if why := whyNotTaken(key, r); why != "" {
			s.refuse(key, "%s", why)
			continue
		}
		if other, twice := saidElsewhere(key, config); twice {
			s.refuse(key, "%s says it too: give one of them", other)
			continue
		}
		if err := checkValue(r.Schema(), key, values[key]); err != nil {
			s.refuse(key, "%s", err)
			continue
		}
		axolotlKeys[key](t, s, key)
	}
}

// whyNotTaken says why a key cannot be set, "" when it can.
func whyNotTaken(key string, r runtimes.Runtime) string {
	if _, ok := axolotlKeys[key]; ok {
		return ""
	}
	if why, ok := notTaken[key]; ok {
		return "it is not taken from the configuration: " + why
	}
	for _, beginning := range slices.Sorted(maps.Keys(notTakenGroups)) {
		if strings.HasPrefix(key, beginning) {
			return "it is not taken from the configuration: " + notTakenGroups[beginning]
		}
	}
	schema := r.Schema()
	if schema == nil || schema.Has(key) {
		return "it is not taken from the configuration: what it does to memory and to resuming is not judged; taken are " +
			strings.Join(slices.Sorted(maps.Keys(axolotlKeys)), ", ")
	}
	if near := schema.Nearest(key); near != "" {
		return fmt.Sprintf("Axolotl %s has no such key; did you mean %s?", r.Version, near)
	}
	return fmt.Sprintf("Axolotl %s has no such key", r.Version)
}

// saidElsewhere names the key of training_config that says the same.
func saidElsewhere(key string, config map[string]any) (string, bool) {
	other, ok := counterparts[key]
	if !ok {
		other = "TrainingArguments." + key
	}
	name, within, _ := strings.Cut(other, ".")
	values, _ := config[name].(map[string]any)
	_, there := values[within]
	return other, there
}

func checkValue(schema *runtimes.Schema, key string, value any) error {
	if schema == nil || !schema.Has(key) {
		return nil // the version is not known here: the bounds still hold
	}
	return schema.Check(key, value)
}
