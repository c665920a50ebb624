// SPDX-License-Identifier: Apache-2.0

package settings_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func text(problems []finding.Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintf(&b, "%s %s %s\n", p.Severity, p.Code, p.Sentence())
	}
	return b.String()
}

func vllm() runtimes.Runtime {
	r, ok := runtimes.Lookup(runtimes.VLLM, "0.26.0", "")
	if !ok {
		panic("vLLM 0.26.0 is not pinned")
	}
	return r
}

func TestServing(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, config string
		want           settings.Serving
		problems       []string // parts, one for each problem
	}{
		"Arguments": {
			reason: "scalars, flags, JSON, and both spellings of a name",
			config: "vllm:\n  gpu_memory_utilization: 0.85\n  max-model-len: 8192\n  enable-prefix-caching: true\n  enable_chunked_prefill: false\n  compilation_config: {mode: 3}\n  limit-mm-per-prompt: '{\"image\":1}'\n  kernel-config.enable_flashinfer_autotune: \"False\"\n  kv-cache-dtype: fp8_e4m3\n",
			want: settings.Serving{
				Args: map[string]string{
					"gpu-memory-utilization": "0.85", "max-model-len": "8192", "enable-prefix-caching": "", "no-enable-chunked-prefill": "",
					"compilation-config": `{"mode":3}`, "limit-mm-per-prompt": `{"image":1}`, "kernel-config.enable_flashinfer_autotune": "False",
					"kv-cache-dtype": "fp8_e4m3",
				},
				Context: 8192, Utilization: 0.85, KVElementBytes: 1,
			},
		},
		"ShardedAdapters": {
			reason: "adapters that are divided on both sides take less", config: "vllm: {fully_sharded_loras: true}",
			want: settings.Serving{Args: map[string]string{"fully-sharded-loras": ""}, ShardedAdapters: true},
		},
		"WholeAdapters": {
			reason: "and that is not asked for by its opposite", config: "vllm: {fully_sharded_loras: false}",
			want: settings.Serving{Args: map[string]string{"no-fully-sharded-loras": ""}},
		},
		"Auto":          {reason: "auto is no number", config: "vllm: {max-model-len: auto}", want: settings.Serving{Args: map[string]string{"max-model-len": "auto"}}},
		"Empty":         {reason: "nothing is something", config: "vllm:\n", want: settings.Serving{Args: map[string]string{}}},
		"KaitoProbes":   {reason: "KAITO's other key has no effect", config: "max_probe_steps: 6\nvllm: {}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"max_probe_steps has no effect"}},
		"UnknownKey":    {reason: "a key beside vllm is a mistake", config: "max-model-len: 3\nvllm: {}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"engine arguments go below vllm"}},
		"RunsCode":      {reason: "code of a repository nobody reviewed", config: "vllm: {trust-remote-code: true, worker-cls: x, middleware: [a]}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"middleware", "trust-remote-code", "worker-cls"}},
		"Abbreviated":   {reason: "argparse takes the beginning of a name for the name", config: "vllm: {trust_remote: true, \"--api-k\": x}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"api-key", "trust-remote-code"}},
		"Negated":       {reason: "and its opposite", config: "vllm: {no-enable-lora: true}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"enable-lora"}},
		"Nested":        {reason: "and a key within it", config: "vllm: {kv-transfer-config.kv_connector_module_path: x}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"kv-transfer-config"}},
		"ArgumentOfTwo": {reason: "a value in the name", config: "vllm: {\"dtype=x --model\": y}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"no name of an engine argument"}},
		"KnownBeginning": {
			reason: "a known name is not taken for a longer one that is refused", config: "vllm: {reasoning-parser: qwen3}",
			want: settings.Serving{Args: map[string]string{"reasoning-parser": "qwen3"}},
		},
		"Lists": {
			reason: "several values are several words, but for arguments that take JSON",
			config: "vllm: {cudagraph-capture-sizes: [1, 8], allowed-origins: [\"https://a\"]}",
			want:   settings.Serving{Args: map[string]string{"allowed-origins": `["https://a"]`}, Lists: map[string][]string{"cudagraph-capture-sizes": {"1", "8"}}},
		},
		"Sizes": {
			reason: "numbers as vLLM reads them", config: "vllm: {max-model-len: 8k, max-num-batched-tokens: 2K}",
			want: settings.Serving{Args: map[string]string{"max-model-len": "8k", "max-num-batched-tokens": "2K"}, Context: 8000, BatchTokens: 2048},
		},
		"Switch":        {reason: "a switch that is off is left out", config: "vllm: {disable-log-stats: false}", want: settings.Serving{Args: map[string]string{}}},
		"Misspelt":      {reason: "an argument that this version does not have, with its line and the nearest name", config: "vllm:\n  dtype: auto\n  max_modellen: 8192", want: settings.Serving{Args: map[string]string{"dtype": "auto"}}, problems: []string{"inference_config.yaml: line 3: vllm.max_modellen: vLLM 0.26.0 has no such argument; did you mean max-model-len?"}},
		"Removed":       {reason: "an argument of earlier versions", config: "vllm: {swap-space: 4}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"vLLM 0.26.0 has no such argument"}},
		"WrongType":     {reason: "a word where a number belongs, a number where a flag belongs", config: "vllm: {block-size: large, enforce-eager: 1, seed: 1.5}", want: settings.Serving{Args: map[string]string{}}, problems: []string{`"large" is not a whole number`, "write true or false", `"1.5" is not a whole number`}},
		"WrongChoice":   {reason: "a value that the argument does not take", config: "vllm: {kv-cache-dtype: fp4, tool-call-parser: hermez}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"did you mean fp8?", "did you mean hermes?"}},
		"NoSuchKey":     {reason: "a key that the object lost", config: "vllm: {compilation-config: {level: 3}, kernel-config.moe_backnd: x}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"it has no key level", "did you mean moe_backend?"}},
		"CodeInKeys":    {reason: "code within an object", config: "vllm: {structured-outputs-config: {reasoning_parser_plugin: /a.py}, compilation-config.backend: os.system}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"names Python code", "runs code"}},
		"WordOfAnother": {reason: "a list that would smuggle in an argument", config: "vllm: {ignore-patterns: [--trust-remote-code]}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"another argument"}},
		"OwnField":      {reason: "what has a field of its own", config: "vllm: {data-parallel-rank: 1, nnodes: 2}", want: settings.Serving{Args: map[string]string{}}, problems: []string{"spec.inference.replicas", "number of nodes"}},
		"Twice":         {reason: "two spellings of one name", config: "vllm: {max-num-seqs: 1, max_num_seqs: 2}", want: settings.Serving{Args: map[string]string{"max-num-seqs": "1"}, Sequences: 1}, problems: []string{"given twice"}},
		"NoValue":       {reason: "a name without a value", config: "vllm: {dtype: }", want: settings.Serving{Args: map[string]string{}}, problems: []string{"no value"}},
		"OutOfRange":    {reason: "more than all of the memory", config: "vllm: {gpu-memory-utilization: 1.5}", want: settings.Serving{Args: map[string]string{"gpu-memory-utilization": "1.5"}}, problems: []string{"between 0.05 and 1"}},
		"NoYAML":        {reason: "text that is no YAML", config: "vllm: [", problems: []string{"no YAML"}},
		"TwiceTheKey":   {reason: "a key written twice", config: "vllm: {}\nvllm: {}", problems: []string{"line 2: vllm is set twice"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := settings.ParseServing(map[string]string{settings.ServingKey: tc.config}, vllm(), "spec.inference.config")
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			expect(t, tc.reason, tc.problems, problems)
		})
	}
	_, problems := settings.ParseServing(map[string]string{"other.yaml": ""}, vllm(), "f")
	expect(t, "a ConfigMap of something else", []string{"no key inference_config.yaml"}, problems)
}

func expect(t *testing.T, reason string, want []string, got []finding.Problem) {
	t.Helper()
	if len(want) != len(got) {
		t.Errorf("%s: %d problems, want %d:\n%s", reason, len(got), len(want), text(got))
		return
	}
	for i := range want {
		if !strings.Contains(got[i].Sentence(), want[i]) {
			t.Errorf("%s: problem %d is %q, want %q in it", reason, i, got[i].Sentence(), want[i])
		}
	}
}

// kaitoDefaults is what KAITO's own qlora-params-template holds.
const kaitoDefaults = `
training_config:
  ModelConfig:
    torch_dtype: "bfloat16"
    local_files_only: true
    device_map: "auto"
  QuantizationConfig:
    load_in_4bit: true
    bnb_4bit_quant_type: "nf4"
    bnb_4bit_compute_dtype: "bfloat16"
    bnb_4bit_use_double_quant: true
  LoraConfig:
    r: 8
    lora_alpha: 8
    lora_dropout: 0.0
  TrainingArguments:
    output_dir: "/mnt/results"
    ddp_find_unused_parameters: false
    save_strategy: "no"
    per_device_train_batch_size: 1
  DataCollator:
    mlm: true
  DatasetConfig:
    shuffle_dataset: true
    train_test_split: 1
`

func TestKaitoDefaults(t *testing.T) {
	got, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: kaitoDefaults}, axolotl(), v1alpha1.QLoRA, "f")
	expect(t, "KAITO's own defaults are accepted", []string{"without effect here: DataCollator.mlm"}, problems)
	if finding.HasError(problems) || got.Rank != 8 || got.MicroBatch != 1 || got.Axolotl["lora_alpha"] != 8 || got.Axolotl["val_set_size"] != 0.0 {
		t.Errorf("got %+v", got)
	}
}

func TestTraining(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, config string
		method         v1alpha1.TuningMethod
		want           func(settings.Training) any
		value          any
		problems       []string
	}{
		"AlphaFollowsRank": {reason: "alpha stays at twice the rank", config: "LoraConfig: {r: 64}", want: func(s settings.Training) any { return s.Axolotl["lora_alpha"] }, value: 128},
		"AlphaOfItsOwn":    {reason: "unless it is given", config: "LoraConfig: {r: 64, lora_alpha: 16}", want: func(s settings.Training) any { return s.Axolotl["lora_alpha"] }, value: 16},
		"Targets":          {reason: "targets in order, once", config: "LoraConfig: {target_modules: [v_proj, q_proj, v_proj]}", want: func(s settings.Training) any { return strings.Join(s.Targets, " ") }, value: "q_proj v_proj"},
		"AllLinear":        {reason: "peft's word for all is the default", config: "LoraConfig: {target_modules: all-linear}", want: func(s settings.Training) any { return len(s.Targets) }, value: 0},
		"Text":             {reason: "numbers as text, as YAML reads 1e-4", config: "TrainingArguments: {learning_rate: 1e-4}", want: func(s settings.Training) any { return s.Axolotl["learning_rate"] }, value: 0.0001},
		"Warmup":           {reason: "steps win over the ratio", config: "TrainingArguments: {warmup_ratio: 0.5, warmup_steps: 10}", want: func(s settings.Training) any { return fmt.Sprint(s.Axolotl["warmup_steps"], s.Axolotl["warmup_ratio"]) }, value: "10 <nil>"},
		"Saves": {reason: "Axolotl takes one of them", config: "TrainingArguments: {save_steps: 50}", want: func(s settings.Training) any {
			return fmt.Sprint(s.Axolotl["save_steps"], s.Axolotl["saves_per_epoch"])
		}, value: "50 <nil>"},
		"Split":          {reason: "the share of training data becomes that of the rest", config: "DatasetConfig: {train_test_split: 0.8}", want: func(s settings.Training) any { return s.Axolotl["val_set_size"] }, value: 0.2},
		"Messages":       {reason: "a column of another name", config: "DatasetConfig: {messages_column: chats}", want: func(s settings.Training) any { return fmt.Sprint(s.Format.Type, s.Format.Columns.Named()) }, value: "Chatmap[messages:chats]"},
		"PromptAnswer":   {reason: "two columns are a prompt and its completion", config: "DatasetConfig: {context_column: q, response_column: a}", want: func(s settings.Training) any { return fmt.Sprint(s.Format.Type, s.Format.Columns.Named()) }, value: "PromptCompletionmap[completion:a prompt:q]"},
		"MessagesWin":    {reason: "KAITO reads messages before anything else", config: "DatasetConfig: {messages_column: m, context_column: q, response_column: a}", want: func(s settings.Training) any { return s.Format.Type }, value: v1alpha1.RowsChat, problems: []string{"context_column (messages_column says"}},
		"HalfAPair":      {reason: "a column that KAITO would not read either", config: "DatasetConfig: {response_column: a}", want: func(s settings.Training) any { return s.Format == nil }, value: true, problems: []string{"without context_column"}},
		"EightBit":       {reason: "an optimizer with full moments takes more memory", config: "TrainingArguments: {optim: adamw_torch}", want: func(s settings.Training) any { return s.EightBit() }, value: false},
		"SingleQuant":    {reason: "and so do quantisation constants in float32", config: "QuantizationConfig: {bnb_4bit_use_double_quant: false}", want: func(s settings.Training) any { return s.SingleQuantization }, value: true},
		"FourBitOfLora":  {reason: "the method says how the base is loaded", method: v1alpha1.LoRA, config: "QuantizationConfig: {load_in_4bit: true}", problems: []string{"method lora means false"}},
		"EightBitBase":   {reason: "there is no such method", config: "QuantizationConfig: {load_in_8bit: true}", problems: []string{"load_in_8bit: only false"}},
		"RemoteCode":     {reason: "code of a repository nobody reviewed", config: "ModelConfig: {trust_remote_code: true}", problems: []string{"runs code"}},
		"UnknownSection": {reason: "a section that KAITO does not have", config: "Trainer: {a: b}", problems: []string{`section "Trainer" is not known`}},
		"UnknownKey":     {reason: "a key without counterpart is not dropped", config: "TrainingArguments: {push_to_hub: true}", problems: []string{"no counterpart"}},
		"NoNumber":       {reason: "text where a number belongs", config: "TrainingArguments: {num_train_epochs: many}", problems: []string{"no number"}},
		"NotANumber":     {reason: "YAML has a word for no number", config: "TrainingArguments: {num_train_epochs: .nan}", problems: []string{""}},
		"OutOfRange":     {reason: "a rank that no adapter has", config: "LoraConfig: {r: 0}", problems: []string{"between 1 and 512"}},
		"Half":           {reason: "half a sequence", config: "TrainingArguments: {per_device_train_batch_size: 1.5}", problems: []string{"no whole number"}},
	} {
		t.Run(name, func(t *testing.T) {
			method := tc.method
			if method == "" {
				method = v1alpha1.QLoRA
			}
			config := "training_config:\n  " + tc.config + "\n"
			got, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: config}, axolotl(), method, "f")
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

func FuzzServing(f *testing.F) {
	f.Add("vllm: {max-model-len: 1, a.b: [c]}")
	f.Add("vllm: {trust_remote_code: true}")
	f.Fuzz(func(t *testing.T, config string) {
		s, problems := settings.ParseServing(map[string]string{settings.ServingKey: config}, vllm(), "f")
		if finding.HasError(problems) {
			return
		}
		for name, value := range s.Args {
			if strings.HasPrefix(name, "-") || strings.ContainsAny(name, "= \n") || strings.HasPrefix("trust-remote-code", name) {
				t.Errorf("argument %q=%q", name, value)
			}
		}
	})
}

func FuzzTraining(f *testing.F) {
	f.Add(kaitoDefaults)
	f.Add("training_config: {LoraConfig: {r: 1e999}}")
	f.Fuzz(func(t *testing.T, config string) {
		s, problems := settings.ParseTraining(map[string]string{settings.TrainingKey: config}, axolotl(), v1alpha1.QLoRA, "f")
		if !finding.HasError(problems) && (s.Rank < 1 || s.MicroBatch < 1 || s.SequenceLength < 1) {
			t.Errorf("accepted %+v", s)
		}
	})
}
