// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// weights says where those of a preset come from: KAITO's claim is the directory that
// vLLM downloads into, and so is ours. What the annotations say was read before.
func (c *converter) weights(out *v1alpha1.InferenceSpec, o PresetOptions, options string) {
	out.PerformanceMode = c.mode
	switch {
	case o.ModelWeightsPVC == "" && o.ModelWeightsSubPath != "":
		c.refuse(finding.WeightsClaim, options+"modelWeightsSubPath", "is a folder of modelWeightsPVC, and KAITO refuses it without: name the claim, or remove it")
	case o.ModelWeightsPVC != "":
		folder := o.ModelWeightsSubPath
		if folder == "" {
			folder = "."
		}
		out.Cache = &v1alpha1.WeightCache{Claim: o.ModelWeightsPVC, Path: strings.TrimSuffix(folder, "/")}
	}
	if c.local == "" {
		return
	}
	if out.Cache != nil {
		c.warn(finding.AnnotationIgnored, options+"modelWeightsPVC", "ignored, as KAITO does beside kaito.sh/use-local-weights: the folder of the node is read")
		out.Cache = nil
	}
	if out.AccessSecret != "" {
		c.warn(finding.AnnotationIgnored, options+"modelAccessSecret", "ignored beside kaito.sh/use-local-weights: nothing is downloaded")
		out.AccessSecret = ""
	}
	out.Weights = &v1alpha1.Weights{Local: localFolder(out.Preset), Stream: true}
}

// localFolder is what KAITO calls the folder of a preset below the directory of the
// nodes that holds weights.
func localFolder(preset string) string {
	return strings.NewReplacer("/", "-", `\`, "-").Replace(strings.ToLower(preset))
}

// localWeights reads the folder of the node, where a model is served.
func (c *converter) localWeights(value, field string, tunes bool) {
	switch {
	case !c.oneOf(value, field, "true", "false") || value == "false":
	case tunes:
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: a tuning downloads its weights")
	default:
		c.local = field
	}
}

// performanceMode is vLLM's setting.
func (c *converter) performanceMode(value, field string, tunes bool) {
	switch {
	case !c.oneOf(value, field, "balanced", "interactivity", "throughput"):
	case tunes:
		c.warn(finding.AnnotationIgnored, field, "ignored: it is a setting of vLLM, which serves")
	default:
		c.mode, c.modeField = v1alpha1.PerformanceMode(value), field
	}
}

// Annotations of KAITO's streaming.
const (
	runtimeName     = "kaito.sh/runtime"
	streaming       = "kaito.sh/model-streaming"
	mirrorClass     = "kaito.sh/model-mirror-storage-class"
	streamAccount   = "kaito.sh/streaming-service-account"
	staticMirror    = "inference.kaito.sh/static-model-mirror"
	streamSource    = "inference.kaito.sh/stream-source-type"
	streamingDomain = "inference.kaito.sh/"
)

// streamCore are the annotations that KAITO demands of a static mirror.
var streamCore = []string{"inference.kaito.sh/stream-datarefs-url", "inference.kaito.sh/stream-identity-client-id", streamSource}

// streams answers the annotations of KAITO's streaming together: what one of them
// means depends on the others.
func (c *converter) streams(all map[string]string, path string) {
	keys := slices.Sorted(maps.Keys(all))
	if all[streaming] != "" && all[streaming] != "disabled" {
		c.warn(finding.AnnotationIgnored, finding.Key(path, streaming), "ignored: only disabled has a meaning")
	}
	off := all[streaming] == "disabled" || all[runtimeName] == "transformers"
	if all[staticMirror] == "true" && !off {
		c.staticMirror(all, path)
		return
	}
	for _, key := range keys {
		c.unstreamed(key, all[key], finding.Key(path, key), off)
	}
}

// unstreamed answers an annotation of a mirror that is not made; off: KAITO makes
// none either.
func (c *converter) unstreamed(key, value, field string, off bool) {
	switch {
	case strings.HasPrefix(key, streamingDomain):
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: it is read beside %s: \"true\" alone, where streaming is not disabled and vLLM serves", staticMirror)
	case key != mirrorClass && key != streamAccount:
	case off:
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: nothing is streamed where streaming is disabled, or the transformers engine serves")
	case key == mirrorClass:
		c.warn(finding.AnnotationIgnored, field, "no mirror is made: the weights are downloaded by each pod; to download them once, declare a PersistentVolumeClaim of class %.100q with access mode ReadWriteMany "+
			"beside this document, and name it in presetOptions.modelWeightsPVC: the first pod fills it", value)
	default:
		c.warn(finding.AnnotationIgnored, field, "no mirror is made, and nothing signs in to one: weights in a container of your own are spec.inference.weights of an espalier.dev/v1alpha1 Workspace "+
			"(espalier convert), with url, storageAccount and serviceAccountName: %.100q", value)
	}
}

// staticMirror refuses weights whose address is known only to a service that is asked
// at each start of a pod.
func (c *converter) staticMirror(all map[string]string, path string) {
	for _, key := range streamCore {
		if all[key] == "" {
			c.refuse(finding.AnnotationInvalid, finding.Key(path, staticMirror), "KAITO refuses it without %s: add it, or remove the annotations of %s", key, streamingDomain)
			return
		}
	}
	if !c.oneOf(all[streamSource], finding.Key(path, streamSource), "public", "byo") {
		return
	}
	c.refuse(finding.ModelStreaming, finding.Key(path, staticMirror), "which container the weights are in, and the token for it, a service says anew at each start of a pod, so that Git does not say what is served, and no plan can: "+
		"copy the version into a container of your own, and write spec.inference.weights of an espalier.dev/v1alpha1 Workspace (espalier convert, once the annotations are removed) with "+
		"url: az://CONTAINER/PATH, storageAccount, and serviceAccountName of an account that may read it")
}
