// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fleet is a repository of n Workspaces, each in a folder of its own with a
// kustomization, the first of them with another number of copies.
func fleet(n, replicas int) fstest.MapFS {
	tree := fstest.MapFS{}
	put := func(name, text string) { tree[name] = &fstest.MapFile{Data: []byte(text)} }
	root := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
	for i := range n {
		name := fmt.Sprintf("w%04d", i)
		root += "- " + name + "\n"
		put(name+"/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- workspace.yaml\n")
		copies := 1
		if i == 0 {
			copies = replicas
		}
		put(name+"/workspace.yaml", service(name, "replicas: 1", fmt.Sprintf("replicas: %d", copies)))
	}
	put("kustomization.yaml", root)
	return tree
}

func buildFleet(b *testing.B, tree fstest.MapFS) []build.Unit {
	b.Helper()
	units, err := build.Build(b.Context(), tree, ".", build.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return units
}

// BenchmarkOneOfThousand is the plan of a change of one Workspace among a
// thousand: from what both revisions build to, and from their files.
func BenchmarkOneOfThousand(b *testing.B) {
	before, after := fleet(1000, 1), fleet(1000, 2)
	options := render.Options{Provider: v1alpha1.ProviderAKS, HelperImage: "espalier"}
	compare := func(b *testing.B, was, is []build.Unit) {
		judge := &desired.Judge{Region: "eastus", Render: options}
		side := func(units []build.Unit) plan.Side {
			documents, findings := desired.Units(team(), units)
			return plan.Side{Sync: team(), State: judge.State(documents, findings)}
		}
		if p := plan.Compare(side(was), side(is)); len(p.Changes) != 1 || p.Refused {
			b.Fatal(p.Summary.Line)
		}
	}
	b.Run("Built", func(b *testing.B) {
		was, is := buildFleet(b, before), buildFleet(b, after)
		for b.Loop() {
			compare(b, was, is)
		}
	})
	b.Run("Files", func(b *testing.B) {
		for b.Loop() {
			compare(b, buildFleet(b, before), buildFleet(b, after))
		}
	})
}

// BenchmarkAllOfThousand changes every Workspace: each is rendered twice.
func BenchmarkAllOfThousand(b *testing.B) {
	before, after := fleet(1000, 1), fleet(1000, 1)
	for name := range after {
		if name != "kustomization.yaml" && len(name) > len("w0000/workspace.yaml")-1 && name[6:] == "workspace.yaml" {
			after[name] = &fstest.MapFile{Data: []byte(service(name[:5], "replicas: 1", "replicas: 3"))}
		}
	}
	was, is := buildFleet(b, before), buildFleet(b, after)
	for b.Loop() {
		judge := &desired.Judge{Render: render.Options{Provider: v1alpha1.ProviderAKS}}
		side := func(units []build.Unit) plan.Side {
			documents, findings := desired.Units(team(), units)
			return plan.Side{Sync: team(), State: judge.State(documents, findings)}
		}
		if p := plan.Compare(side(was), side(is)); len(p.Changes) != 1000 {
			b.Fatal(p.Summary.Line)
		}
	}
}
