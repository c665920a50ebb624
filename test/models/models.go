// SPDX-License-Identifier: Apache-2.0

// Package models renders every model of the catalogue with every runtime, on the
// cheapest size of Azure that takes it: for golden files and for the API server.
package models

import (
	"errors"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// largest serves what no single machine does, over as many as it takes.
const largest = "Standard_ND96isr_H200_v5"

// zeros is a digest of nothing, for images that nobody pulls.
var zeros = "sha256:" + strings.Repeat("0", 64)

// options of every render.
var options = render.Options{Provider: v1alpha1.ProviderAKS, HelperImage: "registry.example.com/espalier@" + zeros}

// kaitoTuning is KAITO's base image tuning: the runtime of the same name serves.
const kaitoTuning = runtimes.KAITO + "-tuning"

// Runtimes are the names of those that models are rendered with.
func Runtimes() []string {
	return []string{runtimes.VLLM, runtimes.KAITO, runtimes.KAITOTransformers, runtimes.Axolotl, kaitoTuning}
}

// tunes says whether models are tuned with it, and named what a Workspace calls it.
func tunes(runtime string) bool { return runtime == runtimes.Axolotl || runtime == kaitoTuning }

func named(runtime string) string { return strings.TrimSuffix(runtime, "-tuning") }

// Case is one model with one runtime.
type Case struct {
	Model, Runtime string
	// Name of the Workspace.
	Name string
	// Candidate is what it runs on.
	Candidate check.Candidate
	Output    render.Output
	// Refused is why it is not rendered, in the words of a user; "": it is.
	Refused string
}

// All are the models of the catalogue, in its order, with a runtime each.
func All(runtime string) ([]Case, error) {
	var cases []Case
	for i, p := range presets.All() {
		c, err := one(p, runtime, fmt.Sprintf("m%02d", i))
		if err != nil {
			return nil, fmt.Errorf("%s with %s: %w", p.ID, runtime, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

func one(p presets.Preset, runtime, name string) (Case, error) {
	c := Case{Model: p.ID, Runtime: runtime, Name: name}
	d, findings := repolayout.Decode([]byte(document(p, runtime, name)), nil)
	if d.Workspace == nil {
		return c, fmt.Errorf("decoding: %v", findings)
	}
	in := render.Input{Workspace: d.Workspace, Options: options}
	in.Assessment = check.Workspace(in.Workspace, check.Facts{Region: "eastus"}, nil)
	if in.Assessment.Refused() {
		for _, f := range in.Assessment.Findings {
			if f.Severity == finding.Error {
				c.Refused = f.Message + " (" + f.Code + ")"
				return c, nil
			}
		}
		return c, errors.New("refused without a reason")
	}
	in.Candidate = in.Assessment.Usable()[0]
	c.Candidate = in.Candidate
	var err error
	c.Output, err = render.Render(in)
	return c, err
}

// document is the Workspace, with no more than it needs.
func document(p presets.Preset, runtime, name string) string {
	access := ""
	if p.Gated {
		access = ", accessSecret: hugging-face"
	}
	task := "inference: {preset: " + p.ID + access + "}"
	if tunes(runtime) {
		task = "tuning: {preset: " + p.ID + access + ", method: qlora, input: {claim: data}, output: {claim: adapters}}"
	}
	image := ""
	if runtimes.Unpinned(named(runtime)) {
		image = "  runtime: {name: " + named(runtime) + ", version: 0.5.0, cuda: '12.9', image: 'registry.example.com/kaito-base@" + zeros + "'}\n"
	}
	return "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: " + name + ", namespace: models}\nspec:\n" +
		"  resource: {instanceType: " + cheapest(p, runtime) + "}\n  " + task + "\n" + image
}

// cheapest is a size that takes the model, or the largest.
func cheapest(p presets.Preset, runtime string) string {
	image := fit.Image{MinDriver: 580, MinCapability: sku.Capability{Major: 7, Minor: 5}}
	best, found := fit.Alternative{}, false
	if runtime == kaitoTuning {
		image.MinCapability = sku.Capability{Major: 8}
	}
	if tunes(runtime) {
		best, found = fit.CheapestTuning(p.Model, azure(), "", fit.Tuning{Image: image})
	} else {
		best, found = fit.CheapestServing(p.Model, azure(), "", fit.Serving{Nodes: 1, Image: image})
	}
	if !found {
		return largest
	}
	return best.Instance.Name
}

func azure() []sku.Instance {
	var all []sku.Instance
	for _, i := range sku.All() {
		if i.Cloud == sku.Azure {
			all = append(all, i)
		}
	}
	return all
}
