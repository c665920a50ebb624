// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDriver: of nodes whose driver no cloud installs Git may say which they have, and of
// others whoever decides is named.
func TestDriver(t *testing.T) {
	const pool = "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec:\n  candidates: [{instanceType: A}]\n"
	const labelled = "labelSelector: {matchLabels: {a: b}}"
	for name, c := range map[string]struct {
		reason, text string
		want         []string
	}{
		"Existing": {reason: "Nodes of one's own.", text: header + "  resource: {instanceType: A, provider: existing, " + labelled + ", driver: '580'}\n" + serves},
		"Left":     {reason: "Whether they exist, the RepoSync or the controller says.", text: header + "  resource: {instanceType: A, " + labelled + ", driver: 580.95.05}\n" + serves},
		"Tuning":   {reason: "A run is on nodes as well.", text: header + "  resource: {instanceType: A, provider: existing, " + labelled + ", driver: '535.104.05'}\n" + tunes + fromURL + intoClaim},
		"Number": {
			reason: "YAML takes a branch for a number.",
			text:   header + "  resource: {instanceType: A, provider: existing, " + labelled + ", driver: 580}\n" + serves,
			want:   []string{"5: error: spec.resource.driver: want text, found a number; put it in quotes (WrongType)"},
		},
		"CUDA": {
			reason: "That is what an image is built with.",
			text:   header + "  resource: {instanceType: A, provider: existing, " + labelled + ", driver: '13.0'}\n" + serves,
			want: []string{"5: error: spec.resource.driver: want the oldest NVIDIA driver of the nodes in quotes, as a branch such as \"580\" or a version such as \"580.95.05\"; " +
				"nvidia-smi prints it on a node (NotOneOf)"},
		},
		"AKS": {
			reason: "AKS decides.",
			text:   header + "  resource: {instanceType: A, provider: aks, driver: '580'}\n" + serves,
			want: []string{"5: error: spec.resource.driver: AKS installs the driver of the nodes that it makes: remove it; where the NVIDIA GPU operator does, " +
				"a GPUNodePool with aks.gpuDriver None says it (ProviderMismatch)"},
		},
		"Karpenter": {
			reason: "The node image decides.",
			text:   header + "  resource: {instanceType: A, provider: karpenter, driver: '580'}\n" + serves,
			want:   []string{"5: error: spec.resource.driver: the image that Karpenter starts the nodes from has their driver: remove it (ProviderMismatch)"},
		},
		"Shared": {
			reason: "One pool has one driver.",
			text:   header + "  resource: {nodePool: rack-7, driver: '580'}\n" + serves,
			want: []string{"5: error: spec.resource.driver: is of nodes of the Workspace's own, and GPUNodePool rack-7 says which driver its nodes have: " +
				"write it there as spec.driver, and remove it here (ProviderMismatch)"},
		},
		"Pool": {reason: "A pool of nodes that exist.", text: pool + "  provider: existing\n  nodeLabels: {a: b}\n  driver: '580'\n"},
		"PoolOperator": {
			reason: "The GPU operator installs it, and who runs that knows which.", text: pool + "  provider: aks\n  aks: {gpuDriver: None}\n  driver: '580'\n",
			want: []string{"7: warning: spec.aks.gpuDriver: AKS installs no driver: the NVIDIA GPU operator must, or the nodes offer no GPU and are given up after timeouts.gpuReady (ProviderMismatch)"},
		},
		"PoolAKS": {
			reason: "AKS decides.", text: pool + "  provider: aks\n  driver: '580'\n",
			want: []string{"7: error: spec.driver: AKS installs the driver of the nodes that it makes: remove it, or set aks.gpuDriver None where the NVIDIA GPU operator does (ProviderMismatch)"},
		},
		"PoolKarpenter": {
			reason: "The node image decides.", text: pool + "  provider: karpenter\n  driver: '580'\n",
			want: []string{"7: error: spec.driver: the image that Karpenter starts the nodes from has their driver: remove it (ProviderMismatch)"},
		},
		"PoolWrong": {
			reason: "No driver is called so.", text: pool + "  provider: existing\n  nodeLabels: {a: b}\n  driver: latest\n",
			want: []string{"8: error: spec.driver: want the oldest NVIDIA driver of the nodes in quotes, as a branch such as \"580\" or a version such as \"580.95.05\"; nvidia-smi prints it on a node (NotOneOf)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(judge(c.text))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}
