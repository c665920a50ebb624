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

// fleet is a repository of a thousand Workspaces, each in a folder of its own with a
// kustomization, the first of them with another number of copies.
func fleet(replicas int) fstest.MapFS {
	tree := fstest.MapFS{}
	put := func(name, text string) { tree[name] = &fstest.MapFile{Data: []byte(text)} }
	root := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
	for i := range 1000 {
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

func buildFleet(b *testing.B, cache *build.Cache, tree fstest.MapFS) []build.Unit {
	b.Helper()
	units, err := cache.Build(b.Context(), tree, ".", build.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	return units
}

func sideOf(judge *desired.Judge, units []build.Unit) plan.Side {
	documents, findings := desired.Units(team(), units)
	return plan.Side{Sync: team(), State: judge.State(documents, findings)}
}

func benchJudge() *desired.Judge {
	return &desired.Judge{Region: "eastus", Render: render.Options{Provider: v1alpha1.ProviderAKS, HelperImage: "espalier"}}
}

// BenchmarkOneOfThousand is the plan of a change of one Workspace among a
// thousand: Kept, where base was built before, as a controller has it; Cold, where
// nothing was built, as in a pipeline.
func BenchmarkOneOfThousand(b *testing.B) {
	before, after := fleet(1), fleet(2)
	compare := func(b *testing.B, cache *build.Cache) {
		judge := benchJudge()
		base := sideOf(judge, buildFleet(b, cache, before))
		if p := plan.Compare(base, sideOf(judge, buildFleet(b, cache, after))); len(p.Changes) != 1 || p.Refused {
			b.Fatal(p.Summary.Line)
		}
	}
	b.Run("Kept", func(b *testing.B) {
		cache := build.NewCache(build.CacheLimits{})
		buildFleet(b, cache, before)
		for b.Loop() {
			compare(b, cache)
		}
	})
	b.Run("Cold", func(b *testing.B) {
		for b.Loop() {
			compare(b, build.NewCache(build.CacheLimits{}))
		}
	})
}

// BenchmarkHundredOfThousand changes a hundred: each is rendered twice.
func BenchmarkHundredOfThousand(b *testing.B) {
	before, after := fleet(1), fleet(1)
	for i := range 100 {
		name := fmt.Sprintf("w%04d", i)
		after[name+"/workspace.yaml"] = &fstest.MapFile{Data: []byte(service(name, "replicas: 1", "replicas: 3"))}
	}
	cache := build.NewCache(build.CacheLimits{})
	was, is := buildFleet(b, cache, before), buildFleet(b, cache, after)
	for b.Loop() {
		judge := benchJudge()
		if p := plan.Compare(sideOf(judge, was), sideOf(judge, is)); len(p.Changes) != 100 {
			b.Fatal(p.Summary.Line)
		}
	}
}
