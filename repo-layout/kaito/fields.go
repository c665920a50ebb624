// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"regexp"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// spelling rewrites a field of our Workspace into the field of a kaito.sh
// Workspace that it was converted from. The first rule that matches holds.
var spelling = []struct {
	native *regexp.Regexp
	kaito  string
}{
	{regexp.MustCompile(`^spec\.resource\.candidates(\[0\](\.instanceType)?)?$`), "resource.instanceType"},
	{regexp.MustCompile(`^spec\.resource\.gpus$`), "resource.partition.count"},
	{regexp.MustCompile(`^spec\.resource\.mig$`), "resource.partition.profile"},
	{regexp.MustCompile(`^spec\.(inference|tuning)\.preset$`), "$1.preset.name"},
	{regexp.MustCompile(`^spec\.(inference|tuning)\.revision$`), "$1.preset"},
	{regexp.MustCompile(`^spec\.(inference|tuning)\.accessSecret$`), "$1.preset.presetOptions.modelAccessSecret"},
	{regexp.MustCompile(`^spec\.inference\.cache\.claim$`), "inference.preset.presetOptions.modelWeightsPVC"},
	{regexp.MustCompile(`^spec\.inference\.cache\.path$`), "inference.preset.presetOptions.modelWeightsSubPath"},
	{regexp.MustCompile(`^spec\.inference\.cache$`), "inference.preset.presetOptions"},
	{regexp.MustCompile(`^spec\.inference\.weights\.registry\.url$`), "metadata.annotations[" + streamURL + "]"},
	{regexp.MustCompile(`^spec\.inference\.weights\.registry\.clientID$`), "metadata.annotations[" + streamClient + "]"},
	{regexp.MustCompile(`^spec\.inference\.weights\.registry$`), "metadata.annotations[" + staticMirror + "]"},
	{regexp.MustCompile(`^spec\.inference\.weights\.serviceAccountName$`), "metadata.annotations[" + streamAccount + "]"},
	{regexp.MustCompile(`^spec\.inference\.weights.*$`), "metadata.annotations[kaito.sh/use-local-weights]"},
	{regexp.MustCompile(`^spec\.inference\.performanceMode$`), "metadata.annotations[kaito.sh/performance-mode]"},
	{regexp.MustCompile(`^spec\.inference\.adapters\[(\d+)\]\.pullSecrets`), "inference.adapters[$1].source.imagePullSecrets"},
	{regexp.MustCompile(`^spec\.inference\.adapters\[(\d+)\]\.claim$`), "inference.adapters[$1].source.volumeSource.persistentVolumeClaim.claimName"},
	{regexp.MustCompile(`^spec\.inference\.adapters\[(\d+)\]\.strength$`), "inference.adapters[$1].strength"},
	{regexp.MustCompile(`^spec\.inference\.adapters\[(\d+)\]\.`), "inference.adapters[$1].source."},
	{regexp.MustCompile(`^spec\.tuning\.(input|output)\.claim$`), "tuning.$1.volumeSource.persistentVolumeClaim.claimName"},
	{regexp.MustCompile(`^spec\.tuning\.input\.files.*$`), "tuning.input.volumeSource"},
	{regexp.MustCompile(`^spec\.tuning\.input\.pullSecrets`), "tuning.input.imagePullSecrets"},
	{regexp.MustCompile(`^spec\.tuning\.output\.pushSecret$`), "tuning.output.imagePushSecret"},
	{regexp.MustCompile(`^spec\.runtime\.(name|version|image|cuda)$`), "metadata.annotations[kaito.sh/runtime]"},
	{regexp.MustCompile(`^spec\.patches.*$`), "metadata.annotations[kaito.sh/enablelb]"},
	{regexp.MustCompile(`^spec(\.|$)`), ""},
}

// Spelling returns how the document that a Workspace was read from spells a
// field: as it is, unless the Workspace was converted.
func Spelling(w *v1alpha1.Workspace, native string) string {
	from := w.Annotations[AnnotationConvertedFrom]
	if from == "" {
		return native
	}
	return Field(from[strings.LastIndexByte(from, ' ')+1:], native)
}

// Field returns how a document of kaito.sh spells a field of the Workspace it
// converts to. kind is Workspace or InferenceSet.
func Field(kind, native string) string {
	if kind == inferenceSetKind {
		switch {
		case native == "spec.inference.replicas":
			return "spec.replicas"
		case native == "spec.inference.autoscale.maxReplicas":
			return "spec.nodeCountLimit"
		case strings.HasPrefix(native, "spec.inference.autoscale"):
			return "metadata.annotations[" + scaleThreshold + "]"
		case strings.HasPrefix(native, "spec.resource.labelSelector"):
			return "spec.labelSelector" + strings.TrimPrefix(native, "spec.resource.labelSelector")
		}
	}
	field := native
	for _, s := range spelling {
		if at := s.native.FindStringSubmatchIndex(native); at != nil {
			field = string(s.native.ExpandString(nil, s.kaito, native, at)) + native[at[1]:]
			break
		}
	}
	if kind == inferenceSetKind && field != native && !strings.HasPrefix(field, "metadata") {
		return strings.TrimSuffix("spec.template."+field, ".")
	}
	return field
}
