// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/test/scale"
)

// BenchmarkHeld prints what is held of each unit between two Builds of a tree as one of Git is,
// and in how many pieces.
func BenchmarkHeld(b *testing.B) {
	const n = 1_000
	files := fstest.MapFS{}
	for name, text := range scale.Fleet(n) {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree := listing{newHashed(files)}
	built := func(c *build.Cache) {
		units, err := c.Build(b.Context(), tree, "workspaces", build.DefaultLimits())
		if err != nil || len(units) != n {
			b.Fatalf("%d units: %v", len(units), err)
		}
	}
	built(build.NewCache(build.CacheLimits{})) // what Kustomize fills once for the process is nobody's
	for b.Loop() {
		before, pieces := scale.InUse(), objects()
		cache := build.NewCache(build.CacheLimits{})
		built(cache)
		b.ReportMetric(float64(scale.InUse()-before)/n, "B-held/unit")
		b.ReportMetric(float64(objects()-pieces)/n, "pieces/unit")
		runtime.KeepAlive(cache)
	}
	runtime.KeepAlive(tree)
}

// objects of the heap.
func objects() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Mallocs - m.Frees)
}
