// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// onKaito serves with KAITO's base image.
func onKaito(w *v1alpha1.Workspace) {
	w.Spec.Runtime = &v1alpha1.RuntimeSpec{
		Name: "kaito", Version: "0.5.0", CUDA: "12.9", Image: "registry.example.com/kaito-base@sha256:" + strings.Repeat("0", 64),
	}
}

// TestKaito: what is known of KAITO's base image is held to, and what is not known
// is not taken for granted.
func TestKaito(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		config    string
		refused   bool
		says      string
	}{
		"OlderDriver":  {"it is built with CUDA 12.9", serving("Standard_NV36ads_A10_v5", onKaito), "", false, ""},
		"NoImage":      {"nobody knows which one is meant", serving("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) { w.Spec.Runtime.Image, w.Spec.Runtime.CUDA = "", "" }), "", true, "no digest of KAITO's base image"},
		"OtherVersion": {"its program is known for one version", serving("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) { w.Spec.Runtime.Version = "0.4.0" }), "", true, "versions: 0.5.0"},
		"Tuning":       {"it has a trainer too", tuning("Standard_NC24ads_A100_v4", onKaito), "", false, ""},
		"SeveralNodes": {"its mode for several nodes is another", serving("Standard_NC4as_T4_v3", onKaito, preset("phi-4"), func(w *v1alpha1.Workspace) { w.Spec.Resource.Count = 3 }), "", true, "GiB"},
		"Argument":     {"arguments are held to the vLLM that is in it", serving("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) { w.Spec.Inference.Config = "c" }), "vllm: {max-num-seq: 4}", true, "max-num-seqs"},
	} {
		t.Run(name, func(t *testing.T) {
			facts := check.Facts{}
			if tc.config != "" {
				facts.ConfigMaps = map[string]map[string]string{"c": {"inference_config.yaml": tc.config}}
			}
			a := check.Workspace(tc.workspace, facts, nil)
			said := ""
			for _, f := range a.Findings {
				if f.Severity == "error" {
					said += f.Message + "\n"
				}
			}
			if a.Refused() != tc.refused || !strings.Contains(said, tc.says) {
				t.Errorf("%s: refused %v:\n%s", tc.reason, a.Refused(), said)
			}
		})
	}
}

// onTransformers serves with the transformers engine of KAITO's base image.
func onTransformers(w *v1alpha1.Workspace) {
	onKaito(w)
	w.Spec.Runtime.Name = "kaito-transformers"
	w.Spec.Inference.Preset = "phi-3-mini-128k-instruct"
}

// TestTransformers: what KAITO's transformers engine serves, and what is said of it.
func TestTransformers(t *testing.T) {
	adapter := func(w *v1alpha1.Workspace) {
		w.Spec.Inference.Adapters = []v1alpha1.Adapter{{Name: "a", Claim: "c", Strength: "0.5"}}
	}
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		refused   bool
		codes     []string
	}{
		"Serves":       {"the whole of a request fits", serving("Standard_NC24ads_A100_v4", onTransformers), false, nil},
		"Merges":       {"whether PEFT of the image reads an adapter is not known", serving("Standard_NC24ads_A100_v4", onTransformers, adapter), false, []string{"AdapterFormat"}},
		"Unbounded":    {"a longer request ends the process", serving("Standard_NV36ads_A10_v5", onTransformers), false, []string{"ContextUnbounded"}},
		"NoParameters": {"KAITO's admission refuses a preset without", serving("Standard_NC24ads_A100_v4", onTransformers, preset("phi-4-mini-instruct")), true, []string{"RuntimeUnsupported"}},
		"NoImage":      {"nobody knows which one is meant", serving("Standard_NC24ads_A100_v4", onTransformers, func(w *v1alpha1.Workspace) { w.Spec.Runtime.Image, w.Spec.Runtime.CUDA = "", "" }), true, []string{"ImageInvalid"}},
		"SeveralNodes": {"it has one", serving("Standard_NC24ads_A100_v4", onTransformers, preset("llama-3.3-70b-instruct"), func(w *v1alpha1.Workspace) {
			w.Spec.Inference.AccessSecret, w.Spec.Resource.Count = "hf", 2
		}), true, []string{"DoesNotFit"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, check.Facts{}, nil)
			var codes []string
			for _, f := range a.Findings {
				codes = append(codes, f.Code)
			}
			if a.Refused() != tc.refused || !slices.Equal(codes, tc.codes) {
				t.Errorf("%s: refused %v: %v", tc.reason, a.Refused(), a.Findings)
			}
		})
	}
}

// TestKaitoKnowsItsModels: each model of the catalogue is served by the vLLM in
// the image, or refused in a sentence.
func TestKaitoKnowsItsModels(t *testing.T) {
	kaito, _ := runtimes.Lookup(runtimes.KAITO, "", "")
	var unknown []string
	for _, p := range presets.All() {
		if !kaito.Serves(p.Architecture) {
			unknown = append(unknown, p.Name())
		}
	}
	t.Logf("not known to it: %v", unknown)
	for _, p := range presets.All() {
		w := serving("Standard_ND96isr_H200_v5", onKaito, preset(p.ID), func(w *v1alpha1.Workspace) { w.Spec.Inference.AccessSecret = "hf" })
		a := check.Workspace(w, check.Facts{}, nil)
		refused := slices.ContainsFunc(a.Findings, func(f v1alpha1.Finding) bool {
			return f.Code == check.UnknownRuntime && strings.Contains(f.Message, "architecture")
		})
		if refused != slices.Contains(unknown, p.Name()) {
			t.Errorf("%s: refused for its architecture: %v", p.Name(), refused)
		}
	}
}
