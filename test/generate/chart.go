// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
)

// chartFiles are the folder of the chart that holds what it is made of, and the
// manifests of deploy/ that go there: what Helm installs and what Kustomize does are
// the same files. Helm reads no file outside of a chart.
const chartFiles = "deploy/chart/espalier/files"

var charted = []string{
	"base/namespace.yaml", "base/deployment.yaml", "base/network-policy.yaml", "base/service.yaml", "crd/*.yaml", "rbac/*.yaml", "rbac/karpenter/*.yaml",
	"review/rbac.yaml", "review/deployment.yaml", "review/service.yaml",
}

// chart returns the manifests that the chart is made of by their path below root.
func chart(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, pattern := range charted {
		found, err := filepath.Glob(filepath.Join(root, "deploy", filepath.FromSlash(pattern)))
		if err != nil {
			return nil, fmt.Errorf("finding deploy/%s: %w", pattern, err)
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("the chart is made of deploy/%s, and there is none", pattern)
		}
		for _, name := range found {
			if path.Base(filepath.ToSlash(name)) == "kustomization.yaml" {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, fmt.Errorf("reading what the chart is made of: %w", err)
			}
			relative, err := filepath.Rel(filepath.Join(root, "deploy"), name)
			if err != nil {
				return nil, fmt.Errorf("placing %s: %w", name, err)
			}
			files[path.Join(chartFiles, filepath.ToSlash(relative))] = text
		}
	}
	return files, nil
}
