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
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/models"
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
	if strings.HasPrefix(name, "inference-") && !strings.HasPrefix(name, "inference-template") && !strings.HasPrefix(name, "inference-kaito") { // which say of themselves what they may do
		return "restricted"
	}
	return "baseline"
}

func TestAccepted(t *testing.T) {
	c := withKinds(t)
	files, err := filepath.Glob("../../render/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			enforce(t, c, level(name))
			accept(t, c, name, golden(t, file))
		})
	}
}

// withKinds is the cluster with the kinds that one may have: from the Go modules that
// their files name. Those that are rendered for Kueue are Jobs with a label, and those
// of Karpenter are written by gpu/karpenter, whose tests have the real CRDs.
func withKinds(t *testing.T) *cluster.Cluster {
	t.Helper()
	c := shared.Get(t)
	for _, folder := range []string{"testdata/crds", "testdata/gateway", "testdata/inference"} {
		if err := cluster.InstallCRDs(t.Context(), c.Config, folder); err != nil {
			t.Fatal(err)
		}
	}
	return c
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

// levels that the bases state, by runtime.
var levels = map[string]string{"vllm": "restricted", "axolotl": "baseline", runtimes.KAITO: "baseline", runtimes.KAITOTransformers: "baseline", "kaito-tuning": "baseline"}

// TestEveryModel: whatever model of the catalogue is served or tuned, with whichever
// runtime, its objects are accepted.
func TestEveryModel(t *testing.T) {
	c := shared.Get(t)
	for _, runtime := range models.Runtimes() {
		t.Run(runtime, func(t *testing.T) {
			enforce(t, c, levels[runtime])
			cases, err := models.All(runtime)
			if err != nil {
				t.Fatal(err)
			}
			var all []byte
			rendered := 0
			for _, m := range cases {
				if m.Refused == "" {
					rendered++
					all = append(append(all, "# "+m.Model+" is "+m.Name+"\n"...), documents(t, m.Output)...)
				}
			}
			accept(t, c, "the models, m00 being the first of presets.All", all)
			t.Logf("%d of %d models", rendered, len(cases))
		})
	}
}

func documents(t *testing.T, out render.Output) []byte {
	t.Helper()
	var all []byte
	for _, o := range out.Objects() {
		text, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		all = append(append(all, "---\n"...), text...)
	}
	return all
}

// accept has the API server judge objects. Strict validation refuses unknown fields; a
// warning (deprecation, Pod Security of the template) fails as well.
func accept(t *testing.T, c *cluster.Cluster, what string, objects []byte) {
	t.Helper()
	out, err := c.KubectlInput(t.Context(), objects, "apply", "--server-side", "--dry-run=server",
		"--validate=strict", "--warnings-as-errors", "--field-manager=espalier", "-f", "-")
	if err != nil {
		t.Errorf("%s: %v\n%s", what, err, out)
	}
}

// TestSample: what becomes of the sample repository is accepted.
func TestSample(t *testing.T) {
	c := withKinds(t)
	files, err := filepath.Glob("../../cmd/espalier/testdata/render/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	enforce(t, c, "baseline")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		accept(t, c, file, text)
	}
}

// enforce has the namespace of the golden files demand a Pod Security level.
func enforce(t *testing.T, c *cluster.Cluster, level string) {
	t.Helper()
	namespace := strings.ReplaceAll(namespaces, "LEVEL", level)
	if out, err := c.KubectlInput(t.Context(), []byte(namespace), "apply", "--server-side", "-f", "-"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestPicker: the endpoint picker of the documentation runs where the level restricted
// is enforced.
func TestPicker(t *testing.T) {
	c := shared.Get(t)
	enforce(t, c, "restricted")
	text, err := os.ReadFile("../../docs/endpoint-picker.yaml")
	if err != nil {
		t.Fatal(err)
	}
	accept(t, c, "docs/endpoint-picker.yaml", text)
}
