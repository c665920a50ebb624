// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"maps"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Training is what a tuning run is told, defaults included.
type Training struct {
	// Rank, SequenceLength, MicroBatch and Targets decide how much memory is
	// needed. Targets empty: every matrix of a layer.
	Rank, SequenceLength, MicroBatch int
	Targets                          []string
	// Optimizer by the name transformers gives it.
	Optimizer string
	// NoCheckpointing keeps activations; SingleQuantization leaves the
	// constants of NF4 in float32.
	NoCheckpointing, SingleQuantization bool
	// Format is what a row of the data is said to be; nil: nothing was said.
	Format *v1alpha1.DataFormat
	// Saves and Keeps are the keys of the configuration that say how often a
	// checkpoint is written and how many are kept; "": none does.
	Saves, Keeps string
	// Axolotl are further settings by Axolotl's names. Measuring stand over them
	// where the Workspace has an evaluation; one that is nil leaves a setting out.
	Axolotl   map[string]any
	Measuring map[string]any
	// Kaito are the sections of the configuration that KAITO's trainer is given as they
	// are; nil where another trains.
	Kaito map[string]map[string]any
}

// DefaultTraining are the settings of a run without a configuration, by its trainer.
func DefaultTraining(r runtimes.Runtime) Training {
	if r.Name == runtimes.KAITO {
		return kaitoTraining()
	}
	return axolotlTraining()
}

// axolotlTraining are the settings of Axolotl without a configuration. Learning
// rate, dropout and warm-up are the QLoRA paper's for models of 7 to 13 billion
// parameters (Dettmers et al., 2023); the rank lies between KAITO's 8 and the
// paper's 64, alpha at twice the rank; three passes are transformers' default,
// and so KAITO's; the length is gpu/fit's.
func axolotlTraining() Training {
	return Training{
		Rank: 16, SequenceLength: 2048, MicroBatch: 1,
		Optimizer: "adamw_bnb_8bit",
		Axolotl: map[string]any{
			"gradient_accumulation_steps": 8,
			"learning_rate":               0.0002,
			"logging_steps":               10,
			"lora_alpha":                  32,
			"lora_dropout":                0.05,
			"lr_scheduler":                "cosine",
			"num_epochs":                  3,
			"sample_packing":              true,
			"saves_per_epoch":             4,
			"save_total_limit":            2,
			"seed":                        42,
			"val_set_size":                0,
			"warmup_ratio":                0.03,
		},
	}
}

// kaitoSection is the mapping that KAITO's sections are in.
const kaitoSection = "training_config"

// training reads training_config.yaml.
type training struct {
	Training
	method   v1alpha1.TuningMethod
	field    string
	form     form
	root     *yaml.Node
	problems []finding.Problem
	ignored  []string
	// ignoredLine is the line of the first of them.
	ignoredLine int
}

// reader handles one key of a section.
type reader func(t *training, s section, key string)

// form is what a trainer takes of training_config: its sections with what becomes of
// their keys, those that mean nothing, with why, and whether values are kept as they are,
// as for KAITO's trainer, or become keys of Axolotl.
type form struct {
	sections      map[string]map[string]reader
	withoutEffect map[string]string
	keeps         bool
}

// formOf is what a trainer takes.
func formOf(r runtimes.Runtime) form {
	if r.Name == runtimes.KAITO {
		return kaitoForm
	}
	return form{sections: sections, withoutEffect: withoutEffect}
}

// unknown says what is wrong with a key that is in no section.
func (f form) unknown(section, key string) string {
	if !f.keeps {
		return "there is no counterpart in Axolotl for it here; leave it out"
	}
	if !slices.Contains(runtimes.KaitoKeys(section), key) {
		return "KAITO's trainer has no such key, and ends at it"
	}
	return "it is not taken: what it does to memory, to the data or to the adapter is not judged; taken are " +
		strings.Join(slices.Sorted(maps.Keys(f.sections[section])), ", ")
}

// schedulers are those of transformers that take no arguments of their own.
var schedulers = []string{"linear", "cosine", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial"}

// argumentsByName are keys of TrainingArguments that Axolotl has under the same name.
var argumentsByName = map[string]reader{
	"max_steps":                   (*training).steps,
	"gradient_accumulation_steps": whole("gradient_accumulation_steps", 1, 4096),
	"learning_rate":               number("learning_rate", 1e-9, 1),
	"warmup_steps":                (*training).warmupSteps,
	"warmup_ratio":                (*training).warmupRatio,
	"weight_decay":                number("weight_decay", 0, 1),
	"max_grad_norm":               number("max_grad_norm", 0, 1000),
	"adam_beta1":                  number("adam_beta1", 0, 1),
	"adam_beta2":                  number("adam_beta2", 0, 1),
	"adam_epsilon":                number("adam_epsilon", 0, 1),
	"neftune_noise_alpha":         number("neftune_noise_alpha", 0.01, 100),
	"seed":                        whole("seed", 0, math.MaxInt32),
	"logging_steps":               whole("logging_steps", 1, 100000),
}

// argumentsOfBoth are keys of TrainingArguments that mean the same to Axolotl, by the
// setting that they become, and to KAITO's trainer.
var argumentsOfBoth = with(argumentsByName, map[string]reader{
	"num_train_epochs":            number("num_epochs", 0.01, 1000),
	"per_device_train_batch_size": (*training).microBatch,
	"lr_scheduler_type":           text("lr_scheduler", schedulers...),
})

// with is shared and more; more wins.
func with(shared, more map[string]reader) map[string]reader {
	all := maps.Clone(shared)
	maps.Copy(all, more)
	return all
}

// sections of training_config.yaml and what their keys become. A key that is
// in none of them is a problem.
var sections = map[string]map[string]reader{
	"ModelConfig": {
		"trust_remote_code": mustBe(false, "it runs code of the model repository in the pod"),
	},
	"QuantizationConfig": {
		"load_in_4bit":              (*training).fourBit,
		"load_in_8bit":              mustBe(false, "methods are qlora (4 bit) and lora (16 bit)"),
		"bnb_4bit_quant_type":       oneOf("nf4"),
		"bnb_4bit_use_double_quant": (*training).doubleQuant,
	},
	"LoraConfig": {
		"r":              (*training).rank,
		"lora_alpha":     whole("lora_alpha", 1, 4096),
		"lora_dropout":   number("lora_dropout", 0, 0.99),
		"target_modules": (*training).targets,
		"use_rslora":     yes("peft_use_rslora"),
		"use_dora":       yes("peft_use_dora"),
		"bias":           oneOf("none"),
		"task_type":      oneOf("CAUSAL_LM"),
	},
	"TrainingArguments": with(argumentsOfBoth, map[string]reader{
		"per_device_eval_batch_size": whole("eval_batch_size", 1, 1024),
		"optim":                      (*training).optimizer,
		"save_steps":                 (*training).saveSteps,
		"save_total_limit":           (*training).saveLimit,
		"max_seq_length":             (*training).length,
		"max_length":                 (*training).length,
		"packing":                    yes("sample_packing"),
		"gradient_checkpointing":     (*training).checkpointing,
		"ddp_find_unused_parameters": yes("ddp_find_unused_parameters"),
		"dataloader_num_workers":     whole("dataloader_num_workers", 0, 64),
	}),
	"DataCollator": {},
	"DatasetConfig": {
		"shuffle_dataset":  yes("shuffle_merged_datasets"),
		"train_test_split": (*training).split,
		"messages_column":  (*training).messages,
		"context_column":   (*training).context,
		"response_column":  (*training).response,
	},
}

// evaluatedBy is why keys of transformers about an evaluation have no effect.
const evaluatedBy = "spec.tuning.evaluation says what is measured"

// withoutEffect are keys that KAITO's own files hold and that mean nothing
// here, with why.
var withoutEffect = map[string]string{
	"ModelConfig.torch_dtype":                   "the GPU decides between bfloat16 and float16",
	"ModelConfig.local_files_only":              "weights are downloaded at a pinned revision",
	"ModelConfig.device_map":                    "the trainer places the model",
	"ModelConfig.low_cpu_mem_usage":             "the trainer decides",
	"ModelConfig.use_cache":                     "training keeps no cache",
	"QuantizationConfig.quant_method":           "the method decides",
	"QuantizationConfig.bnb_4bit_compute_dtype": "the GPU decides between bfloat16 and float16",
	"TrainingArguments.output_dir":              "results go to a volume of the run and from there to spec.tuning.output",
	"TrainingArguments.logging_dir":             "there is no logger that writes files",
	"TrainingArguments.save_strategy":           "checkpoints are always kept, so that a lost pod goes on",
	"TrainingArguments.bf16":                    "the GPU decides between bfloat16 and float16",
	"TrainingArguments.fp16":                    "the GPU decides between bfloat16 and float16",
	"TrainingArguments.report_to":               "no tracker is told",
	"TrainingArguments.remove_unused_columns":   "the trainer decides",
	"TrainingArguments.do_eval":                 evaluatedBy,
	"TrainingArguments.eval_strategy":           evaluatedBy,
	"TrainingArguments.evaluation_strategy":     evaluatedBy,
	"TrainingArguments.eval_steps":              evaluatedBy,
	"TrainingArguments.eval_on_start":           evaluatedBy,
	"TrainingArguments.overwrite_output_dir":    "every run has a folder of its own",
	"DataCollator.mlm":                          "causal language models are trained on the next token",
	"DatasetConfig.shuffle_seed":                "TrainingArguments.seed counts",
	"DatasetConfig.dataset_file_ext":            "the name of the file decides",
}

// ParseTraining reads training_config.yaml for a trainer: KAITO's sections below
// training_config, and for a version of Axolotl its own keys below axolotl. field is
// the field of the Workspace that names the ConfigMap, for problems.
func ParseTraining(data map[string]string, r runtimes.Runtime, method v1alpha1.TuningMethod, field string) (Training, []finding.Problem) {
	doc, problems := document(data, TrainingKey, field)
	if problems != nil {
		return DefaultTraining(r), problems
	}
	t := training{Training: DefaultTraining(r), method: method, field: field, form: formOf(r), root: doc.root}
	t.top(doc, r)
	config, ok := doc.tree[kaitoSection].(map[string]any)
	if _, own := doc.tree[axolotlSection]; !ok && !own {
		t.problem(nil, "there is neither training_config, a mapping of sections, nor axolotl, a mapping of keys")
	} else if doc.tree[kaitoSection] != nil && !ok {
		t.problem([]string{kaitoSection}, "training_config is no mapping of sections")
	}
	for _, name := range slices.Sorted(maps.Keys(config)) {
		t.section(name, config[name])
	}
	if !t.form.keeps {
		t.axolotl(doc, config, r)
	}
	if len(t.ignored) > 0 {
		t.problems = append(t.problems, finding.Warningf(ConfigIgnored, field, "without effect here: %s", strings.Join(t.ignored, "; ")).
			In(finding.Entry{Key: TrainingKey, Line: t.ignoredLine}))
	}
	return t.Training, t.problems
}

// top reads the keys of the text itself.
func (t *training) top(doc decoded, r runtimes.Runtime) {
	for _, key := range slices.Sorted(maps.Keys(doc.tree)) {
		switch {
		case key == axolotlSection && t.form.keeps:
			t.problem([]string{key}, "these are Axolotl's keys, and spec.runtime.name is %s: write sections below training_config, or spec.runtime.name: axolotl", r.Name)
		case key != kaitoSection && key != axolotlSection:
			t.problem([]string{key}, "%.60s is not known: sections go below training_config, Axolotl's own keys below axolotl", key)
		}
	}
}

// problem with the key at a path, nil for the text as a whole.
func (t *training) problem(path []string, format string, args ...any) {
	t.problems = append(t.problems, finding.Errorf(ConfigInvalid, t.field, format, args...).
		In(finding.Entry{Key: TrainingKey, Line: keyLine(t.root, path)}))
}

func (t *training) section(name string, value any) {
	readers, known := t.form.sections[name]
	if !known {
		t.problem([]string{kaitoSection, name}, "section %.60q is not known: %s", name, strings.Join(slices.Sorted(maps.Keys(t.form.sections)), ", "))
		return
	}
	values, ok := value.(map[string]any)
	if !ok {
		if value != nil {
			t.problem([]string{kaitoSection, name}, "%s is no mapping", name)
		}
		return
	}
	s := section{field: t.field, entry: TrainingKey, path: []string{kaitoSection, name}, root: t.root, values: values, problems: &t.problems}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if why, ok := t.form.withoutEffect[name+"."+key]; ok {
			t.ignore(s, key, why)
			continue
		}
		read, ok := readers[key]
		if !ok {
			s.refuse(key, "%s", t.form.unknown(name, key))
			continue
		}
		read(t, s, key)
		if t.form.keeps && values[key] != nil {
			t.keep(name, key, values[key])
		}
	}
}
