// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/espalier-dev/espalier/render/build"
)

// tree makes a file system of a txtar archive.
func tree(archive string) fs.FS {
	files := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

// outline is what a test compares of the units: a line for each unit, object
// and finding.
func outline(units []build.Unit) string {
	var b strings.Builder
	for _, u := range units {
		fmt.Fprintf(&b, "%s\n", u.Path)
		for _, o := range u.Objects {
			file, line := o.At("")
			fmt.Fprintf(&b, "  %s %s:%d\n", o, file, line)
		}
		for _, f := range u.Findings {
			fmt.Fprintf(&b, "  %s %s %s:%d\n", f.Severity, f.Code, f.File, f.Line)
		}
	}
	return b.String()
}

const workspaceA = `
-- a/kustomization.yaml --
namespace: team-a
resources: [workspace.yaml]
configMapGenerator:
- name: params
  files: [training_config.yaml]
secretGenerator:
- name: push
  literals: [a=b]
-- a/training_config.yaml --
training_config: {}
-- a/workspace.yaml --
# The first line of the document is the third.

apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: tune
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    config: params
    input: {urls: ["https://example.com/data.parquet"]}
    output: {image: registry.example.com/a:1, pushSecret: push}
`

const workspaceB = `
-- b/kustomization.yaml --
resources: [../base]
namePrefix: b-
patches:
- path: size.yaml
  target: {kind: Workspace}
-- b/size.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: serve}
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
-- base/kustomization.yaml --
resources: [serve.yaml]
-- base/serve.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: serve
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  inference: {preset: phi-4-mini-instruct, config: c}
`

func TestBuild(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, root, archive, want string
	}{
		"FolderAtATime": {
			reason: "a root that lists only folders is built a folder at a time",
			archive: `
-- kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [a, b]
` + workspaceA + workspaceB,
			want: `
a
  ConfigMap/team-a/params-2f5ht4dcf4 a/kustomization.yaml:4
  Secret/team-a/push-55d65cg6ff a/kustomization.yaml:7
  Workspace/team-a/tune a/workspace.yaml:3
b
  ConfigMap/b-c base/serve.yaml:1
  Workspace/b-serve base/serve.yaml:6
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			units, err := build.Build(t.Context(), tree(tc.archive), tc.root, build.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), outline(units)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			for _, u := range units {
				for _, o := range u.Objects {
					t.Logf("%s", o.YAML)
				}
				for _, o := range u.Findings {
					t.Logf("%+v", o)
				}
			}
		})
	}
}

var _ = errors.Is
var _ = maps.Keys[map[string]int]
var _ = slices.Sort[[]string]
