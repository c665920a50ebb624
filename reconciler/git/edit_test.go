// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/test/gitserver"
)

func changeOf(put map[string]string, gone ...string) Change {
	c := Change{Files: map[string]func() []byte{}, Gone: gone, Message: "m", Name: "n", Email: "e", When: time.Unix(1700000000, 0)}
	for name, text := range put {
		c.Files[name] = Text([]byte(text))
	}
	return c
}

// TestCommitNames: what a change names is as it says, and all else as it was.
func TestCommitNames(t *testing.T) {
	before := map[string]string{"a/b/c": "1", "a/b.x": "2", "a/b0": "3", "status/old": "4", "status/run": gitserver.Executable("5"), "z": "6"}
	for name, c := range map[string]struct {
		reason string
		change Change
		want   map[string]string // beside what was there; "": gone
		err    string
		same   bool // no commit is made
	}{
		"New":        {reason: "A folder is made for it.", change: changeOf(map[string]string{"status/x/y": "n"}), want: map[string]string{"status/x/y": "n"}},
		"Between":    {reason: "Git sorts a folder as if its name ended in a slash: b-, b.x, b/, b0.", change: changeOf(map[string]string{"a/b/d": "n", "a/b-": "n", "a/b1": "n", "a/a": "n"}), want: map[string]string{"a/b/d": "n", "a/b-": "n", "a/b1": "n", "a/a": "n"}},
		"Gone":       {reason: "A file goes.", change: changeOf(nil, "status/old"), want: map[string]string{"status/old": ""}},
		"FolderGone": {reason: "Git keeps no empty folder.", change: changeOf(nil, "a/b/c"), want: map[string]string{"a/b/c": ""}},
		"NeverThere": {reason: "What is not there need not go.", change: changeOf(nil, "status/none", "none/x"), same: true},
		"Same":       {reason: "It is so already.", change: changeOf(map[string]string{"z": "6", "a/b/c": "1"}), same: true},
		"NoProgram":  {reason: "What a report writes is no program.", change: changeOf(map[string]string{"status/run": "5"}), want: map[string]string{"status/run": "5"}},
		"FileThere":  {reason: "A file that is not the caller's is not made a folder.", change: changeOf(map[string]string{"z/x": "n"}), err: "a file is in the place of its folder"},
		"FolderThere": {
			reason: "Nor a folder with all that it holds a file.", change: changeOf(map[string]string{"a": "n"}), err: "there is a folder of that name",
		},
		"FolderNamed": {reason: "Files go, and no folder.", change: changeOf(nil, "a/b"), same: true},
		"Both":        {reason: "A change cannot have both.", change: changeOf(map[string]string{"q": "n", "q/r": "n"}), err: "a file is in the place of its folder"},
		"Outside":     {reason: "No path leads out.", change: changeOf(map[string]string{"../x": "n"}), err: "no path"},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			push(t, server, before)
			branch, err := Remote{URL: server.URL(repo)}.Branch(t.Context(), "main", nil)
			if err != nil {
				t.Fatal(err)
			}
			_, changed, err := branch.Commit(c.change)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%s\n%v, want %q", c.reason, err, c.err)
				}
				return
			}
			if err != nil || changed == c.same {
				t.Fatalf("%s\nchanged: %v, %v", c.reason, changed, err)
			}
			if changed {
				if err := branch.Push(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			want := maps.Clone(before)
			maps.Copy(want, c.want)
			maps.DeleteFunc(want, func(_, text string) bool { return text == "" })
			checkFiles(t, server, "main", want)
		})
	}
}

// checkFiles compares a branch with files, and has Git check all its objects.
func checkFiles(t *testing.T, server *gitserver.Server, branch string, want map[string]string) {
	t.Helper()
	files, err := server.Files(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	texts, programs := map[string]string{}, []string{}
	for name, text := range want {
		if texts[name] = strings.TrimPrefix(text, gitserver.Executable("")); texts[name] != text {
			programs = append(programs, name)
		}
	}
	if d := cmp.Diff(texts, files); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	list, err := exec.Command("git", "-C", server.Dir(repo), "ls-tree", "-r", branch).Output()
	if err != nil || strings.Count("\n"+string(list), "\n100755 ") != len(programs) {
		t.Errorf("%v are to be programs (%v):\n%s", programs, err, list)
	}
	if out, err := exec.Command("git", "-C", server.Dir(repo), "fsck", "--strict", "--full").CombinedOutput(); err != nil {
		t.Errorf("git fsck: %v\n%s", err, out)
	}
}

// TestCommitsOneOnAnother makes commits at random, each on what is known of the one
// before: the branch holds what was put, and each push sends what is new and no more.
func TestCommitsOneOnAnother(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	server := serve(t, gitserver.Options{})
	want := map[string]string{}
	for i := range 300 {
		want[fmt.Sprintf("d%d/f%03d", i%3, i)] = fmt.Sprint(i)
	}
	r, known, put := Remote{URL: server.URL(repo)}, (*Head)(nil), maps.Clone(want)
	var gone []string
	for round := range 12 {
		branch, err := r.Branch(t.Context(), "status", known)
		if err != nil {
			t.Fatal(err)
		}
		if branch.Known != (round > 0) {
			t.Fatalf("round %d: known %v", round, branch.Known)
		}
		if _, _, err := branch.Commit(changeOf(put, gone...)); err != nil {
			t.Fatal(err)
		}
		before := objectsOf(t, server)
		if err := branch.Push(t.Context()); err != nil {
			t.Fatal(err)
		}
		if came := objectsOf(t, server) - before; round > 0 && came > 2*len(put)+6 {
			t.Errorf("round %d: %d objects were sent for %d files", round, came, len(put))
		}
		checkFiles(t, server, "status", want)
		if known, err = branch.Head(); err != nil {
			t.Fatal(err)
		}
		put, gone = map[string]string{}, nil
		for range rng.IntN(4) + 1 {
			name := fmt.Sprintf("d%d/f%03d", rng.IntN(4), rng.IntN(300))
			if _, there := want[name]; there && rng.IntN(3) == 0 {
				gone = append(gone, name)
				delete(want, name)
				delete(put, name)
				continue
			}
			put[name] = fmt.Sprint("new ", rng.IntN(1000))
			want[name] = put[name]
			gone = slices.DeleteFunc(gone, func(g string) bool { return g == name })
		}
	}
}

// objectsOf counts the objects of the repository.
func objectsOf(t *testing.T, server *gitserver.Server) int {
	t.Helper()
	out, err := exec.Command("git", "-C", server.Dir(repo), "cat-file", "--batch-check", "--batch-all-objects").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}

// TestCommitIntoNoTree: a server can send what Git never writes, and nothing is put into it.
func TestCommitIntoNoTree(t *testing.T) {
	entry := func(mode, name string) string { return mode + " " + name + "\x00" + strings.Repeat("1", 20) }
	for name, content := range map[string]string{
		"OutOfOrder": entry("100644", "b") + entry("100644", "a"),
		"Twice":      entry("100644", "a") + entry("100644", "a"),
		"Cut":        entry("100644", "a")[:20],
		"NoMode":     entry("x", "a"),
	} {
		b := &Branch{objects: newObjects(1 << 20)}
		b.Tree = newTree(b.objects, b.objects.put(plumbing.TreeObject, []byte(content)))
		if _, _, err := b.Commit(changeOf(map[string]string{"z": "n"})); err == nil {
			t.Errorf("%s: something was put into it", name)
		}
	}
}

// FuzzMerged: whatever a server sends as a tree, it is refused or stays one, with what was
// put and all else.
func FuzzMerged(f *testing.F) {
	f.Add([]byte("100644 a\x0011111111111111111111"), "b")
	f.Add([]byte("40000 a\x0011111111111111111111100644 a0\x0011111111111111111111"), "a.")
	f.Fuzz(func(t *testing.T, content []byte, name string) {
		if name == "" || strings.ContainsAny(name, "/\x00") {
			t.Skip()
		}
		hash := plumbing.NewHash(strings.Repeat("2", 40))
		e := &edit{files: map[string]plumbing.Hash{name: hash}}
		if _, err := e.into(content); err != nil {
			return
		}
		all, brought, err := merged(content, []line{{name, 0o100644, hash}})
		if err != nil {
			return
		}
		before, after := map[string]plumbing.Hash{}, map[string]plumbing.Hash{}
		for entry, err := range entriesOf(content) {
			if err != nil {
				t.Fatal(err)
			}
			before[string(entry.name)] = entry.hash
		}
		before[name] = hash
		for entry, err := range entriesOf(all) {
			if err != nil {
				t.Fatal(err)
			}
			after[string(entry.name)] = entry.hash
		}
		if !maps.Equal(before, after) {
			t.Errorf("%v became %v (new %q)", before, after, brought)
		}
	})
}
