// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// numbered is a file of some lines.
func numbered(n int) []string {
	var lines []string
	for i := range n {
		lines = append(lines, fmt.Sprintf("key%d: value\n", i+1))
	}
	return lines
}

// TestShownLines compares with what the real git shows: the same lines, each with the
// number that it had.
func TestShownLines(t *testing.T) {
	edit := func(n int, how func([]string) []string) string { return strings.Join(how(numbered(n)), "") }
	same := func(l []string) []string { return l }
	for name, c := range map[string]struct {
		reason, base, head string
	}{
		"Changed":    {"a line, and three around it", edit(20, same), edit(20, func(l []string) []string { l[9] = "new\n"; return l })},
		"First":      {"nothing stands before it", edit(20, same), edit(20, func(l []string) []string { l[0] = "new\n"; return l })},
		"Last":       {"nothing stands after it", edit(20, same), edit(20, func(l []string) []string { l[19] = "new\n"; return l })},
		"Added":      {"what comes after has another number than before", edit(20, same), edit(20, func(l []string) []string { l[4] += "one\ntwo\n"; return l })},
		"Deleted":    {"what is around what is gone", edit(20, same), edit(20, func(l []string) []string { l[4] = ""; l[5] = ""; return l })},
		"Two":        {"two changes with a gap", edit(40, same), edit(40, func(l []string) []string { l[4] = "new\n"; l[30] = ""; return l })},
		"Near":       {"two changes that share their surroundings", edit(20, same), edit(20, func(l []string) []string { l[4] = "new\n"; l[8] = "new\n"; return l })},
		"New":        {"a file that is new", "", edit(5, same)},
		"Gone":       {"a file that is empty now", edit(5, same), ""},
		"NoEnd":      {"without an end of the last line", edit(5, same), edit(5, func(l []string) []string { l[4] = "last"; return l })},
		"EndIsGone":  {"an end of line is a change too", edit(5, same), strings.TrimSuffix(edit(5, same), "\n")},
		"Everything": {"nothing is left as it was", edit(5, same), "a\nb\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(gitShows(t, c.base, c.head), ShownLines([]byte(c.base), []byte(c.head))); diff != "" {
				t.Errorf("%s: -git +got:\n%s", c.reason, diff)
			}
		})
	}
	many := strings.Repeat("a: b\n", maxDiffLines+1)
	if shown := ShownLines([]byte(many), []byte(many+"c: d\n")); shown != nil {
		t.Errorf("a file that is too large shows %d lines", len(shown))
	}
}

var hunk = regexp.MustCompile(`^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@`)

// gitShows reads what git diff writes.
func gitShows(t *testing.T, base, head string) map[int]int {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"base": base, "head": head} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "git", "diff", "--no-index", "--no-color", "base", "head")
	cmd.Dir = dir
	out, _ := cmd.Output() // it ends with 1 where there is a difference
	shown := map[int]int{}
	was, is := 0, 0
	for line := range strings.Lines(string(out)) {
		if m := hunk.FindStringSubmatch(line); m != nil {
			was, _ = strconv.Atoi(m[1])
			is, _ = strconv.Atoi(m[2])
			continue
		}
		switch {
		case is == 0 && was == 0: // the head of the file
		case line[0] == '+':
			shown[is] = 0
			is++
		case line[0] == '-':
			was++
		case line[0] == ' ':
			shown[is] = was
			is, was = is+1, was+1
		}
	}
	return shown
}

// FuzzShownLines: what is shown is a line of head, and stands in base where it says.
func FuzzShownLines(f *testing.F) {
	f.Add("a\nb\nc\n", "a\nx\nc")
	f.Add("", "\n\n")
	f.Fuzz(func(t *testing.T, base, head string) {
		was, is := strings.SplitAfter(base, "\n"), strings.SplitAfter(head, "\n")
		for line, old := range ShownLines([]byte(base), []byte(head)) {
			if line < 1 || line > len(is) || old > len(was) || old > 0 && was[old-1] != is[line-1] {
				t.Errorf("line %d of %q, which was %d of %q", line, head, old, base)
			}
		}
	})
}
