// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"strings"
	"testing"
)

// TestArguments: every version that serves has the list of what it takes, and
// says where it is from.
func TestArguments(t *testing.T) {
	for _, r := range All() {
		if r.Task != Inference {
			continue
		}
		all := r.Arguments()
		if len(all) < 200 {
			t.Errorf("%s %s: %d arguments are known", r.Name, r.Version, len(all))
		}
		text, err := files.ReadFile("arguments/" + r.Name + "-" + r.Version + ".yaml")
		if err != nil || !strings.Contains(string(text), "# Source: ") || !strings.Contains(string(text), "sha256:") {
			t.Errorf("%s %s: the list names no source (%v)", r.Name, r.Version, err)
		}
		for name, a := range all {
			if (a.Type == TypeObject) != (len(a.Keys) > 0) {
				t.Errorf("%s: type %s with %d keys", name, a.Type, len(a.Keys))
			}
		}
	}
}

func TestNearest(t *testing.T) {
	r, _ := Lookup(VLLM, "", "")
	for name, want := range map[string]string{
		"max-modellen": "max-model-len", "gpu-memory-utilisation": "gpu-memory-utilization", "swap-space": "", "x": "",
	} {
		if got := r.Arguments().Nearest(name); got != want {
			t.Errorf("nearest to %s: %q, want %q", name, got, want)
		}
	}
}

func TestArgumentsRefuse(t *testing.T) {
	for reason, text := range map[string]string{
		"a name twice":        "arguments: [{name: a, type: int}, {name: a, type: int}]",
		"an unknown type":     "arguments: [{name: a, type: number}]",
		"no name":             "arguments: [{type: int}]",
		"an unknown property": "arguments: [{name: a, type: int, defualt: 3}]",
	} {
		if _, err := decodeCommand([]byte(text)); err == nil {
			t.Errorf("%s is accepted", reason)
		}
	}
}

// TestServes: what an older vLLM does not know is known not to be known.
func TestServes(t *testing.T) {
	kaito, ok := Lookup(KAITO, "0.5.0", "")
	if !ok || !kaito.Serves("Phi3ForCausalLM") || kaito.Serves("MadeUpForCausalLM") {
		t.Error("the architectures of KAITO's vLLM are not those of its list")
	}
	if newest, _ := Lookup(VLLM, "", ""); !newest.Serves("MadeUpForCausalLM") {
		t.Error("of a version without a list nothing is known")
	}
	for _, argument := range []string{"prefix-match-unit", "enable-moe-shared-loras"} { // of 0.26.0
		if _, has := kaito.Arguments()[argument]; has {
			t.Errorf("vLLM 0.25.1 has no %s", argument)
		}
	}
}

func TestPipelines(t *testing.T) {
	r, _ := Lookup(VLLM, "", "")
	for architecture, want := range map[string]bool{
		"DeepseekV3ForCausalLM": true, "LlamaForCausalLM": true, "NemotronH_Nano_VL_V2": false, "": false,
	} {
		if got := r.Pipelines(architecture); got != want {
			t.Errorf("%q over several nodes: %v, want %v", architecture, got, want)
		}
	}
}
