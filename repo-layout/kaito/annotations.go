// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// reserved says whether a label or annotation key belongs to KAITO: kaito.sh,
// kaito.io, and every domain below them.
func reserved(key string) bool {
	domain, _, found := strings.Cut(key, "/")
	if !found {
		return false
	}
	for _, own := range []string{"kaito.sh", "kaito.io"} {
		if domain == own || strings.HasSuffix(domain, "."+own) {
			return true
		}
	}
	return false
}

// annotations returns those that are not KAITO's; its own are honoured or
// answered, in the order of their keys.
func (c *converter) annotations(all map[string]string, path string, tunes bool) map[string]string {
	var kept map[string]string
	c.streams(all, path, tunes)
	c.unscaled(all, path)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !reserved(key) {
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = all[key]
			continue
		}
		c.annotation(key, all[key], finding.Key(path, key), tunes)
	}
	return kept
}

// written lists annotations that KAITO's controllers write.
var written = []string{"workspace.kaito.io/hash", "workspace.kaito.io/revision", "kaito.sh/upgrade-start-time"}

func (c *converter) annotation(key, value, field string, tunes bool) {
	ignored := func(why string) { c.warn(finding.AnnotationIgnored, field, "ignored: %s", why) }
	switch key {
	case "kaito.sh/enablelb":
		c.loadBalancer(value, field, tunes)
	case runtimeName:
		c.runtime(value, field, tunes)
	case "kaito.sh/disable-benchmark", "kaito.sh/run-benchmark":
		c.benchmark(key, value, field)
	case "kaito.sh/bypass-resource-checks":
		ignored("the memory check is shown with its sum and is not bypassed; shorten spec.inference.contextLength of an espalier.dev/v1alpha1 Workspace where it is tight")
	case "kaito.sh/node-image-family":
		if c.oneOf(value, field, "ubuntu", "azurelinux") {
			ignored("the node image is chosen with the instance type")
		}
	case "kaito.sh/node-class-name":
		ignored("a node class is spec.karpenter.nodeClassRef of a GPUNodePool, which an espalier.dev/v1alpha1 Workspace (espalier convert) shares by spec.resource.nodePool; else the controller's own is used")
	case "kaito.sh/performance-mode":
		c.performanceMode(value, field, tunes)
	case "kaito.sh/use-local-weights":
		c.localWeights(value, field, tunes)
	case streaming, mirrorClass, streamAccount: // streams
	default:
		c.otherAnnotation(key, field)
	}
}

func (c *converter) otherAnnotation(key, field string) {
	switch {
	case slices.Contains(written, key):
		c.warn(finding.ServerField, field, "ignored: KAITO's controller writes it; remove it from Git")
	case strings.HasPrefix(key, scaleDomain): // scale
	case strings.HasPrefix(key, streamingDomain): // streams
	default:
		c.warn(finding.AnnotationIgnored, field, "ignored: no annotation of KAITO's that Espalier knows; remove it")
	}
}

// oneOf refuses what KAITO's admission refuses, and says whether it did not.
func (c *converter) oneOf(value, field string, allowed ...string) bool {
	if slices.Contains(allowed, value) {
		return true
	}
	c.refuse(finding.AnnotationInvalid, field, "KAITO accepts one of %s; remove the annotation", strings.Join(allowed, ", "))
	return false
}

// loadBalancer: exactly "True" makes KAITO's Service a load balancer.
func (c *converter) loadBalancer(value, field string, tunes bool) {
	switch {
	case tunes:
		c.warn(finding.AnnotationIgnored, field, "ignored: a tuning run has no Service")
	case value != "True":
		c.warn(finding.AnnotationIgnored, field, `ignored: only the value "True" has a meaning`)
	default:
		c.warn(finding.ExposedService, field, "the Service becomes a load balancer: the model answers whoever reaches its address, and asks for no key; "+
			"where that is not meant, remove the annotation; spec.inference.route of an espalier.dev/v1alpha1 Workspace (espalier convert) publishes it through a Gateway")
		c.out.Spec.Patches = append(c.out.Spec.Patches, v1alpha1.Patch{
			Target: &v1alpha1.PatchTarget{Kind: "Service"},
			Patch:  "- op: add\n  path: /spec/type\n  value: LoadBalancer\n",
		})
	}
}

// benchmark: Espalier never holds readiness up with one, so there is nothing to
// turn off.
func (c *converter) benchmark(key, value, field string) {
	if key == "kaito.sh/run-benchmark" && value == "true" {
		c.warn(finding.AnnotationIgnored, field, "ignored: Espalier runs no benchmark before a model is ready")
	}
}

// labels returns those that are not KAITO's. Its own are written by its
// controllers, but for two.
func (c *converter) labels(all map[string]string, path string) map[string]string {
	var kept map[string]string
	for _, key := range slices.Sorted(maps.Keys(all)) {
		field := finding.Key(path, key)
		switch {
		case key == "kaito.sh/inference-role":
			c.refuse(finding.KindNotSupported, field, "a prefill or decode role is part of a MultiRoleInference, which Espalier does not run: remove the label and the model is served whole")
		case key == "kaito.sh/upgrade-to-version":
			c.warn(finding.AnnotationIgnored, field, "ignored: set spec.runtime.version of an espalier.dev/v1alpha1 Workspace to move to another runtime")
		case reserved(key):
			c.warn(finding.ServerField, field, "ignored: KAITO's controllers write it; remove it from Git")
		default:
			if kept == nil {
				kept = map[string]string{}
			}
			kept[key] = all[key]
		}
	}
	return kept
}
