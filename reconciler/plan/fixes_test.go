// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fixing is a plan with findings that are mended by these lines.
func fixing(fixes ...plan.Finding) plan.Plan {
	return plan.Plan{Base: plan.Revision{Name: "main"}, Head: plan.Revision{Name: "HEAD"}, Findings: fixes}
}

func fix(file string, line int, was, becomes string) plan.Finding {
	return plan.Finding{
		Finding: v1alpha1.Finding{Severity: "error", Code: "Code", File: file, Line: line, Message: "wrong"},
		Fix:     &v1alpha1.Fix{Old: was, New: becomes},
	}
}

// patchOf is the block of code with the mended lines.
func patchOf(t *testing.T, markdown, fence string) string {
	t.Helper()
	_, rest, found := strings.Cut(markdown, "\n"+fence+"diff\n")
	patch, _, closed := strings.Cut(rest, "\n"+fence+"\n")
	if !found || !closed {
		t.Fatalf("no patch in\n%s", markdown)
	}
	return patch + "\n"
}

// TestPatch: what the comment folds away is a patch that Git takes.
func TestPatch(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("a.yaml", "one: 1\ntwo: 2\nthree: 3\n")
	write("b.yaml", "one: 1\ntwo: 2")
	p := fixing(fix("b.yaml", 1, "one: 1", "one: I"), fix("a.yaml", 3, "three: 3", "three: III"), fix("a.yaml", 1, "one: 1", "one: I"), fix("a.yaml", 1, "one: 1", "one: I"))
	write("fixes.patch", patchOf(t, p.Markdown(0), "```"))
	git := exec.CommandContext(t.Context(), "git", "apply", "--unidiff-zero", "fixes.patch")
	git.Dir = dir
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("git apply: %v: %s", err, out)
	}
	got := map[string]string{}
	for _, name := range []string{"a.yaml", "b.yaml"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got[name] = string(text)
	}
	want := map[string]string{"a.yaml": "one: I\ntwo: 2\nthree: III\n", "b.yaml": "one: I\ntwo: 2"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A line that holds a fence does not end the block it stands in, nor does the name of
// a file.
func TestPatchFenced(t *testing.T) {
	got := fixing(fix("a````\n```b.yaml", 1, "a: ```` # </details> @somebody", "b: ````")).Markdown(0)
	patch := patchOf(t, got, "`````")
	if !strings.Contains(patch, "-a: ```` # </details> @somebody\n+b: ````\n") || strings.Count(got, "\n```") != 2 {
		t.Errorf("got\n%s", got)
	}
}
