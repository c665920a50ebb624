// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestKaitoTrainer: what KAITO's trainer cannot do is said before a node is paid for.
func TestKaitoTrainer(t *testing.T) {
	urls := func(list ...string) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) { w.Spec.Tuning.Input = v1alpha1.DataSource{URLs: list} }
	}
	config := func(w *v1alpha1.Workspace) { w.Spec.Tuning.Config = "c" }
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		config    string
		refused   bool
		says      string // in a finding of any severity
	}{
		"Works":       {"the catalogue has its model, the GPU its arithmetic", tuning("Standard_NC24ads_A100_v4", onKaito), "", false, "begins again from the base model"},
		"OlderDriver": {"it is built with CUDA 12.9", tuning("Standard_NV36ads_A10_v5", onKaito), "", false, ""},
		"OlderGPU":    {"TRL keeps adapters in bfloat16", tuning("Standard_NC4as_T4_v3", onKaito), "", true, "needs 8.0 or newer"},
		"ImageEncoder": {"its matrices have the same names", tuning("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) {
			w.Spec.Tuning.Preset, w.Spec.Tuning.AccessSecret = "gemma-3-4b-instruct", "hf"
		}), "", true, "image encoder"},
		"NoImage":   {"nobody knows which one is meant", tuning("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) { w.Spec.Runtime.Image, w.Spec.Runtime.CUDA = "", "" }), "", true, "no digest of KAITO's base image"},
		"OneFile":   {"of several the trainer takes whichever comes first", tuning("Standard_NC24ads_A100_v4", onKaito, urls("https://a.example.com/a.jsonl", "https://a.example.com/b.jsonl")), "", true, "reads one file, and here are 2 (a.jsonl, b.jsonl)"},
		"NamedFile": {"the configuration says which", tuning("Standard_NC24ads_A100_v4", onKaito, config, urls("https://a.example.com/a.jsonl", "https://a.example.com/b.jsonl")), "training_config: {DatasetConfig: {dataset_path: data/b.jsonl}}", false, ""},
		"Text":      {"the trainer does not read it", tuning("Standard_NC24ads_A100_v4", onKaito, urls("https://a.example.com/a.txt")), "", true, "reads no text files"},
		"HeldOut":   {"nothing is measured on it", tuning("Standard_NC24ads_A100_v4", onKaito, config), "training_config: {DatasetConfig: {train_test_split: 0.8}}", false, "measures nothing on it"},
		"Fused":     {"KAITO's example names matrices that Phi-3 does not have", tuning("Standard_NC24ads_A100_v4", onKaito, config), "training_config: {LoraConfig: {target_modules: [q_proj, o_proj]}}", false, "q_proj is part of qkv_proj"},
		"Zones": {"a disk of one zone holds nothing to go on from, and holds the next pod all the same", tuning("Standard_NC24ads_A100_v4", onKaito, func(w *v1alpha1.Workspace) {
			w.Spec.Resource = v1alpha1.ResourceSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4", Zones: []string{"1", "2"}}}}
			w.Spec.Tuning.Checkpoints = &v1alpha1.Checkpoints{StorageClass: "managed-csi"}
		}), "", false, "the next pod of a run, which begins again, starts only where its volume can be mounted"},
		"TooLong": {"its length is in the sum", tuning("Standard_NV36ads_A10_v5", onKaito, config), "training_config: {TrainingArguments: {max_length: 65536}}", true, "GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			facts := check.Facts{}
			if tc.config != "" {
				facts.ConfigMaps = map[string]map[string]string{"c": {"training_config.yaml": tc.config}}
			}
			a := check.Workspace(tc.workspace, facts, nil)
			said := ""
			for _, f := range a.Findings {
				said += f.Severity + " " + f.Message + "\n"
			}
			if a.Refused() != tc.refused || !strings.Contains(said, tc.says) {
				t.Errorf("%s: refused %v:\n%s", tc.reason, a.Refused(), said)
			}
		})
	}
}
