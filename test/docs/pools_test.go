// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSamplesAreNotPruned: who copies a pool whose nodes are bought copies that
// neither Flux nor Argo CD takes them away with a commit.
func TestSamplesAreNotPruned(t *testing.T) {
	found := 0
	for page, text := range pages(t) {
		for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			p := &v1alpha1.GPUNodePool{}
			if yaml.Unmarshal([]byte(m[1]), p) != nil || p.Kind != v1alpha1.GPUNodePoolKind || p.Spec.Provider == v1alpha1.ProviderExisting {
				continue // no pool, or one that buys nothing
			}
			found++
			for key, want := range map[string]string{
				"kustomize.toolkit.fluxcd.io/prune": "disabled", "argocd.argoproj.io/sync-options": "Prune=false,Delete=confirm",
			} {
				if got := p.Annotations[key]; got != want {
					t.Errorf("%s: GPUNodePool %s has %s %q, want %q", page, p.Name, key, got, want)
				}
			}
		}
	}
	if found < 4 {
		t.Errorf("%d samples of pools, want 4 at least", found)
	}
}
