// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const hash = "0123456789abcdef0123456789abcdef01234567"

// TestWeights: what is known of weights that are not downloaded.
func TestWeights(t *testing.T) {
	claim := v1alpha1.Weights{Claim: "models", Path: "phi/" + hash}
	for name, tc := range map[string]struct {
		reason   string
		weights  v1alpha1.Weights
		preset   string
		replicas int32
		zones    []string
		facts    check.Facts
		want     string
		revision string
	}{
		"Alone":     {reason: "one node mounts what one node can", weights: claim, replicas: 1, facts: modes("ReadWriteOnce"), revision: hash},
		"Apart":     {reason: "pods on two nodes do not", weights: claim, replicas: 2, facts: modes("ReadWriteOnce"), want: "error WeightsShared", revision: hash},
		"ReadOnly":  {reason: "nobody writes", weights: claim, replicas: 2, facts: modes("ReadOnlyMany"), revision: hash},
		"Unknown":   {reason: "Git need not hold the claim", weights: claim, replicas: 2, want: "warning WeightsShared", revision: hash},
		"Unpinned":  {reason: "another version is no change in Git", weights: v1alpha1.Weights{Claim: "models"}, replicas: 1, want: "warning WeightsUnpinned"},
		"Elsewhere": {reason: "the nodes would be paid and the pod never placed", weights: claim, replicas: 1, zones: []string{"1"}, facts: check.Facts{ClaimZones: []string{"2"}}, want: "error ZoneLocked", revision: hash},
		"SameZone":  {reason: "one of its zones is enough", weights: claim, replicas: 1, zones: []string{"1", "2"}, facts: check.Facts{ClaimZones: []string{"2"}}, revision: hash},
		"Gated":     {reason: "nothing is downloaded, and no token is needed", weights: claim, preset: "llama-3.1-8b-instruct", replicas: 1, revision: hash},
		"Mistral":   {reason: "the streamer would read two copies", weights: v1alpha1.Weights{URL: "s3://models/" + hash}, preset: "ministral-3-3b-instruct", replicas: 1, want: "warning WeightsInvalid", revision: hash},
		"NoHash":    {reason: "longer digits are no commit", weights: v1alpha1.Weights{URL: "s3://models/" + hash + "0"}, replicas: 1, want: "warning WeightsUnpinned"},
		"Registry":  {reason: "its versions do not change", weights: v1alpha1.Weights{Registry: &v1alpha1.ModelRegistry{}, ServiceAccountName: "reader"}, replicas: 1},
		"Anonymous": {reason: "no pod would be let in", weights: v1alpha1.Weights{Registry: &v1alpha1.ModelRegistry{}}, replicas: 1, want: "error WeightsInvalid"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving("Standard_NC24ads_A100_v4", replicas(tc.replicas), func(w *v1alpha1.Workspace) {
				w.Spec.Inference.Weights, w.Spec.Inference.Revision = &tc.weights, ""
				if tc.preset != "" {
					w.Spec.Inference.Preset = tc.preset
				}
				if tc.zones != nil {
					w.Spec.Resource = v1alpha1.ResourceSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4", Zones: tc.zones}}}
				}
			})
			a := check.Workspace(w, tc.facts, nil)
			var got []string
			for _, f := range a.Findings {
				got = append(got, f.Severity+" "+f.Code)
			}
			if strings.Join(got, ", ") != tc.want || a.Refused() != strings.HasPrefix(tc.want, finding.Error) || a.Resolved.ModelRevision != tc.revision {
				t.Errorf("%s: %v of %q, want %q of %q", tc.reason, a.Findings, a.Resolved.ModelRevision, tc.want, tc.revision)
			}
		})
	}
}

func modes(list ...string) check.Facts {
	return check.Facts{ClaimModes: map[string][]string{"models": list}}
}

// TestStreamedBy: what reads an object store is no matter of the configuration, by
// which the pod would look for the address on its disk.
func TestStreamedBy(t *testing.T) {
	claim, url := v1alpha1.Weights{Claim: "models", Path: hash}, v1alpha1.Weights{URL: "s3://models/" + hash}
	streamed := claim
	streamed.Stream = true
	for name, tc := range map[string]struct {
		reason, format string
		weights        v1alpha1.Weights
		refused        bool
	}{
		"Other":    {"safetensors are read from a disk", "safetensors", url, true},
		"Contrary": {"the field asks for the streamer", "auto", streamed, true},
		"Same":     {"it says what the field does", "runai_streamer", url, false},
		"Shards":   {"the streamer of weights saved in shards", "runai_streamer_sharded", url, false},
		"Disk":     {"a claim is a disk", "safetensors", claim, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) {
				w.Spec.Inference.Weights, w.Spec.Inference.Revision, w.Spec.Inference.Config = &tc.weights, "", "settings"
			})
			a := check.Workspace(w, check.Facts{ConfigMaps: map[string]map[string]string{"settings": {"inference_config.yaml": "vllm: {load-format: " + tc.format + "}\n"}}}, nil)
			if a.Refused() != tc.refused || tc.refused && a.Findings[0].Code != check.ConfigInvalid {
				t.Errorf("%s: %v", tc.reason, a.Findings)
			}
		})
	}
}

// TestPerformanceMode: vLLM's batch is twice as large for throughput, and so is what
// the fit keeps for it.
func TestPerformanceMode(t *testing.T) {
	sized := func(mode v1alpha1.PerformanceMode, config string) check.Assessment {
		w := serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.PerformanceMode = mode })
		f := check.Facts{}
		if config != "" {
			w.Spec.Inference.Config = "settings"
			f.ConfigMaps = map[string]map[string]string{"settings": {"inference_config.yaml": config}}
		}
		return check.Workspace(w, f, nil)
	}
	plain, doubled := sized("", ""), sized(v1alpha1.ModeThroughput, "")
	if a, b := plain.Candidates[0].Fit.PerGPU.Activation, doubled.Candidates[0].Fit.PerGPU.Activation; b <= a {
		t.Errorf("activations of %d for throughput, and %d without", b, a)
	}
	said := sized("", "vllm: {performance-mode: throughput}\n")
	if said.Candidates[0].Fit.PerGPU != doubled.Candidates[0].Fit.PerGPU {
		t.Error("the configuration says the same as the field, and is sized otherwise")
	}
	two := sized(v1alpha1.ModeBalanced, "vllm: {performance-mode: throughput}\n")
	if len(two.Findings) == 0 || two.Findings[0].Code != check.ConfigInvalid {
		t.Errorf("two modes: %v", two.Findings)
	}
}
