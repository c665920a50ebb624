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
	if c.registry != nil {
		c.mirrored(out, options)
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
	streamURL       = "inference.kaito.sh/stream-datarefs-url"
	streamClient    = "inference.kaito.sh/stream-identity-client-id"
	streamingDomain = "inference.kaito.sh/"
)

// streamCore are the annotations that KAITO demands of a static mirror.
var streamCore = []string{streamURL, streamClient, streamSource}

// streams answers the annotations of KAITO's streaming together: what one of them
// means depends on the others.
func (c *converter) streams(all map[string]string, path string, tunes bool) {
	keys := slices.Sorted(maps.Keys(all))
	if all[streaming] != "" && all[streaming] != "disabled" {
		c.warn(finding.AnnotationIgnored, finding.Key(path, streaming), "ignored: only disabled has a meaning")
	}
	off := all[streaming] == "disabled" || all[runtimeName] == "transformers" || tunes
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
		c.warn(finding.AnnotationIgnored, field, "ignored, as KAITO does: nothing is streamed where streaming is disabled, the transformers engine serves, or a model is tuned")
	case key == mirrorClass:
		c.warn(finding.AnnotationIgnored, field, "no mirror is made: the weights are downloaded by each pod; to download them once, declare a PersistentVolumeClaim of class %.100q with access mode ReadWriteMany "+
			"beside this document, and name it in presetOptions.modelWeightsPVC: the first pod fills it", value)
	default:
		c.warn(finding.AnnotationIgnored, field, "no mirror is made, and nothing signs in to one: weights in a container of your own are spec.inference.weights of an espalier.dev/v1alpha1 Workspace "+
			"(espalier convert), with url, storageAccount and serviceAccountName: %.100q", value)
	}
}

// staticMirror reads a version of a model in a registry of Azure.
func (c *converter) staticMirror(all map[string]string, path string) {
	field := finding.Key(path, staticMirror)
	for _, key := range streamCore {
		if all[key] == "" {
			c.refuse(finding.AnnotationInvalid, field, "KAITO refuses it without %s: add it, or remove the annotations of %s", key, streamingDomain)
			return
		}
	}
	if !c.oneOf(all[streamSource], finding.Key(path, streamSource), "public", "byo") {
		return
	}
	registry := v1alpha1.ModelRegistry{URL: all[streamURL], ClientID: all[streamClient]}
	if registry.Public() != (all[streamSource] == "public") {
		c.refuse(finding.AnnotationInvalid, finding.Key(path, streamURL), "addresses of a public registry have /datarefs/ in them, and others have not: KAITO's pod fails at this one, which is said to be %s", all[streamSource])
		return
	}
	c.registry, c.account = &registry, all[streamAccount]
	if all[mirrorClass] != "" {
		c.warn(finding.AnnotationIgnored, finding.Key(path, mirrorClass), "ignored, as KAITO does: a static mirror has no claim")
	}
}

// mirrored puts the version of a registry in the place of every other way to weights, as
// KAITO does.
func (c *converter) mirrored(out *v1alpha1.InferenceSpec, options string) {
	const why = "ignored beside " + staticMirror + ": the files come from the registry"
	if out.Cache != nil {
		c.warn(finding.AnnotationIgnored, options+"modelWeightsPVC", why)
	}
	if out.AccessSecret != "" {
		c.warn(finding.AnnotationIgnored, options+"modelAccessSecret", why)
	}
	if c.local != "" {
		c.warn(finding.AnnotationIgnored, c.local, why)
	}
	out.Cache, out.AccessSecret, c.local = nil, "", ""
	out.Weights = &v1alpha1.Weights{Registry: c.registry, ServiceAccountName: c.account}
}
