// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"path"
	"testing"

	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
)

// TestSample: the sample repository carries what is built in, so that kubectl and
// Flux build it as we do.
func TestSample(t *testing.T) {
	files, err := example.Files(example.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type original struct {
		text []byte
		file string
	}
	copies := map[string]original{
		path.Join(repolayout.PathNames, repolayout.FileNames): {build.NameReferences(), "render/build/names.yaml"},
	}
	for _, cluster := range []string{example.Staging, example.Production} {
		copies[path.Join(repolayout.PathRoot(cluster), repolayout.FileMergeKeys)] = original{build.MergeKeys(), "render/internal/kustomize/merge-keys.yaml"}
	}
	for name, o := range copies {
		if files[name] != string(o.text) {
			t.Errorf("repo-layout/example/%s is not as %s: copy it there", name, o.file)
		}
	}
}
