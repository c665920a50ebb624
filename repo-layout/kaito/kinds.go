// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"maps"
	"slices"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
)

// instead says what to do for each kind of kaito.sh that is not converted.
var instead = map[string]string{
	"RAGEngine": "Espalier serves models and tunes them, and has no retrieval: run the RAG service of your choice as a Deployment that Flux or kubectl applies, " +
		"and point it at the endpoint in the status of a Workspace",
	"MultiRoleInference": "Espalier does not split prefill and decode over nodes: write a Workspace with inference.preset.name set to its model and as many replicas as needed",
	"ModelMirror": "A claim does the same: declare a PersistentVolumeClaim with its class and size and access mode ReadWriteMany, and name it in presetOptions.modelWeightsPVC of the " +
		"documents that serve the model: the first pod fills it. A claim that a mirror has filled is spec.inference.weights of an espalier.dev/v1alpha1 Workspace, with claim and path; " +
		"in mode Static, annotations of inference.kaito.sh on those documents",
}

// Unsupported answers a kind of kaito.sh that is not converted.
func Unsupported(kind string) finding.Problem {
	if remedy, known := instead[kind]; known {
		return finding.Errorf(finding.KindNotSupported, "kind", "kaito.sh %s is not run by Espalier. %s", kind, remedy)
	}
	known := append(slices.Sorted(maps.Keys(instead)), workspaceKind, inferenceSetKind)
	if near := strict.Nearest(kind, known); near != "" {
		return finding.Errorf(finding.KindNotAllowed, "kind", "kaito.sh has no such kind: did you mean %s?", near)
	}
	return finding.Errorf(finding.KindNotAllowed, "kind", "kaito.sh has no such kind that Espalier knows; converted are Workspace and InferenceSet")
}
