// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/espalier-dev/espalier/render/build"
)

// tree makes a file system of a txtar archive.
func tree(archive string) fstest.MapFS {
	files := fstest.MapFS{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		files[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return files
}

func buildTree(t *testing.T, tree fs.FS, root string, limits build.Limits) []build.Unit {
	t.Helper()
	units, err := build.Build(t.Context(), tree, root, limits)
	if err != nil {
		t.Fatal(err)
	}
	return units
}

// outline is what a test compares of units: a line for each unit, object and
// finding.
func outline(units []build.Unit) string {
	var b strings.Builder
	for _, u := range units {
		fmt.Fprintf(&b, "%s\n", u.Path)
		for _, o := range u.Objects() {
			file, line := o.At("")
			fmt.Fprintf(&b, "  %s %s:%d\n", o, file, line)
		}
		for _, f := range u.Findings {
			fmt.Fprintf(&b, "  %s %s %s:%d\n", f.Severity, f.Code, f.File, f.Line)
		}
	}
	return b.String()
}

const rootOfTwo = `
-- kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [a, b]
`

const unitA = `
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

// unitLocked serves and tunes a model by the lock file beside it.
const unitLocked = `
-- locked/kustomization.yaml --
namePrefix: x-
resources: [workspaces.yaml]
configMapGenerator:
- name: model
  files: [model.lock.yaml]
-- locked/model.lock.yaml --
id: someone/Model-8B
-- locked/workspaces.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: serve}
spec:
  inference: {model: {id: someone/Model-8B, lock: model}}
---
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: tune}
spec:
  tuning: {model: {id: someone/Model-8B, lock: model}}
`

const unitB = `
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

func TestUnits(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, root, archive, want string
	}{
		"FolderAtATime": {
			reason:  "a root that lists only folders is built a folder at a time",
			archive: rootOfTwo + unitA + unitB,
			want: `
a
  Workspace/team-a/tune a/workspace.yaml:3
  ConfigMap/team-a/params-mbm8bc8b8t a/kustomization.yaml:4
  Secret/team-a/push-k695gkmbtk a/kustomization.yaml:7
b
  ConfigMap/b-c base/serve.yaml:1
  Workspace/b-serve base/serve.yaml:5
`,
		},
		"Below": {
			reason:  "a path below the root is the root of its own units",
			root:    "a/",
			archive: rootOfTwo + unitA + unitB,
			want: `
a
  Workspace/team-a/tune a/workspace.yaml:3
  ConfigMap/team-a/params-mbm8bc8b8t a/kustomization.yaml:4
  Secret/team-a/push-k695gkmbtk a/kustomization.yaml:7
`,
		},
		"RootThatDoesMore": {
			reason:  "a root with a setting of its own reaches into every folder, so it is one unit",
			archive: strings.Replace(rootOfTwo, "resources", "namespace: x\nresources", 1) + unitB + "-- a/kustomization.yaml --\nresources: [c.yaml]\n-- a/c.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n",
			want: `
.
  ConfigMap/x/a a/c.yaml:1
  ConfigMap/x/b-c base/serve.yaml:1
  Workspace/x/b-serve base/serve.yaml:5
`,
		},
		"BrokenBesideGood": {
			reason:  "a unit that does not build is reported alone",
			archive: rootOfTwo + unitB + "-- a/kustomization.yaml --\nresources: [w.yaml]\n-- a/w.yaml --\nkind: Workspace\nmetadata:\n  name: [\n",
			want: `
a
  error InvalidYAML a/w.yaml:3
b
  ConfigMap/b-c base/serve.yaml:1
  Workspace/b-serve base/serve.yaml:5
`,
		},
		"WithoutKustomization": {
			reason: "every YAML file is a unit, folders with a kustomization too, and what is no object is left out",
			archive: unitA + `
-- README.md --
# Nothing
-- .github/workflows/ci.yaml --
on: push
-- values.yml --
a: 1
-- two/broken.yaml --
kind: Workspace
 name: x
-- two/good.yaml --
apiVersion: v1
kind: ConfigMap
metadata: {name: good}
`,
			want: `
a
  Workspace/team-a/tune a/workspace.yaml:3
  ConfigMap/team-a/params-mbm8bc8b8t a/kustomization.yaml:4
  Secret/team-a/push-k695gkmbtk a/kustomization.yaml:7
two/broken.yaml
  error InvalidYAML two/broken.yaml:2
two/good.yaml
  ConfigMap/good two/good.yaml:1
values.yml
  warning NotAnObject values.yml:1
`,
		},
		"SameObjectTwice": {
			reason: "what a build of the whole would refuse, the units refuse too",
			archive: rootOfTwo + `
-- a/kustomization.yaml --
resources: [c.yaml]
-- a/c.yaml --
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
-- b/kustomization.yaml --
resources: [c.yaml]
-- b/c.yaml --
apiVersion: v1
kind: ConfigMap
metadata:
  name: c
`,
			want: `
a
  ConfigMap/c a/c.yaml:1
b
  error NameCollision b/c.yaml:4
`,
		},
		"MissingFolder": {
			reason:  "a folder that is listed and not there fails alone",
			archive: rootOfTwo + unitB,
			want: `
a
  error FileMissing kustomization.yaml:3
b
  ConfigMap/b-c base/serve.yaml:1
  Workspace/b-serve base/serve.yaml:5
`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			units := buildTree(t, tree(tc.archive), tc.root, build.Limits{})
			if diff := cmp.Diff(strings.TrimPrefix(tc.want, "\n"), outline(units)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestNamesReachWorkspaces(t *testing.T) {
	units := buildTree(t, tree(unitA+unitLocked+`
-- k/kustomization.yaml --
namePrefix: p-
resources: [w.yaml]
-- k/w.yaml --
apiVersion: kaito.sh/v1alpha1
kind: Workspace
metadata: {name: w}
tuning: {config: c, output: {imagePushSecret: s}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
`), "", build.Limits{})
	var all strings.Builder
	for _, u := range units {
		for _, o := range u.Objects() {
			all.Write(o.YAML())
		}
	}
	for _, want := range []string{
		"config: params-mbm8bc8b8t", "pushSecret: push-k695gkmbtk", "config: p-c", "imagePushSecret: p-s",
		"  inference:\n    model:\n      id: someone/Model-8B\n      lock: x-model-642542cg58",
		"  tuning:\n    model:\n      id: someone/Model-8B\n      lock: x-model-642542cg58",
	} {
		if !strings.Contains(all.String(), want+"\n") {
			t.Errorf("the build has no %q:\n%s", want, all.String())
		}
	}
	if strings.Contains(all.String(), "config.kubernetes.io") {
		t.Error("the origin annotation is in the output")
	}
}

func TestPositions(t *testing.T) {
	units := buildTree(t, tree(rootOfTwo+unitA+unitB), "", build.Limits{})
	at := func(unit int, object, field string) string {
		for _, o := range units[unit].Objects() {
			if o.String() == object {
				file, line := o.At(field)
				return fmt.Sprintf("%s:%d", file, line)
			}
		}
		return "no such object"
	}
	for _, tc := range []struct {
		reason        string
		unit          int
		object, field string
		want          string
	}{
		{"a field as written", 0, "Workspace/team-a/tune", "spec.resource.instanceType", "a/workspace.yaml:9"},
		{"an item of a list", 0, "Workspace/team-a/tune", "spec.tuning.input.urls[0]", "a/workspace.yaml:14"},
		{"a field that is not written: its parent", 0, "Workspace/team-a/tune", "spec.tuning.revision", "a/workspace.yaml:10"},
		{"a patched field: the patch", 1, "Workspace/b-serve", "spec.resource.instanceType", "b/size.yaml:6"},
		{"a field beside a patched one", 1, "Workspace/b-serve", "spec.inference.preset", "base/serve.yaml:11"},
	} {
		if got := at(tc.unit, tc.object, tc.field); got != tc.want {
			t.Errorf("%s: %s of %s is at %s, want %s", tc.reason, tc.field, tc.object, got, tc.want)
		}
	}
}

func bytesOf(units []build.Unit) string {
	var b strings.Builder
	for _, u := range units {
		for _, o := range u.Objects() {
			b.WriteString("---\n")
			b.Write(o.YAML())
		}
	}
	return b.String()
}

func TestStable(t *testing.T) {
	first := ""
	for range 20 {
		units := buildTree(t, tree(rootOfTwo+unitA+unitB), "", build.Limits{})
		got := bytesOf(units) + outline(units)
		if first == "" {
			first = got
		}
		if got != first {
			t.Fatalf("two builds of one tree differ:\n%s", cmp.Diff(first, got))
		}
	}
}

func TestNoPath(t *testing.T) {
	for _, root := range []string{"nowhere", "a/kustomization.yaml", "../x", "/etc"} {
		_, err := build.Build(t.Context(), tree(unitA), root, build.Limits{})
		if !errors.Is(err, build.ErrNoPath) {
			t.Errorf("Build(%q) = %v, want ErrNoPath", root, err)
		}
	}
}

func TestDeadline(t *testing.T) {
	ctx, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	if _, err := build.Build(ctx, tree(unitA), "a", build.Limits{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Build after the deadline: %v", err)
	}
}

// TestSymlinkOnDisk uses the one file system that follows links by itself.
func TestSymlinkOnDisk(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(t.TempDir(), "secret.yaml")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secret, "apiVersion: v1\nkind: Secret\nmetadata: {name: stolen}\n")
	write(filepath.Join(dir, "kustomization.yaml"), "resources: [link.yaml, out/secret.yaml]\n")
	for link, to := range map[string]string{"link.yaml": secret, "out": filepath.Dir(secret)} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	got := outline(buildTree(t, os.DirFS(dir), "", build.Limits{}))
	want := "link.yaml\n  error Symlink kustomization.yaml:1\nout/secret.yaml\n  error Symlink kustomization.yaml:1\n"
	if got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}
