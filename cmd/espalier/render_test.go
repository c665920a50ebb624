// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/example"
)

const overlay = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: models\n"

// queued is the tuning run of the sample in its native form, which a queue needs.
const queued = overlay + `resources: [../../models/phi-3-dolly]
components: [../../components/queue, ../../components/budget]
`

// TestRenderSample compares what becomes of the sample repository, of both clusters, of
// what no cluster lists, and of each component, with testdata/render; twenty times the
// same bytes. test/rendered has the API server accept them. -update writes them.
func TestRenderSample(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		path   string
		files  map[string]string // beside the sample's
		native bool              // the tuning run, as `espalier convert --write` leaves it
	}{
		"staging":    {reason: "A tuning run on a size that is substituted, and a service on spot nodes.", path: "clusters/staging/workspaces"},
		"production": {reason: "Two copies.", path: "clusters/production/workspaces"},
		"transcribe": {reason: "A pod of one's own.", path: "try/own", files: map[string]string{"try/own/kustomization.yaml": overlay + "resources: [../../models/transcribe]\n"}},
		"autoscale":  {reason: "Copies that follow the load.", path: "try/scaled", files: map[string]string{"try/scaled/kustomization.yaml": overlay + "resources: [../../models/phi-4-mini]\ncomponents: [../../components/autoscale]\n"}},
		"queue":      {reason: "A run that Kueue admits.", path: "try/queued", files: map[string]string{"try/queued/kustomization.yaml": queued}, native: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sample(t, tc.files)
			if tc.native {
				if code, _, talk := command(t, "convert", "--write", filepath.Join(dir, "models/phi-3-dolly/workspace.yaml")); code != exitOK {
					t.Fatalf("converting: %s", talk)
				}
			}
			args := []string{
				"render", filepath.Join(dir, tc.path), "--sync", filepath.Join(dir, "clusters/staging/reposync.yaml"),
				"--helper-image", "registry.example.com/espalier@sha256:" + strings.Repeat("0", 64),
			}
			code, first, talk := command(t, args...)
			if code != exitOK {
				t.Fatalf("exit code %d: %s", code, talk)
			}
			for range 19 {
				if _, again, _ := command(t, args...); again != first {
					t.Fatalf("two renders differ:\n%s", cmp.Diff(first, again))
				}
			}
			same(t, filepath.Join("testdata", "render", name+".yaml"), "# "+tc.reason+"\n"+first)
		})
	}
}

// sample writes the sample repository, and more files, into a folder.
func sample(t *testing.T, more map[string]string) string {
	t.Helper()
	files, err := example.Files(example.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(files, more)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, ".git"), 0o755); err != nil { // where the repository begins
		t.Fatal(err)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(files[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// same compares a golden file, or writes it.
func same(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}
