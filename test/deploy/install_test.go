// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"path/filepath"
	"testing"

	"github.com/espalier-dev/espalier/deploy"
)

// exported are the options that each overlay stands for.
var exported = map[string]deploy.Options{
	"dev":       {Provider: deploy.Existing, ClusterName: "dev"},
	"karpenter": {Provider: deploy.Karpenter, ClusterName: "production", Region: "eastus"},
	"aks": {
		Provider: deploy.AKS, ClusterName: "production", Region: "eastus", ResourceGroup: "my-resource-group", AKSCluster: "my-cluster",
		SubscriptionID: "00000000-0000-0000-0000-000000000000", ClientID: "00000000-0000-0000-0000-000000000000",
	},
}

// TestManifests: what `espalier install --export` writes is what each overlay makes.
func TestManifests(t *testing.T) {
	for _, folder := range overlays(t) {
		name := filepath.Base(folder)
		t.Run(name, func(t *testing.T) {
			options, known := exported[name]
			if !known {
				t.Fatalf("say in exported what the overlay %s stands for", name)
			}
			options.Image, options.Review = "registry.example.com/espalier:dev", true
			text, err := deploy.Manifests(options)
			if err != nil {
				t.Fatal(err)
			}
			same(t, plain(t, kustomized(t, folder)), plain(t, objectsOf(t, string(text))))
		})
	}
}
