// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadmeRefusal: the refusal that README.md shows is what validate says of the example
// repository, where it asks for the retired size and no substitution moves it.
func TestReadmeRefusal(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, sync := initialised(t, "."), "clusters/staging/reposync.yaml"
	const model, sold, retired = "models/phi-3-dolly/workspace.yaml", "Standard_NC4as_T4_v3", "Standard_NC6s_v3"
	files[model] = strings.ReplaceAll(files[model], sold, retired)
	files[sync] = strings.Replace(files[sync], "  substitutions:\n    "+retired+": "+sold+"\n", "", 1)
	t.Chdir(t.TempDir())
	files[".git/HEAD"] = "" // where the repository begins
	for name, text := range files {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out, talk bytes.Buffer
	if code := run(t.Context(), []string{"validate", "clusters/staging/workspaces", "--sync", sync}, strings.NewReader(""), &out, &talk); code != 1 {
		t.Fatalf("espalier validate ends with %d: %s", code, talk.String())
	}
	said, _, _ := strings.Cut(out.String(), "\n")
	if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), said) {
		t.Errorf("README.md does not show, over however many lines:\n%s", said)
	}
}
