// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Annotations of keda-kaito-scaler, which makes a ScaledObject of an InferenceSet that
// has them (https://github.com/kaito-project/keda-kaito-scaler).
const (
	scaleDomain    = "scaledobject.kaito.sh/"
	scaleOn        = scaleDomain + "auto-provision"
	scaleMetric    = scaleDomain + "metricName"
	scaleThreshold = scaleDomain + "threshold"

	waitingMetric = "vllm:num_requests_waiting"
)

// scale reads what keda-kaito-scaler would make of a set: copies by the queue, from one
// to as many as nodeCountLimit has nodes.
func (c *converter) scale(in InferenceSet) *v1alpha1.Autoscale {
	all := in.Metadata.Annotations
	if all[scaleOn] != "true" {
		return nil
	}
	field := func(key string) string { return finding.Key("metadata.annotations", key) }
	limit := in.Spec.NodeCountLimit
	threshold, err := strconv.ParseInt(all[scaleThreshold], 10, 32)
	switch {
	case c.transformers != "":
		c.warn(finding.AnnotationIgnored, field(scaleOn), "the set keeps spec.replicas: keda-kaito-scaler counts what vLLM says of its queue, and the transformers engine says nothing")
		return nil
	case err != nil || threshold < 1:
		c.warn(finding.AnnotationIgnored, field(scaleOn), "the set keeps spec.replicas: keda-kaito-scaler needs %s, a whole number above 0, of requests that wait for each copy", scaleThreshold)
		return nil
	case all[scaleMetric] != "" && all[scaleMetric] != waitingMetric:
		c.warn(finding.AnnotationIgnored, field(scaleMetric), "the set keeps spec.replicas: copies follow %s here, and other metrics are a matter of spec.inference.autoscale of an espalier.dev/v1alpha1 Workspace (espalier convert)", waitingMetric)
		return nil
	case limit < 1:
		c.warn(finding.AnnotationIgnored, field(scaleOn), "the set keeps spec.replicas: name the greatest number of copies in spec.nodeCountLimit, which keda-kaito-scaler reads, and it scales")
		return nil
	}
	if limit > maxCopies {
		c.refuse(finding.OutOfRange, "spec.nodeCountLimit", "want 1 to %d copies", maxCopies)
		return nil
	}
	return &v1alpha1.Autoscale{MaxReplicas: int32(limit), WaitingRequests: new(int32(threshold))}
}

// unscaled answers the annotations where nothing reads them: on a Workspace and a
// template, and on a set that does not ask for it.
func (c *converter) unscaled(all map[string]string, path string) {
	if c.kind == inferenceSetKind && path == "metadata.annotations" && all[scaleOn] == "true" {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if strings.HasPrefix(key, scaleDomain) {
			c.warn(finding.AnnotationIgnored, finding.Key(path, key), "ignored, as keda-kaito-scaler does: it reads %s: \"true\" of an InferenceSet", scaleOn)
		}
	}
}
