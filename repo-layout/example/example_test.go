// SPDX-License-Identifier: Apache-2.0

package example_test

import (
	"io/fs"
	"path"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
)

// Every document of the sample is what a team copies, so every one is valid to
// the last warning.
func TestDocuments(t *testing.T) {
	kinds := map[string]int{}
	err := fs.WalkDir(example.Files, example.Root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Base(name) == "kustomization.yaml" {
			return err
		}
		text, err := fs.ReadFile(example.Files, name)
		if err != nil {
			return err
		}
		for _, doc := range repolayout.Split(name, text) {
			decoded, findings := repolayout.Decode(doc.Text, doc)
			switch {
			case decoded.Workspace != nil:
				kinds["Workspace"]++
			case decoded.Input != nil:
				kinds[decoded.Input.GetKind()]++
			}
			for _, f := range findings {
				t.Errorf("%s:%d: %s: %s (%s)", f.File, f.Line, f.Severity, f.Message, f.Code)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if kinds["Workspace"] != 2 || kinds["ConfigMap"] != 1 {
		t.Errorf("the sample holds %v, want 2 Workspaces and 1 ConfigMap", kinds)
	}
}

// The RepoSync is no document under its own path, and strict all the same.
func TestSync(t *testing.T) {
	text, err := fs.ReadFile(example.Files, example.Sync)
	if err != nil {
		t.Fatal(err)
	}
	docs := repolayout.Split(example.Sync, text)
	sync, findings := repolayout.DecodeSync(docs[0].Text, docs[0])
	if sync == nil || len(findings) > 0 {
		t.Fatalf("got %v", findings)
	}
	if sync.Spec.Path != example.Root {
		t.Errorf("path is %q, want %q", sync.Spec.Path, example.Root)
	}
	if got := sync.Spec.Substitutions["Standard_NC6s_v3"]; got != "Standard_NC4as_T4_v3" {
		t.Errorf("Standard_NC6s_v3 is moved to %q", got)
	}
	if sync.Spec.Report == nil || sync.Spec.Report.Commit == nil {
		t.Error("the sample reports nowhere")
	}
}
