// SPDX-License-Identifier: Apache-2.0

// Package rendered asks a real API server to accept every golden file of
// package render: no unknown field, no deprecation, and the Pod Security level
// that the runtimes' bases state. It is apart from render, whose own tests need
// no cluster.
package rendered

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/espalier-dev/espalier/test/cluster"
)

var shared = cluster.Shared{Options: cluster.Options{Parts: cluster.APIServer}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// namespaces enforce the level of each task, at the server's own version.
const namespaces = `
apiVersion: v1
kind: Namespace
metadata:
  name: models
  labels: {pod-security.kubernetes.io/enforce: LEVEL, pod-security.kubernetes.io/warn: LEVEL}
`

// level is what presets/runtimes says of its pods.
func level(name string) string {
	if name == "inference-weights-local" { // a folder of the node, which the controller has to allow
		return "privileged"
	}
	if strings.HasPrefix(name, "inference-") && name != "inference-template" && !strings.HasPrefix(name, "inference-kaito") { // which say of themselves what they may do
		return "restricted"
	}
	return "baseline"
}

func TestAccepted(t *testing.T) {
	c := shared.Get(t)
	// Kinds that a cluster may have: from the Go modules that their files name.
	for _, folder := range []string{"testdata/crds", "testdata/gateway"} {
		if err := cluster.InstallCRDs(t.Context(), c.Config, folder); err != nil {
			t.Fatal(err)
		}
	}
	files, err := filepath.Glob("../../render/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			namespace := strings.ReplaceAll(namespaces, "LEVEL", level(name))
			if out, err := c.KubectlInput(t.Context(), []byte(namespace), "apply", "--server-side", "-f", "-"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			// Strict validation refuses unknown fields; a warning (deprecation,
			// Pod Security of the template) fails as well.
			out, err := c.KubectlInput(t.Context(), golden(t, file), "apply", "--server-side", "--dry-run=server",
				"--validate=strict", "--warnings-as-errors", "--field-manager=espalier", "-f", "-")
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func golden(t *testing.T, file string) []byte {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range a.Files {
		if f.Name == "want.yaml" {
			return f.Data
		}
	}
	t.Fatalf("%s has no want.yaml", file)
	return nil
}
