// SPDX-License-Identifier: Apache-2.0

// Package layouts holds the layouts of docs/layouts.md to what is said of them:
// each validates, renders and builds, and kubectl, Flux and Espalier build the
// same bytes of it. It needs kubectl, and no cluster.
package layouts

import (
	"bytes"
	"context"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// layout is a repository, with what is followed in it.
type layout struct {
	reason string
	files  map[string]string
	// folder of the repository that a person works in; "." is its root.
	folder string
	// syncs are the RepoSyncs within folder, by the path within it that each follows.
	syncs map[string]string
	// units that each path is built in.
	units map[string]int
}

func layouts(t *testing.T) map[string]layout {
	staging, production := repolayout.PathRoot(example.Staging), repolayout.PathRoot(example.Production)
	clusters := map[string]string{staging: repolayout.PathSync(example.Staging), production: repolayout.PathSync(example.Production)}
	units := map[string]int{staging: 2, production: 1}
	return map[string]layout{
		"OneWorkspaceAFolder": {
			reason: "The smallest repository: a list of folders, and the RepoSync that follows it.",
			files:  withNames(t, archive(t, "testdata/one-folder.txtar")), folder: ".",
			syncs: map[string]string{"models": "reposync.yaml"}, units: map[string]int{"models": 2},
		},
		"OverlaysPerCluster": {
			reason: "What espalier init writes.",
			files:  sample(t, example.Options{}), folder: ".", syncs: clusters, units: units,
		},
		"FluxMonorepo": {
			reason: "What espalier init --flux writes into a folder of a repository that Flux reads.",
			files:  inFolder("ml", sample(t, example.Options{Flux: true, Folder: "ml"})), folder: "ml", syncs: clusters, units: units,
		},
	}
}

func TestLayouts(t *testing.T) {
	kubectl, espalier := programs(t)
	for name, l := range layouts(t) {
		t.Run(name, func(t *testing.T) {
			root := written(t, l.files)
			dir := filepath.Join(root, l.folder)
			for at, sync := range l.syncs {
				built := ours(t, root, path.Join(l.folder, at), l.units[at])
				// Flux builds without kubectl's restriction to files below a
				// kustomization, and is confined to the repository otherwise.
				for _, restrictor := range []string{"LoadRestrictionsRootOnly", "LoadRestrictionsNone"} {
					text := run(t, dir, "", kubectl, "kustomize", at, "--load-restrictor", restrictor)
					if diff := cmp.Diff(documents(text), built); diff != "" {
						t.Errorf("%s: %s\nkubectl kustomize with %s and Espalier do not build the same (-kubectl +ours):\n%s", at, l.reason, restrictor, diff)
					}
				}
				plain := run(t, dir, "", kubectl, "kustomize", at)
				run(t, dir, "", espalier, "validate", at, "--sync", sync)
				rendered := run(t, dir, "", espalier, "render", at, "--sync", sync)
				again := run(t, dir, plain, espalier, "render", "-", "--sync", sync)
				if diff := cmp.Diff(documents(again), documents(rendered)); diff != "" || rendered == "" {
					t.Errorf("%s: %s\nwhat kubectl kustomize builds does not render to what Espalier renders (-kubectl +ours):\n%s", at, l.reason, diff)
				}
			}
		})
	}
}

// ours builds a path as the controller does.
func ours(t *testing.T, root, at string, units int) []string {
	t.Helper()
	built, err := build.Build(t.Context(), os.DirFS(root), at, build.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	if len(built) != units {
		t.Errorf("%s is built in %d units, want %d: one a Workspace", at, len(built), units)
	}
	var list []string
	for _, u := range built {
		for _, f := range u.Findings {
			t.Errorf("%s:%d: %s: %s (%s)", f.File, f.Line, f.Severity, f.Message, f.Code)
		}
		for _, o := range u.Objects() {
			list = append(list, string(o.YAML()))
		}
	}
	slices.Sort(list)
	return list
}

// documents takes a stream apart. The order of a build is no part of what is
// compared: kubectl sorts by kind, Espalier builds unit by unit.
func documents(stream string) []string {
	list := strings.Split(strings.TrimPrefix(stream, "---\n"), "---\n")
	slices.Sort(list)
	return list
}

// programs are kubectl and espalier.
func programs(t *testing.T) (kubectl, espalier string) {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.Missing(bin); err != nil {
		t.Fatal(err)
	}
	espalier, err = harness.BuildEspalier(context.Background(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(bin, "kubectl"), espalier
}

// run runs a program in a folder and returns its stdout.
func run(t *testing.T, dir, stdin, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(stdin)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, out.String(), talk.String())
	}
	return out.String()
}

// written writes files into a repository of their own.
func written(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		to := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run(t, root, "", "git", "init", "--quiet")
	return root
}

func archive(t *testing.T, name string) map[string]string {
	t.Helper()
	parsed, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range parsed.Files {
		files[f.Name] = string(f.Data)
	}
	return files
}

func sample(t *testing.T, o example.Options) map[string]string {
	t.Helper()
	files, err := example.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// withNames adds the component that tells Kustomize where a Workspace names other
// objects.
func withNames(t *testing.T, files map[string]string) map[string]string {
	t.Helper()
	files = maps.Clone(files)
	for name, text := range sample(t, example.Options{}) {
		if path.Dir(name) == repolayout.PathNames {
			files[name] = text
		}
	}
	return files
}

// inFolder puts files into a folder, beside what a repository of Flux holds.
func inFolder(folder string, files map[string]string) map[string]string {
	all := map[string]string{
		"clusters/staging/flux-system/kustomization.yaml": "resources: [gotk-components.yaml]\n",
		"apps/web/deployment.yaml":                        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n",
	}
	for name, text := range files {
		all[path.Join(folder, name)] = text
	}
	return all
}
