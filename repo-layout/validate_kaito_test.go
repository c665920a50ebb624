// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// TestRuntimeKaito: KAITO's base image has no pin, so the spec has to name it, and
// its programs have not what others have.
func TestRuntimeKaito(t *testing.T) {
	const (
		serves = "  inference: {preset: phi-4}\n"
		tunes  = "  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}}\n"
		image  = `, image: "registry.example.com/kaito-base@sha256:` + "0000000000000000000000000000000000000000000000000000000000000000" + `", cuda: "12.9"`
	)
	for name, tc := range map[string]struct{ reason, runtime, task, want string }{
		"Named":            {"version, image and CUDA say all there is to say", `{name: kaito, version: "0.5.0"` + image + "}", serves, ""},
		"NoImage":          {"the RepoSync may name it, which is not known here", `{name: kaito, version: "0.5.0"}`, serves, ""},
		"Tunes":            {"it has a trainer too", `{name: kaito, version: "0.5.0"` + image + "}", tunes, ""},
		"TransformersTune": {"that program only serves", `{name: kaito-transformers}`, tunes, "spec.runtime.name: kaito-transformers serves and does not tune"},

		"Evaluation": {"the trainer measures nothing", `{name: kaito}`, "  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}, evaluation: {split: '5%'}}\n", "spec.tuning.evaluation: KAITO's trainer measures nothing"},
		"Format":     {"its configuration names the column", `{name: kaito}`, "  tuning: {preset: phi-4, method: qlora, input: {claim: a, format: {type: Text}}, output: {claim: b}}\n", "spec.tuning.input.format: KAITO's trainer takes the column"},
		"SaveSteps":  {"it writes no checkpoint", `{name: kaito}`, "  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}, checkpoints: {saveSteps: 10}}\n", "spec.tuning.checkpoints.saveSteps: KAITO's trainer writes no checkpoint"},
		"Keep":       {"it writes no checkpoint", `{name: kaito}`, "  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}, checkpoints: {keep: 2}}\n", "spec.tuning.checkpoints.keep: KAITO's trainer writes no checkpoint"},
		"Nodes":      {"it has one node", `{name: kaito}`, tunes + "  resource: {instanceType: A, count: 2}\n", "spec.resource.count: KAITO's trainer trains on one node"},

		"Transformers":     {"another program of the same image", `{name: kaito-transformers}`, "  inference: {preset: phi-4, contextLength: 4096, cache: {size: 100Gi}}\n", ""},
		"Strength":         {"it merges adapters, each with a weight", `{name: kaito-transformers}`, adapter("'0.25'"), ""},
		"StrengthTooBig":   {"KAITO takes 0 to 1", `{name: kaito-transformers}`, adapter("'1.5'"), "strength: want a number from 0 to 1"},
		"StrengthNegative": {"KAITO takes 0 to 1", `{name: kaito-transformers}`, adapter("'-0.5'"), "strength: want a number from 0 to 1"},
		"StrengthOfVLLM":   {"vLLM has none", `{name: vllm}`, adapter("'0.5'"), "vLLM applies an adapter in full"},
		"Config":           {"it holds arguments of vLLM", `{name: kaito-transformers}`, "  inference: {preset: phi-4, config: c}\n", "spec.inference.config: holds arguments of vLLM"},
		"Weights":          {"the program reads the hub alone", `{name: kaito-transformers}`, "  inference: {preset: phi-4, weights: {claim: c}}\n", "spec.inference.weights: are read by vLLM alone"},
		"PerformanceMode":  {"it is vLLM's", `{name: kaito-transformers}`, "  inference: {preset: phi-4, performanceMode: balanced}\n", "spec.inference.performanceMode"},
		"Autoscale":        {"the engine has no queue that could be read", `{name: kaito-transformers}`, "  inference: {preset: phi-4, autoscale: {maxReplicas: 2}}\n", "spec.inference.autoscale"},
		"Picker":           {"an endpoint picker reads what this engine does not say", `{name: kaito-transformers}`, "  inference: {preset: phi-4, route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: b}}}}\n", "spec.inference.route.inferencePool: is for endpoint pickers"},
		"Locked":           {"KAITO has parameters for presets alone", `{name: kaito-transformers}`, "  inference: {model: {id: a/b, lock: l}}\n", "spec.inference.model"},
	} {
		t.Run(name, func(t *testing.T) {
			d, found := repolayout.Decode([]byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\n"+
				"spec:\n"+nodes(tc.task)+tc.task+"  runtime: "+tc.runtime+"\n"), nil)
			if d.Workspace != nil {
				found = repolayout.ValidateWorkspace(d.Workspace, nil)
			}
			if tc.want == "" && len(found) > 0 {
				t.Errorf("%s: %v", tc.reason, found)
			}
			if tc.want != "" && (len(found) != 1 || !strings.Contains(found[0].Message, tc.want)) {
				t.Errorf("%s: %v, want %q", tc.reason, found, tc.want)
			}
		})
	}
}

func adapter(strength string) string {
	return "  inference: {preset: phi-4, adapters: [{name: a, claim: c, strength: " + strength + "}]}\n"
}

// nodes are those of a Workspace whose case says nothing of them.
func nodes(task string) string {
	if strings.Contains(task, "  resource:") {
		return ""
	}
	return "  resource: {instanceType: A}\n"
}
