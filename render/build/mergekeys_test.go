// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/build"
)

// overlaidAdapters is a root that lists an overlay, which changes one adapter of
// a Workspace and adds another.
const overlaidAdapters = `
-- base/kustomization.yaml --
resources: [workspace.yaml]
-- base/workspace.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: chat}
spec:
  resource:
    candidates:
    - {instanceType: A}
    - {instanceType: B}
  inference:
    preset: phi-4-mini-instruct
    adapters:
    - {name: dolly, image: r/dolly:1}
    - {name: legal, image: r/legal:1}
-- cluster/kustomization.yaml --
resources: [chat]
openapi:
  path: merge-keys.yaml
-- cluster/chat/kustomization.yaml --
resources: [../../base]
patches:
- patch: |
    apiVersion: espalier.dev/v1alpha1
    kind: Workspace
    metadata: {name: chat}
    spec:
      resource:
        candidates:
        - {instanceType: C}
      inference:
        adapters:
        - {name: legal, image: r/legal:2}
        - {name: tone, image: r/tone:1}
`

func withMergeKeys(archive string) fstest.MapFS {
	files := tree(archive)
	files["cluster/merge-keys.yaml"] = &fstest.MapFile{Data: build.MergeKeys()}
	return files
}

// TestMergeKeys: adapters merge by name, candidates are replaced; and a plain
// build of the same files gives the same bytes, since they carry the schema.
func TestMergeKeys(t *testing.T) {
	files := withMergeKeys(overlaidAdapters)
	units := buildTree(t, files, "cluster", build.Limits{})
	if len(units) != 1 || units[0].Path != "cluster/chat" || len(units[0].Objects()) != 1 {
		t.Fatalf("the root only lists folders, so that each is a unit:\n%s", outline(units))
	}
	ours := string(units[0].Objects()[0].YAML())
	for _, want := range []string{"r/dolly:1", "r/legal:2", "r/tone:1", "instanceType: C"} {
		if strings.Count(ours, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, ours)
		}
	}
	for _, gone := range []string{"r/legal:1", "instanceType: A"} {
		if strings.Contains(ours, gone) {
			t.Errorf("%q is still there:\n%s", gone, ours)
		}
	}

	if text := plain(t, files, "cluster"); text != ours {
		t.Errorf("Kustomize builds\n%s\nand we\n%s", text, ours)
	}
}

// TestOtherSchema: one byte more, and the schema is somebody's own, which is
// refused where it is named.
func TestOtherSchema(t *testing.T) {
	files := withMergeKeys(overlaidAdapters)
	files["cluster/merge-keys.yaml"].Data = append(build.MergeKeys(), "# mine\n"...)
	units := buildTree(t, files, "cluster", build.Limits{})
	want := "cluster\n  error FieldRefused cluster/kustomization.yaml:3\n"
	if got := outline(units); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
