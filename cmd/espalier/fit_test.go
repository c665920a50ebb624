// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// execute runs one command and returns what it wrote to stdout.
func execute(command *cobra.Command, args ...string) (string, error) {
	var out bytes.Buffer
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetOut(&out)
	command.SetErr(&out)
	command.SetArgs(args)
	err := command.Execute()
	return out.String(), err
}

func TestFitSaysNoAndWhatWould(t *testing.T) {
	out, err := execute(newFitCommand(), "--model", "llama-3.3-70b-instruct", "--instance-type", "Standard_NC24ads_A100_v4", "--nodes", "1")
	if !errors.Is(err, errRefused) {
		t.Errorf("a model that does not fit ends with %v, want %v", err, errRefused)
	}
	for _, says := range []string{
		"Standard_NC24ads_A100_v4 (1 × A100-80GB): NO", "W weights       132.1", "of 72.0 GiB on each GPU", "(WeightsTooLarge)",
		"$3.673/h list price, 2026-06-18", "instead", "Standard_NC96ads_A100_v4: fits on 1 node of 4 × A100-80GB",
	} {
		if !strings.Contains(out, says) {
			t.Errorf("the answer does not say %q:\n%s", says, out)
		}
	}
}

// TestFitHeadline: the first line says what has to be asked for. A Workspace that names a
// small size and no count gets one node of it, and is refused.
func TestFitHeadline(t *testing.T) {
	for name, c := range map[string]struct{ reason, args, want string }{
		"OneNode": {"the size is all", "--instance-type Standard_NC4as_T4_v3", "served on Standard_NC4as_T4_v3 (1 × T4): FITS"},
		"Several": {
			"without a count validate refuses it", "--instance-type Standard_NC4as_T4_v3 --context 131072",
			"served on Standard_NC4as_T4_v3 (1 × T4): FITS on 3 nodes (spec.resource.count: 3)",
		},
		"No":     {"no number of nodes helps", "--instance-type Standard_NC4as_T4_v3 --context 655360", "served on Standard_NC4as_T4_v3 (1 × T4): NO"},
		"Tuning": {"a run is spread where it is asked for", "--instance-type Standard_NC24ads_A100_v4 --tune qlora --nodes 2", "qlora tuning on Standard_NC24ads_A100_v4 (1 × A100-80GB): FITS on 2 nodes (spec.resource.count: 2)"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := execute(newFitCommand(), append([]string{"--model", "phi-4-mini-instruct"}, strings.Fields(c.args)...)...)
			if got, _, _ := strings.Cut(out, "\n"); got != "phi-4-mini-instruct, "+c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// TestSKUsOfNoCloud: whoever has a GPU that no cloud has reads what to name in its place.
func TestSKUsOfNoCloud(t *testing.T) {
	_, err := execute(newSKUsCommand(), "--gpu", "A6000")
	if err == nil || !strings.Contains(err.Error(), "of a node of your own name a type with the nearest that has at most its memory and compute capability (docs/own-nodes.md)") {
		t.Errorf("got %v", err)
	}
}

// The exit code is 0 for yes, 1 for no, 2 for misuse, through the whole command line.
func TestFitExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		want int
	}{
		"Fits":    {"fit --model phi-4-mini-instruct --instance-type Standard_NC24ads_A100_v4", exitOK},
		"Unknown": {"fit --model granite-4.1-8b --instance-type Standard_NC24ads_A100_v4 --tune qlora", exitOK},
		"No":      {"fit --model llama-3.3-70b-instruct --instance-type Standard_NC24ads_A100_v4 --nodes 1", exitRefused},
		"Misuse":  {"fit --model llama-9 --instance-type Standard_NC24ads_A100_v4", exitFailed},
		"SKUs":    {"skus --max-usd 1", exitOK},
		"Presets": {"presets nonsense-of-a-name", exitFailed},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if got := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), &stdout, &stderr); got != c.want {
				t.Errorf("espalier %s exits with %d, want %d\n%s%s", c.args, got, c.want, &stdout, &stderr)
			}
			if lines := strings.Count(stderr.String(), "\n"); c.want == exitFailed && lines != 1 {
				t.Errorf("misuse is one line, not %d: %s", lines, &stderr)
			}
		})
	}
}

func TestFitJSON(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		args   []string
		keys   []string // of perGPU
		want   v1alpha1.Verdict
		err    error
	}{
		"Serving": {
			reason: "serving has a cache", args: []string{"--model", "phi-4-mini-instruct", "--instance-type", "Standard_NC24ads_A100_v4"},
			keys: []string{"budgetBytes", "weightsBytes", "kvCacheBytes", "activationBytes", "overheadBytes", "totalBytes"}, want: v1alpha1.Fits,
		},
		"Tuning": {
			reason: "tuning adds adapter, optimizer and logits",
			args:   []string{"--model", "phi-3-mini-128k-instruct", "--instance-type", "Standard_NC4as_T4_v3", "--tune", "qlora"},
			keys:   []string{"budgetBytes", "weightsBytes", "adapterBytes", "optimizerBytes", "logitsBytes", "activationBytes", "overheadBytes", "totalBytes"},
			want:   v1alpha1.Fits,
		},
		"Refused": {
			reason: "a refusal is JSON as well", args: []string{"--model", "phi-3-mini-128k-instruct", "--instance-type", "Standard_NC6s_v3", "--tune", "qlora"},
			keys: []string{"totalBytes"}, want: v1alpha1.No, err: errRefused,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newFitCommand(), append(c.args, "-o", "json")...)
			if !errors.Is(err, c.err) {
				t.Fatalf("%s: %v\n%s", c.reason, err, out)
			}
			var answer map[string]any
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				t.Fatal(err)
			}
			for _, key := range []string{
				"model", "instanceType", "task", "verdict", "reasons", "nodes", "gpus", "tensorParallel", "pipelineParallel", "dataParallel",
				"perGPU", "kvTokens", "maxContext", "hourlyUSD", "priceDate", "alternatives",
			} {
				if _, ok := answer[key]; !ok {
					t.Errorf("%s: no %s in\n%s", c.reason, key, out)
				}
			}
			memory, _ := answer["perGPU"].(map[string]any)
			for _, key := range c.keys {
				if n, ok := memory[key].(float64); !ok || n <= 0 {
					t.Errorf("%s: perGPU.%s is %v", c.reason, key, memory[key])
				}
			}
			if answer["verdict"] != string(c.want) {
				t.Errorf("%s: verdict %v, want %s", c.reason, answer["verdict"], c.want)
			}
		})
	}
}

func TestFitMisuse(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		args   []string
		says   string
	}{
		"Model":        {"a nonsense model", []string{"--model", "llama-9", "--all"}, `"llama-9" is not in the catalogue: `},
		"NearModel":    {"a near one is named", []string{"--model", "phi-4-mini", "--all"}, "did you mean phi-4-mini-instruct"},
		"Size":         {"a nonsense size", []string{"--model", "phi-4", "--instance-type", "Standard_X"}, `no instance type "Standard_X"`},
		"NearSize":     {"a near one is named", []string{"--model", "phi-4", "--instance-type", "Standard_NC24ads_A100"}, "did you mean Standard_NC24ads_A100_v4"},
		"Flag":         {"a nonsense flag", []string{"--modle", "phi-4"}, "unknown flag: --modle"},
		"Value":        {"a nonsense value", []string{"--model", "phi-4", "--all", "--nodes", "many"}, `"many"`},
		"Method":       {"a nonsense method", []string{"--model", "phi-4", "--all", "--tune", "full"}, `--tune "full": qlora or lora`},
		"Nothing":      {"nothing asked", nil, "one of --model and --model-file is required; one of --instance-type and --all is required"},
		"Both":         {"both asked", []string{"--model", "phi-4", "--all", "--instance-type", "x"}, "one of --instance-type and --all"},
		"Utilisation":  {"more than there is", []string{"--model", "phi-4", "--all", "--gpu-memory-utilization", "1.5"}, "between 0 and 1"},
		"Runtime":      {"a runtime for another task", []string{"--model", "phi-4", "--all", "--runtime", "axolotl"}, "axolotl is for tuning, not for inference"},
		"Budget":       {"no amount", []string{"--model", "phi-4", "--all", "--max-usd-per-hour", "little"}, `--max-usd-per-hour "little"`},
		"RunOfServing": {"serving has no end", []string{"--model", "phi-4", "--all", "--tokens", "5"}, "--tokens is for --tune"},
		"RankOfServe":  {"flags that would be ignored", []string{"--model", "phi-4", "--all", "--rank", "8", "--fused-loss"}, "--rank and --fused-loss are for --tune"},
		"CacheOfTune":  {"a cache that tuning has not", []string{"--model", "phi-4", "--all", "--tune", "lora", "--kv-cache-dtype", "fp8"}, "--kv-cache-dtype is for serving, not for --tune"},
		"CacheOfKAITO": {"a cache that transformers keeps as it likes", []string{"--model", "phi-4", "--all", "--runtime", "kaito-transformers", "--kv-cache-dtype", "fp8"}, "--kv-cache-dtype is vLLM's, not for --runtime kaito-transformers"},
		"ShareOfKAITO": {"memory that nobody sets aside", []string{"--model", "phi-4", "--all", "--runtime", "kaito-transformers", "--kv-cache-dtype", "fp8", "--gpu-memory-utilization", "0.5"}, "--gpu-memory-utilization and --kv-cache-dtype are vLLM's"},
		"Matrix":       {"a matrix the model has not", []string{"--model", "phi-4", "--all", "--tune", "lora", "--target-modules", "q_proj"}, `phi-4 has no matrix "q_proj": down_proj, gate_up_proj`},
		"Region":       {"a nonsense region", []string{"--model", "phi-4", "--all", "--region", "nowhere"}, `--region "nowhere": no price is known there; prices are known for australiacentral, `},
		"NearRegion":   {"a near one is named", []string{"--model", "phi-4", "--all", "--region", "westeurop"}, "did you mean westeurope?"},
		"Nodes":        {"more nodes than there are", []string{"--model", "phi-4", "--all", "--nodes", "99999999"}, "--nodes 99999999: 0 to 1000"},
		"Rank":         {"a rank that no adapter has", []string{"--model", "phi-4", "--all", "--tune", "lora", "--rank", "100000"}, "--rank 100000: 1 to 512"},
		"Letter":       {"a letter is in every name", []string{"--model", "x", "--all"}, "`espalier presets` lists it"},
		"Driver":       {"a version of CUDA", []string{"--model", "phi-4", "--all", "--driver", "13.0"}, `--driver "13.0": a branch such as 580 or a version such as 580.95.05`},
		"MIG":          {"a GPU that cannot be cut", []string{"--model", "phi-4", "--instance-type", "Standard_NC4as_T4_v3", "--mig", "1g"}, `T4 has no MIG profile "1g"`},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newFitCommand(), c.args...)
			if err == nil || errors.Is(err, errRefused) || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one line saying %q", c.reason, err, c.says)
			}
			if out != "" {
				t.Errorf("%s: misuse wrote to stdout: %s", c.reason, out)
			}
		})
	}
}

func TestFitAllIsCheapestFirst(t *testing.T) {
	out, err := execute(newFitCommand(), "--model", "llama-3.1-8b-instruct", "--all", "--cloud", "any", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	var answers []fitAnswer
	if err := json.Unmarshal([]byte(out), &answers); err != nil {
		t.Fatal(err)
	}
	if len(answers) != 116 {
		t.Errorf("%d instance types were compared, want 116", len(answers))
	}
	last := 0.0
	for n, a := range answers {
		if a.Verdict != v1alpha1.Fits && a.Verdict != v1alpha1.Tight {
			break
		}
		if a.HourlyUSD == nil {
			last = 1e9
			continue
		}
		if *a.HourlyUSD < last {
			t.Errorf("row %d, %s, is cheaper than the one before it", n, a.InstanceType)
		}
		last = *a.HourlyUSD
	}
	if out, err = execute(newFitCommand(), "--model", "phi-4", "--all"); err != nil || !strings.Contains(out, "INSTANCE TYPE") {
		t.Errorf("%v\n%s", err, out)
	}
	if _, err = execute(newFitCommand(), "--model", "kimi-k2.6", "--all", "--cloud", "aws", "--nodes", "1", "--context", "262144", "--tensor-parallel", "1"); !errors.Is(err, errRefused) {
		t.Errorf("where nothing works: %v, want %v", err, errRefused)
	}
}

func TestFitBudgetAndRun(t *testing.T) {
	base := []string{"--model", "phi-3-mini-128k-instruct", "--instance-type", "Standard_NC4as_T4_v3", "--tune", "qlora", "--region", "eastus"}
	for name, c := range map[string]struct {
		reason string
		args   []string
		err    error
		says   string
	}{
		"Within":   {"a budget that holds", []string{"--max-usd-per-hour", "0.526"}, nil, "FITS"},
		"Over":     {"a budget that does not", []string{"--max-usd-per-hour", "0.5"}, errRefused, "over budget: $0.526/h"},
		"Measured": {"3.6 million tokens at 1,000 a second are an hour", []string{"--tokens", "3600000", "--tokens-per-second", "1000"}, nil, "$0.53 for 1 h (--tokens-per-second)"},
		"Spot": {
			"nobody publishes what a spot node costs: the list price is the most that it does",
			[]string{"--instance-type", "Standard_NC24ads_A100_v4", "--spot", "--max-usd-per-hour", "100"}, nil, "at most $3.673/h list price",
		},
		"SpotOver": {
			"and is held against the budget", []string{"--instance-type", "Standard_NC24ads_A100_v4", "--spot", "--max-usd-per-hour", "1"}, errRefused, "over budget: $3.673/h list price",
		},
		"SpotRun": {
			"and so is a run", []string{"--spot", "--tokens", "3600000", "--tokens-per-second", "1000"}, nil, "at most $0.53 for 1 h",
		},
		"SpotPrice": {
			"a price that was seen is no bound", []string{"--instance-type", "g2-standard-4", "--region", "us-central1", "--spot"}, nil, "price    $",
		},
		"SpotAll": {
			"in the comparison too", []string{"--instance-type", "", "--all", "--spot"}, nil, "≤ 3.673",
		},
		"SpotJSON": {
			"and for programs", []string{"--spot", "--output", "json"}, nil, `"atMost": true`,
		},
		"Slices": {
			"a run has one slice of each node, whatever a GPU is cut into",
			[]string{"--instance-type", "Standard_NC24ads_A100_v4", "--mig", "3g", "--tokens", "3600000", "--tokens-per-second", "1000"}, nil, "for 1 h (--tokens-per-second)",
		},
		"Range": {"without a measurement a range is stated", []string{"--tokens", "3600000"}, nil, "of the data sheet's 65 TFLOPS"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newFitCommand(), append(base, c.args...)...)
			if !errors.Is(err, c.err) || !strings.Contains(out, c.says) {
				t.Errorf("%s: %v, want %q in\n%s", c.reason, err, c.says, out)
			}
		})
	}
}

func TestBar(t *testing.T) {
	const gib = 1 << 30
	for name, c := range map[string]struct {
		reason string
		memory fit.Memory
		want   string
	}{
		"Free": {
			"what is free is dots", fit.Memory{Budget: 56 * gib, Weights: 20 * gib, KVCache: 8 * gib, Total: 28 * gib},
			"[" + strings.Repeat("W", 20) + strings.Repeat("K", 8) + strings.Repeat("·", 28) + "|]",
		},
		"Over": {
			"the stroke is where the budget ends", fit.Memory{Budget: 28 * gib, Weights: 50 * gib, Overhead: 6 * gib, Total: 56 * gib},
			"[" + strings.Repeat("W", 28) + "|" + strings.Repeat("W", 22) + strings.Repeat("R", 6) + "]",
		},
		"Small": {
			"the smallest part has a letter", fit.Memory{Budget: 56 * gib, Weights: 56*gib - 2, KVCache: 1, Overhead: 1, Total: 56 * gib},
			"[" + strings.Repeat("W", 54) + "KR|]",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got, _, _ := strings.Cut(strings.TrimSpace(bar(c.memory)), "  "); got != c.want {
				t.Errorf("%s:\n%s\nwant\n%s", c.reason, got, c.want)
			}
		})
	}
}

func TestSKUs(t *testing.T) {
	for name, c := range map[string]struct {
		reason      string
		args        []string
		has, hasNot string
	}{
		"Cloud":       {"one cloud", []string{"--cloud", "gcp"}, "g2-standard-4", "Standard_NC4as_T4_v3"},
		"GPU":         {"one GPU", []string{"--gpu", "a100"}, "Standard_NC24ads_A100_v4", "T4"},
		"MaxUSD":      {"up to a price", []string{"--cloud", "azure", "--max-usd", "1"}, "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4"},
		"MinMemory":   {"with so much memory in all", []string{"--cloud", "azure", "--min-memory", "300"}, "Standard_NC96ads_A100_v4", "Standard_NC48ads_A100_v4"},
		"Retired":     {"retired since when", []string{"--gpu", "V100"}, "retired 2025-09-30", ""},
		"Schedulable": {"only what can be had", []string{"--cloud", "azure", "--schedulable"}, "Standard_NC4as_T4_v3", "Standard_NC6s_v3"},
		"Unknown":     {"an unknown number of GPUs is no zero", []string{"--gpu", "RTX"}, "? × RTX-PRO-6000-BSE-96GB", "0 × "},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newSKUsCommand(), c.args...)
			if err != nil || !strings.Contains(out, c.has) || c.hasNot != "" && strings.Contains(out, c.hasNot) {
				t.Errorf("%s: %v, want %q and not %q:\n%s", c.reason, err, c.has, c.hasNot, out)
			}
		})
	}
	out, err := execute(newSKUsCommand(), "-o", "json")
	var all []skuAnswer
	if err != nil || json.Unmarshal([]byte(out), &all) != nil || len(all) != 116 {
		t.Errorf("as JSON: %v, %d types", err, len(all))
	}
	for flag, nonsense := range map[string]string{"--cloud": "oracle", "--gpu": "Voodoo", "--region": "nowhere", "--min-memory": "-1", "--max-usd": "much", "--output": "yaml"} {
		if out, err := execute(newSKUsCommand(), flag, nonsense); err == nil || strings.Contains(err.Error(), "\n") || out != "" {
			t.Errorf("%s %s: %v, want one line\n%s", flag, nonsense, err, out)
		}
	}
}

func TestPresets(t *testing.T) {
	out, err := execute(newPresetsCommand())
	if err != nil || !strings.Contains(out, "phi-3-mini-128k-instruct") || strings.Count(out, "\n") != 61 {
		t.Errorf("the list: %v\n%s", err, out)
	}
	out, err = execute(newPresetsCommand(), "Phi-4", "-o", "json")
	var one presetAnswer
	if err != nil || json.Unmarshal([]byte(out), &one) != nil || one.ID != "microsoft/phi-4" || !one.Tunable {
		t.Errorf("one: %v\n%s", err, out)
	}
	if _, err = execute(newPresetsCommand(), "phi-44"); err == nil || !strings.Contains(err.Error(), "did you mean phi-4") {
		t.Errorf("a nonsense name: %v", err)
	}
}

func TestLockThenFit(t *testing.T) {
	dir := t.TempDir()
	config, file := filepath.Join(dir, "config.json"), filepath.Join(dir, "model.yaml")
	text := `{"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
		"num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072, "tie_word_embeddings": false}`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := execute(newPresetsCommand(), "lock", "someone/my-llama", "--from", config, "--size", "14.96GiB", "--output", file); err != nil {
		t.Fatal(err)
	}
	mine, err := execute(newFitCommand(), "--model-file", file, "--instance-type", "Standard_NC24ads_A100_v4", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	known, err := execute(newFitCommand(), "--model", "llama-3.1-8b-instruct", "--instance-type", "Standard_NC24ads_A100_v4", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.ReplaceAll(known, "llama-3.1-8b-instruct", "my-llama"); mine != want {
		t.Errorf("the locked model is judged otherwise:\n%s\nwant\n%s", mine, want)
	}
	for _, args := range [][]string{{"lock", "a/b"}, {"lock", "nonsense", "--from", config}, {"lock", "a/b", "--from", config, "--size", "big"}} {
		if _, err := execute(newPresetsCommand(), args...); err == nil {
			t.Errorf("%v was accepted", args)
		}
	}
}

// TestFitDriver: nodes of one's own have the driver that they have, and not the cloud's.
func TestFitDriver(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		args   []string
		says   string
		want   error
	}{
		"Serves":    {"the image for older drivers", []string{"--instance-type", "Standard_NC24ads_A100_v4", "--driver", "570"}, "vllm 0.26.0 (CUDA 12.9)", nil},
		"Newer":     {"not AKS's 570", []string{"--instance-type", "Standard_NV36ads_A10_v5", "--driver", "580.95.05"}, "vllm 0.26.0 (CUDA 13.0)", nil},
		"DoesNot":   {"Axolotl needs more", []string{"--instance-type", "Standard_NC24ads_A100_v4", "--tune", "qlora", "--driver", "570"}, "the driver of the nodes is 570; the image axolotl", errRefused},
		"OfEvery":   {"whichever size they are like", []string{"--all", "--tune", "qlora", "--driver", "570"}, "NO", errRefused},
		"OfTrainer": {"KAITO's needs less", []string{"--instance-type", "Standard_NC24ads_A100_v4", "--tune", "qlora", "--driver", "570", "--runtime", "kaito"}, "kaito 0.5.0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := execute(newFitCommand(), append([]string{"--model", "phi-4-mini-instruct"}, c.args...)...)
			if !errors.Is(err, c.want) || !strings.Contains(strings.ToLower(out), strings.ToLower(c.says)) {
				t.Errorf("%s: %v, want %q:\n%s", c.reason, err, c.says, out)
			}
		})
	}
}
