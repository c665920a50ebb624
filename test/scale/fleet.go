// SPDX-License-Identifier: Apache-2.0

// Package scale measures what a push costs, from the objects of Git to the
// rendered children, for repositories of up to 10,000 Workspaces.
package scale

import (
	"fmt"
	"strings"
)

// Fleet is a repository of n Workspaces, each in a folder of its own with its
// configuration; every fourth tunes. Every eighth is an overlay of a base. Files are
// by their path; the root kustomization is in workspaces.
func Fleet(n int) map[string]string {
	files := map[string]string{
		"base/kustomization.yaml": "resources: [workspace.yaml]\n",
		"base/workspace.yaml":     serving("shared"),
	}
	root := strings.Builder{}
	root.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n")
	for i := range n {
		name := fmt.Sprintf("w%05d", i)
		folder := "workspaces/" + name + "/"
		fmt.Fprintf(&root, "- %s\n", name)
		files[folder+"inference_config.yaml"] = fmt.Sprintf("vllm:\n  max-num-seqs: %d\n", 16+i%100)
		kustomization := "resources: [workspace.yaml]\nconfigMapGenerator:\n- name: " + name + "\n  files: [inference_config.yaml]\n"
		switch {
		case i%8 == 7:
			kustomization = "resources: [../../base]\nnamePrefix: " + name + "-\npatches:\n- patch: |\n    - {op: replace, path: /spec/resource/instanceType, value: Standard_NC24ads_A100_v4}\n  target: {kind: Workspace}\n"
			delete(files, folder+"inference_config.yaml")
		case i%4 == 1:
			kustomization = "resources: [workspace.yaml]\n"
			files[folder+"workspace.yaml"] = tuning(name)
			delete(files, folder+"inference_config.yaml")
		default:
			files[folder+"workspace.yaml"] = serving(name)
		}
		files[folder+"kustomization.yaml"] = kustomization
	}
	files["workspaces/kustomization.yaml"] = root.String()
	return files
}

func serving(name string) string {
	config := ""
	if name != "shared" {
		config = "    config: " + name + "\n"
	}
	return "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: " + name + `
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
  inference:
    preset: phi-4-mini-instruct
` + config
}

func tuning(name string) string {
	return "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: " + name + `
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.parquet"]}
    output: {image: "registry.example.com/` + name + `:1", pushSecret: registry}
`
}
