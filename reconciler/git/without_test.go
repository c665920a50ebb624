// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const mark = ".mark"

// filesOf are the paths of all files of a tree.
func filesOf(t *testing.T, tree fs.FS) []string {
	t.Helper()
	var paths []string
	err := fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			paths = append(paths, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestWithout(t *testing.T) {
	people := map[string]string{"README.md": "hi", "clusters/prod/kustomization.yaml": "resources: []", "x": "x"}
	for name, c := range map[string]struct {
		reason string
		more   map[string]string
		want   []string // beside those of people; nil: the very same tree
	}{
		"NothingMarked": {"Nothing is copied where nothing is left out.", map[string]string{}, nil},
		"Marked":        {"The whole folder goes, also what somebody put beside the report.", map[string]string{"status/.mark": "", "status/a/b": "b", "status/mine": "m"}, []string{}},
		"OnlyOne":       {"A folder that held nothing else goes with it, as Git keeps none that is empty.", map[string]string{"a/b/c/.mark": "1", "a/b/c/d": "2"}, []string{}},
		"Beside":        {"What lies beside it stays.", map[string]string{"a/status/.mark": "1", "a/keep": "2"}, []string{"a/keep"}},
		"TwoOfThem":     {"The report of another RepoSync wakes nobody either.", map[string]string{"status/a/.mark": "1", "status/b/.mark": "2", "status/b/x": "3"}, []string{}},
		"AtTheRoot":     {"Of a whole branch that is a report nothing would be left.", map[string]string{".mark": "1"}, []string{".mark"}},
		"FolderNamedSo": {"A folder is no mark.", map[string]string{"a/.mark/b": "1"}, []string{"a/.mark/b"}},
		"OtherCase":     {"Nor is another name.", map[string]string{"a/.Mark": "1"}, []string{"a/.Mark"}},
		"ExecutableBit": {"A mark is a plain file, as Espalier writes it.", map[string]string{"a/.mark": gitserver.Executable("1")}, []string{"a/.mark"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			push(t, server, people)
			before := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Tree
			all := maps.Clone(people)
			maps.Copy(all, c.more)
			push(t, server, all)
			tree := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Tree
			got, err := tree.Without(mark)
			if err != nil {
				t.Fatal(err)
			}
			want := slices.Sorted(maps.Keys(people))
			want = append(want, c.want...)
			slices.Sort(want)
			paths := filesOf(t, got)
			slices.Sort(paths)
			if diff := cmp.Diff(want, paths); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if c.want == nil && got != tree {
				t.Error(c.reason)
			}
			a, errA := before.Hash(".")
			b, errB := got.Hash(".")
			if same := len(c.want) == 0; errA != nil || errB != nil || (a == b) != same {
				t.Errorf("%s\nthe hash of %s is %s, before it was %s (%v, %v)", c.reason, name, b, a, errA, errB)
			}
		})
	}
}

// TestWithoutManyTimes: a small pack can name one tree without number, and go on
// without end.
func TestWithoutManyTimes(t *testing.T) {
	store := memory.NewStorage()
	put := func(tree *object.Tree) plumbing.Hash {
		o := store.NewEncodedObject()
		if err := tree.Encode(o); err != nil {
			t.Fatal(err)
		}
		hash, err := store.SetEncodedObject(o)
		if err != nil {
			t.Fatal(err)
		}
		return hash
	}
	blob := plumbing.NewHash(strings.Repeat("a", 40))
	at := put(&object.Tree{Entries: []object.TreeEntry{{Name: mark, Mode: filemode.Regular, Hash: blob}}})
	for range 40 { // 10^40 folders, were each looked at by itself
		level := &object.Tree{}
		for i := range 10 {
			level.Entries = append(level.Entries, object.TreeEntry{Name: fmt.Sprint(i), Mode: filemode.Dir, Hash: at})
		}
		at = put(level)
	}
	got, err := newTree(store, at).Without(mark)
	if err != nil {
		t.Fatal(err)
	}
	if left := filesOf(t, got); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	for range 100_000 {
		at = put(&object.Tree{Entries: []object.TreeEntry{{Name: "d", Mode: filemode.Dir, Hash: at}}})
	}
	if got, err = newTree(store, at).Without(mark); err != nil || got.root != at {
		t.Errorf("what lies deeper than anybody looks stays as it is: %v", err)
	}
}
