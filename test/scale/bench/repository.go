// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// gpusOfRack is how many GPUs a machine of the bench has, and so how many services
// it is for.
const gpusOfRack = 8

// firstContext is the context length of a service that no push has touched.
const firstContext = 4096

// fleet is a repository of services, each in a folder of its own with its
// configuration, and of files that are none of Espalier's business.
type fleet struct {
	n, filler int
	touched   []int // how often pushes have touched each service
	words     int   // pushes that touched none
}

func newFleet(n, filler int) *fleet { return &fleet{n: n, filler: filler, touched: make([]int, n)} }

func name(i int) string { return fmt.Sprintf("w%05d", i) }

func rack(i int) string { return fmt.Sprintf("r%04d", i/gpusOfRack) }

// touch changes the first k services; 0 changes a file beside them.
func (f *fleet) touch(k int) {
	if k == 0 {
		f.words++
	}
	for i := range k {
		f.touched[i]++
	}
}

// files is the whole tree, path by content.
func (f *fleet) files() map[string]string {
	files := map[string]string{"README.md": fmt.Sprintf("Words that are no model, in their %d. version.\n", f.words)}
	root := strings.Builder{}
	root.WriteString("apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n")
	for i := range f.n {
		folder := "workspaces/" + name(i) + "/"
		fmt.Fprintf(&root, "- %s\n", name(i))
		files[folder+"kustomization.yaml"] = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [workspace.yaml]\n" +
			"generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator:\n- {name: " + name(i) + ", files: [inference_config.yaml]}\n"
		files[folder+"inference_config.yaml"] = fmt.Sprintf("vllm:\n  max-num-seqs: %d\n", 16+i%100)
		files[folder+"workspace.yaml"] = f.workspace(i)
	}
	files["workspaces/kustomization.yaml"] = root.String()
	for i := range f.filler {
		files[fmt.Sprintf("others/%03d/deployment-%02d.yaml", i/100, i%100)] = fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: other-%05d\ndata:\n  of: another team\n", i)
	}
	return files
}

func (f *fleet) workspace(i int) string {
	return fmt.Sprintf(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: %s
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
    provider: existing
    labelSelector: {matchLabels: {rack: %s}}
  inference:
    preset: phi-4-mini-instruct
    config: %s
    contextLength: %d
`, name(i), rack(i), name(i), firstContext+256*(f.touched[i]%64))
}
