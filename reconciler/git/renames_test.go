// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/test/gitserver"
)

// TestRenamed compares with what the real git tells of two commits.
func TestRenamed(t *testing.T) {
	long := strings.Join(numbered(20), "")
	edited := strings.Replace(long, "key3: value", "key3: other", 1)
	for name, c := range map[string]struct {
		reason     string
		base, head map[string]string
		want       string // "NEW < OLD", by lines
	}{
		"Moved":      {"the same content in another folder", map[string]string{"a.yaml": long}, map[string]string{"b/a.yaml": long}, "b/a.yaml < a.yaml"},
		"Edited":     {"most of it is the same", map[string]string{"a.yaml": long, "c": "1"}, map[string]string{"b.yaml": edited, "c": "2"}, "b.yaml < a.yaml"},
		"Copied":     {"what is still there was not renamed", map[string]string{"a.yaml": long}, map[string]string{"a.yaml": long, "b.yaml": edited}, ""},
		"Other":      {"nothing is the same", map[string]string{"a.yaml": long}, map[string]string{"b.yaml": strings.ToUpper(long)}, ""},
		"Two":        {"each comes from what is nearest to it", map[string]string{"a.yaml": long, "b.yaml": "x: 1\n" + edited + "y: 2\n"}, map[string]string{"c.yaml": edited, "d.yaml": "x: 1\n" + edited + "y: 3\n"}, "c.yaml < a.yaml\nd.yaml < b.yaml"},
		"Link":       {"a link is no file", map[string]string{"a.yaml": gitserver.Symlink(long), "k": "1"}, map[string]string{"b.yaml": long, "k": "1"}, ""},
		"Executable": {"what may be run now was edited all the same", map[string]string{"a": long}, map[string]string{"b": gitserver.Executable(edited)}, "b < a"},
	} {
		t.Run(name, func(t *testing.T) {
			base, head, by := twoTrees(t, c.base, c.head)
			renamed, err := Renamed(t.Context(), base, head)
			if err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, to := range slices.Sorted(maps.Keys(renamed)) {
				lines = append(lines, to+" < "+renamed[to])
			}
			got := strings.Join(lines, "\n")
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(by, got); diff != "" {
				t.Errorf("%s: -git +got:\n%s", c.reason, diff)
			}
		})
	}
}

// twoTrees are those of two commits, and what the real git says is renamed in them.
func twoTrees(t *testing.T, base, head map[string]string) (was, is *Tree, renames string) {
	t.Helper()
	server := serve(t, gitserver.Options{})
	byHash(t, server)
	hashes := []string{push(t, server, base), push(t, server, head)}
	commits, err := Remote{URL: server.URL(repo)}.Commits(t.Context(), hashes...)
	if err != nil {
		t.Fatal(err)
	}
	var trees [2]*Tree
	for i, hash := range hashes {
		s, err := commits.Commit(hash)
		if err != nil {
			t.Fatal(err)
		}
		trees[i] = s.Tree
	}
	out, err := exec.CommandContext(t.Context(), "git", "-C", server.Dir(repo), "diff", "--name-status", "--find-renames", "--diff-filter=R", hashes[0], hashes[1]).Output()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) == 3 {
			lines = append(lines, words[2]+" < "+words[1])
		}
	}
	return trees[0], trees[1], strings.Join(lines, "\n")
}

// TestRenamedStorm: where there is too much to compare, what was moved and not changed is
// found all the same, soon.
func TestRenamedStorm(t *testing.T) {
	base, head := map[string]string{}, map[string]string{}
	for i := range 400 {
		var was, is strings.Builder
		for n := range 250 {
			fmt.Fprintf(&was, "a%d: %d\n", i, n)
			fmt.Fprintf(&is, "b%d: %d\n", i, n)
		}
		base[fmt.Sprintf("a%d.yaml", i)], head[fmt.Sprintf("b%d.yaml", i)] = was.String(), is.String()
	}
	base["x/a.yaml"], head["y/a.yaml"] = "moved: 1\n", "moved: 1\n"
	was, is, _ := twoTrees(t, base, head)
	began := time.Now()
	renamed, err := Renamed(t.Context(), was, is)
	if err != nil || renamed["y/a.yaml"] != "x/a.yaml" || len(renamed) != 1 {
		t.Errorf("%v, %v", renamed, err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it takes %s", took)
	} else {
		t.Logf("400 files in the place of 400 others: %s", took)
	}
}
