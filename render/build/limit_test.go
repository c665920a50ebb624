// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
)

// Who is refused at a limit must be who a fresh build refuses, whichever units the
// Build before left.
func TestPassAtALimit(t *testing.T) {
	files := func(size map[string]int) fstest.MapFS {
		m := fstest.MapFS{"kustomization.yaml": &fstest.MapFile{Data: []byte("resources: [a, b, c]\n")}}
		for _, u := range []string{"a", "b", "c"} {
			m[u+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [c.yaml]\n")}
			m[u+"/c.yaml"] = &fstest.MapFile{Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + u + "}\n#" + strings.Repeat("x", size[u]) + "\n")}
		}
		return m
	}
	limits := build.Limits{TreeBytes: 4000}
	cache := build.NewCache(build.CacheLimits{})
	for _, size := range []map[string]int{{"a": 1000, "b": 1000, "c": 1000}, {"a": 1000, "b": 2000, "c": 1000}} {
		tree := files(size)
		fresh, err := build.Build(t.Context(), tree, ".", limits)
		if err != nil {
			t.Fatal(err)
		}
		units, err := cache.Build(t.Context(), listing{newHashed(tree)}, ".", limits)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(everything(fresh), everything(units)); d != "" {
			t.Errorf("(-fresh +cache):\n%s", d)
		}
	}
}
