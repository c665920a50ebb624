// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/test/scale"
)

// BenchmarkHeld prints what is held of each Workspace, and of what comes with it in Git,
// while nothing happens: what its unit was built to, and what the RepoSync wants of it.
func BenchmarkHeld(b *testing.B) {
	const n = 1_000
	tree := fleetTree(n)
	// What Kustomize fills once for the process is nobody's.
	if _, err := build.NewCache(build.CacheLimits{}).Build(b.Context(), fleetTree(8), "workspaces", build.DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	per := func(bytes int64) float64 { return float64(bytes) / n }
	for b.Loop() {
		before := scale.InUse()
		cache, held := build.NewCache(build.CacheLimits{}), assembled{}
		wants := func() built { // which lets go of the units
			units, err := cache.Build(b.Context(), tree, "workspaces", build.DefaultLimits())
			if err != nil {
				b.Fatal(err)
			}
			return held.assemble(team(), "", "main@sha1:"+testHash, units)
		}()
		if len(wants.wanted) < n {
			b.Fatalf("%d objects are wanted of %d Workspaces: %v", len(wants.wanted), n, errorsOf(wants.findings))
		}
		all := scale.InUse()
		runtime.KeepAlive(wants)
		runtime.KeepAlive(held)
		cached := scale.InUse()
		b.ReportMetric(per(all-before), "B-held/Workspace")
		b.ReportMetric(per(all-cached), "B-wanted/Workspace")
		b.ReportMetric(per(cached-before), "B-built/Workspace")
		runtime.KeepAlive(cache)
	}
	runtime.KeepAlive(tree)
}

func fleetTree(n int) fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range scale.Fleet(n) {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}
