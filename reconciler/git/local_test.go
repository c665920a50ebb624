// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/sync/errgroup"
)

// onDisk makes a repository with git itself.
func onDisk(t *testing.T, script string) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	dir := t.TempDir()
	c := exec.Command("sh", "-ec", "git init -q -b main .\n"+script)
	c.Dir = dir
	c.Env = append(os.Environ(), "HOME="+dir, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

const twoBranches = `
mkdir dir; echo one > dir/file; ln -s dir/file link; git add -A; git commit -qm first
git tag -a -m release v1
git checkout -qb change; echo two > dir/file; git commit -qam second
git checkout -q main; echo other > other; git add -A; git commit -qm third
`

func openLocal(t *testing.T, dir string) *Local {
	t.Helper()
	l, err := OpenLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestLocal(t *testing.T) {
	for name, c := range map[string]struct {
		reason, script, within string
		revision, want         string // of dir/file
	}{
		"Branch":     {reason: "Loose objects.", revision: "change", want: "two\n"},
		"Packed":     {reason: "As a clone has them.", script: "git gc -q", revision: "change", want: "two\n"},
		"Tag":        {reason: "An annotated tag is its commit.", script: "git gc -q", revision: "v1", want: "one\n"},
		"Head":       {reason: "What is checked out.", revision: "HEAD", want: "one\n"},
		"Before":     {reason: "As git counts back.", revision: "change~1", want: "one\n"},
		"Within":     {reason: "A folder of the work tree is within it.", within: "dir", revision: "change", want: "two\n"},
		"Linked":     {reason: "A linked work tree shares the objects.", script: "git worktree add -q --detach linked change", within: "linked", revision: "HEAD", want: "two\n"},
		"Borrowed":   {reason: "A clone may borrow the objects of another.", script: "git clone -q --shared --branch change . borrowed", within: "borrowed", revision: "HEAD", want: "two\n"},
		"NotOnDisk":  {reason: "The work tree says nothing.", script: "git checkout -q change; echo three > dir/file", revision: "change", want: "two\n"},
		"WithConfig": {reason: "What git keeps in the repository's configuration does not matter.", script: "git config extensions.worktreeConfig true", revision: "change", want: "two\n"},
	} {
		t.Run(name, func(t *testing.T) {
			l := openLocal(t, filepath.Join(onDisk(t, twoBranches+c.script), c.within))
			s, err := l.Commit(c.revision)
			if err != nil {
				t.Fatalf("%s: %v", c.reason, err)
			}
			if got, err := s.Tree.ReadFile("dir/file"); err != nil || string(got) != c.want {
				t.Errorf("%s: %q, %v", c.reason, got, err)
			}
			if _, err := fs.ReadFile(s.Tree, "link"); !errors.Is(err, ErrNotRegular) {
				t.Errorf("a link is not followed: %v", err)
			}
		})
	}
}

func TestLocalTree(t *testing.T) {
	s, err := openLocal(t, onDisk(t, "mkdir -p a/b; echo x > a/b/c; echo y > d; git add -A; git commit -qm one; git gc -q")).Commit("main")
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(s.Tree, "a/b/c", "d"); err != nil {
		t.Error(err)
	}
	if !strings.HasPrefix(s.Revision, "main@sha1:") {
		t.Errorf("revision %s", s.Revision)
	}
}

// TestLocalTreeByMany reads a packed repository, as every clone is, from several
// goroutines, as a build does.
func TestLocalTreeByMany(t *testing.T) {
	const files = 200
	script := fmt.Sprintf(`for i in $(seq %d); do mkdir d$i; seq $i $((i + 900)) > d$i/file; done; git add -A; git commit -qm all; git gc -q`, files)
	snapshot, err := openLocal(t, onDisk(t, script)).Commit("HEAD")
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	group.SetLimit(8)
	for i := 1; i <= files; i++ {
		group.Go(func() error {
			content, err := fs.ReadFile(snapshot.Tree, fmt.Sprintf("d%d/file", i))
			if first := fmt.Sprintf("%d\n", i); err == nil && !strings.HasPrefix(string(content), first) {
				err = fmt.Errorf("d%d/file begins with %.10q", i, content)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}

func TestMergeBase(t *testing.T) {
	l := openLocal(t, onDisk(t, twoBranches+"git checkout -q --orphan alone; git commit -qm fourth"))
	first, err := l.Commit("v1")
	if err != nil {
		t.Fatal(err)
	}
	base, err := l.MergeBase("main", "change")
	if err != nil || base.Hash != first.Hash {
		t.Errorf("where change left main: %v, %v", base, err)
	}
	if base, err = l.MergeBase("v1", "change"); err != nil || base.Hash != first.Hash {
		t.Errorf("a base that head contains is itself: %v, %v", base, err)
	}
	if _, err := l.MergeBase("main", "alone"); !errors.Is(err, ErrNoMergeBase) {
		t.Errorf("two histories: %v", err)
	}
	if got := l.FirstOf("origin/main", "main"); got != "main" {
		t.Errorf("the first there is: %q", got)
	}
}

func TestLocalErrors(t *testing.T) {
	if _, err := OpenLocal(t.TempDir()); !errors.Is(err, ErrNoRepository) {
		t.Errorf("no repository: %v", err)
	}
	dir := onDisk(t, twoBranches+"git clone -q --depth 1 file://$PWD shallow")
	for _, revision := range []string{"nowhere", "", "-x", "HEAD~99", strings.Repeat("0", 40)} {
		if _, err := openLocal(t, dir).Commit(revision); !errors.Is(err, ErrNoRevision) {
			t.Errorf("%q: %v", revision, err)
		}
	}
	if _, err := OpenLocal(onDisk(t, "git config core.repositoryformatversion 1; git config extensions.objectformat sha256")); err == nil || !strings.Contains(err.Error(), "objectformat") {
		t.Errorf("what cannot be read is refused: %v", err)
	}
	_, err := openLocal(t, filepath.Join(dir, "shallow")).Commit("HEAD~1")
	if !errors.Is(err, ErrNoRevision) || !strings.Contains(err.Error(), "shallow") {
		t.Errorf("a shallow clone says so: %v", err)
	}
}
