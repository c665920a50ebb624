// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Lengths of a reference and a version in the CRD.
const (
	maxRuntimeImage = 512
	maxVersion      = 64
)

var (
	cudaVersion = regexp.MustCompile(`^1[23]\.[0-9]$`)
	byDigest    = regexp.MustCompile(`^[^\s@]+@sha256:[0-9a-f]{64}$`)
)

func (v *validator) imageVolumes(path string, i v1alpha1.ImageVolumes) {
	switch i {
	case "", v1alpha1.ImageVolumesEnabled, v1alpha1.ImageVolumesDisabled:
	default:
		v.refuse(finding.NotOneOf, path, "want Enabled, or Disabled where nodes mount no image: an init container copies it then")
		meant(v, i, v1alpha1.ImageVolumesEnabled, v1alpha1.ImageVolumesDisabled)
	}
}

// runtimeImage checks an image in the place of the pinned one: what runs is pinned
// here too, and its CUDA says which drivers can run it.
func (v *validator) runtimeImage(path string, r v1alpha1.RuntimeSpec) {
	if r.CUDA != "" && !cudaVersion.MatchString(r.CUDA) {
		v.refuse(finding.ImageInvalid, path+".cuda", "want CUDA 12 or 13 as major.minor in quotes, such as \"12.9\"")
	}
	if r.Image == "" {
		v.pinnedImage(path, r)
		return
	}
	if r.CUDA == "" {
		v.refuse(finding.ImageInvalid, path+".cuda", "say which CUDA the image was built with, such as \"12.9\": which drivers run it follows from that")
	}
	if r.Mirror != "" {
		v.refuse(finding.ImageInvalid, path+".mirror", "the image says itself where it is pulled from: remove mirror, or name the image there")
	}
	if r.Version == "" {
		v.refuse(finding.ImageInvalid, path+".version", "say which version the image holds: what it is started with is written for one version")
	}
	v.byDigest(path+".image", r.Image)
}

// pinnedImage checks a runtime whose image is left to the pins. That of KAITO's base
// image may come from the RepoSync: package check asks for it.
func (v *validator) pinnedImage(path string, r v1alpha1.RuntimeSpec) {
	if r.CUDA != "" {
		v.refuse(finding.ImageInvalid, path+".image", "cuda is set and belongs to an image: name it, or remove cuda")
	}
}

// kaitoImage checks KAITO's base image among the defaults of a RepoSync.
func (v *validator) kaitoImage(path string, i *v1alpha1.KaitoImage) {
	if i == nil {
		return
	}
	if !cudaVersion.MatchString(i.CUDA) {
		v.refuse(finding.ImageInvalid, path+".cuda", "say which CUDA the image was built with, as major.minor in quotes, such as \"12.9\"")
	}
	if i.Version == "" || len(i.Version) > maxVersion {
		v.refuse(finding.ImageInvalid, path+".version", "say which version the image holds, such as 0.5.0: what it is started with is written for one version")
	}
	v.byDigest(path+".image", i.Image)
}

// byDigest checks an image that runs.
func (v *validator) byDigest(field, image string) {
	v.shorter(field, image, maxRuntimeImage)
	if v.image(field, image, imageRead); !byDigest.MatchString(image) && !strings.Contains(image, "<") {
		v.refuse(finding.ImageInvalid, field, "name it by digest, as @sha256: and 64 hex digits: everything that runs is pinned")
	}
}

// strength is a weight of 0 to 1, in the digits of the CRD.
var strength = regexp.MustCompile(`^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$`)

// transformers judges what only KAITO's transformers engine has, and what it has not.
func (v *validator) transformers(s v1alpha1.WorkspaceSpec) {
	if s.Inference == nil {
		return
	}
	merges := s.Runtime != nil && s.Runtime.Name == kaito.Transformers
	for i, a := range s.Inference.Adapters {
		field := finding.Index("spec.inference.adapters", i) + ".strength"
		switch {
		case a.Strength == "":
		case !merges:
			v.refuse(finding.AdapterStrength, field, "vLLM applies an adapter in full and has no strength: remove it, scale the adapter itself by lora_alpha in its adapter_config.json, or serve with spec.runtime.name: %s, which merges all adapters into the model", kaito.Transformers)
		case !strength.MatchString(a.Strength):
			v.refuse(finding.AdapterStrength, field, "want a number from 0 to 1 with at most 6 decimals, in quotes: \"0.5\"")
		}
	}
	if !merges {
		return
	}
	for _, f := range []struct {
		name, why string
		set       bool
	}{
		{"config", "holds arguments of vLLM", s.Inference.Config != ""},
		{"performanceMode", "is a setting of vLLM", s.Inference.PerformanceMode != ""},
		{"weights", "are read by vLLM alone", s.Inference.Weights != nil},
		{"autoscale", "follows what vLLM says of its queue, and this engine says nothing", s.Inference.Autoscale != nil},
		{"route.inferencePool", "is for endpoint pickers, which read vLLM's metrics, and this engine has none", s.Inference.Route != nil && s.Inference.Route.InferencePool != nil},
		{"template", "is a pod of your own, in which no engine is started", s.Inference.Template != nil},
		{"model", "has no parameters in KAITO, which starts this engine with presets alone", s.Inference.Model != nil},
	} {
		if f.set {
			v.refuse(finding.RuntimeUnsupported, "spec.inference."+f.name, "%s: remove it, or spec.runtime.name: %s", f.why, kaito.Transformers)
		}
	}
}

// kaitoTrainer refuses what KAITO's trainer does not have.
func (v *validator) kaitoTrainer(s v1alpha1.WorkspaceSpec) {
	t := s.Tuning
	if t == nil || s.Runtime == nil || s.Runtime.Name != v1alpha1.RuntimeKAITO {
		return
	}
	kept := t.Kept()
	for _, f := range []struct {
		field, why string
		set        bool
	}{
		{"spec.resource.count", "KAITO's trainer trains on one node: leave it out", s.Resource.Count > 1},
		{"spec.tuning.evaluation", "KAITO's trainer measures nothing: remove it", t.Evaluation != nil},
		{"spec.tuning.input.format", "KAITO's trainer takes the column that DatasetConfig of the configuration names (response_column, messages_column): remove it", t.Input.Format != nil},
		{"spec.tuning.checkpoints.saveSteps", "KAITO's trainer writes no checkpoint: remove it", kept.SaveSteps > 0},
		{"spec.tuning.checkpoints.keep", "KAITO's trainer writes no checkpoint: remove it", kept.Keep > 0},
	} {
		if f.set {
			v.refuse(finding.RuntimeUnsupported, f.field, "%s, or write spec.runtime.name: axolotl", f.why)
		}
	}
}
