// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// into is a target within the branch that people work on.
func into(server *gitserver.Server, folder string) Target {
	to := target(server)
	to.Branch, to.Folder = "main", folder
	return to
}

// TestFolder: a report in a folder of somebody's branch changes that folder alone.
func TestFolder(t *testing.T) {
	server := serve(t, gitserver.Options{})
	people := map[string]string{"README.md": "theirs", "workspaces/a.yaml": "theirs", "badges/x": "theirs", "run": gitserver.Executable("#!/bin/sh"), "status/notes": "beside it"}
	first, err := server.Push(repo, "main", people, "first")
	if err != nil {
		t.Fatal(err)
	}
	to := into(server, "status/prod")
	write(t, to, snapshot(served(), tuned()))
	second := write(t, to, snapshot(served()))
	if again := write(t, to, snapshot(served())); again.Changed || again.Commit != second.Commit {
		t.Errorf("the same report again is no commit: %+v", again)
	}
	files, err := server.Files(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"status/prod/.espalier.yaml", "status/prod/README.md", "status/prod/badges/models/phi-4-mini.svg", "status/prod/workspaces/models/phi-4-mini.yaml"}
	want = append(want, slices.Collect(maps.Keys(people))...)
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(files))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for name, content := range snapshot(served()) {
		if files["status/prod/"+name] != string(content) {
			t.Errorf("%s differs", name)
		}
	}
	commits, err := server.Log(repo, "main")
	if err != nil || len(commits) != 3 || commits[2].Hash != first || !slices.Equal(commits[1].Parents, []string{first}) {
		t.Fatalf("%v, %v: want two commits on top of %s", commits, err, first)
	}
	for _, part := range []string{"research/tuning-phi-3: removed\n", "\n[skip ci]\n"} {
		if !strings.Contains(commits[0].Message, part) {
			t.Errorf("the message lacks %q:\n%s", part, commits[0].Message)
		}
	}
	changed, err := exec.Command("git", "-C", server.Dir(repo), "diff", "--name-only", first, "main").Output()
	if err != nil || strings.Contains("\n"+string(changed), "\nworkspaces") || strings.Count(string(changed), "\n") != 4 {
		t.Errorf("changed: %s, %v", changed, err)
	}
}

func TestFolderConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		files  map[string]string
		change func(*Target)
		want   string // of the message
		as     string // reason
	}{
		"Theirs":     {"A folder that somebody else made is left alone.", map[string]string{"status/a": "1"}, nil, "Folder status of branch main of", v1alpha1.ReasonReportConflict},
		"AFile":      {"A file in its place too.", map[string]string{"status": "1"}, nil, "was not made by Espalier", v1alpha1.ReasonReportConflict},
		"OfAnother":  {"Two installations have a folder each.", map[string]string{"status/.espalier.yaml": "format: 1\ninstallation: other\ncluster: eu\nnamespace: a\nreposync: b\n"}, nil, "is written by RepoSync a/b of cluster eu (another installation)", v1alpha1.ReasonReportConflict},
		"WithinOne":  {"What lies in another's report would be deleted by that.", map[string]string{".espalier.yaml": "x"}, nil, "lies in the report that folder . holds", v1alpha1.ReasonReportConflict},
		"WithinOne2": {"However deep.", map[string]string{"a/.espalier.yaml": "x"}, func(to *Target) { to.Folder = "a/workspaces/b" }, "lies in the report that folder a holds", v1alpha1.ReasonReportConflict},
		"AroundOne": {"And the other way round.", map[string]string{
			"status/.espalier.yaml":              "format: 1\ninstallation: 11111111-aaaa\nnamespace: models\nreposync: fleet\n",
			"status/workspaces/b/.espalier.yaml": "format: 1\ninstallation: 11111111-aaaa\nnamespace: models\nreposync: other\n",
		}, nil, "holds the report status/workspaces/b of somebody else", v1alpha1.ReasonReportConflict},
		"NoBranch": {"A branch of people is never begun by a report.", map[string]string{"x": "1"}, func(to *Target) { to.Branch = "gone" }, "Branch gone of", v1alpha1.ReasonReportFailed},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			if _, err := server.Push(repo, "main", c.files, "first"); err != nil {
				t.Fatal(err)
			}
			to := into(server, "status")
			if c.change != nil {
				c.change(&to)
			}
			_, err := Write(context.Background(), to, nil, of(snapshot(served())), "s")
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != c.as || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngot %v, want %s: %q", c.reason, err, c.as, c.want)
			}
			if commits, err := server.Log(repo, "main"); err != nil || len(commits) != 1 {
				t.Errorf("%d commits, %v", len(commits), err)
			}
			if branches, err := server.Branches(repo); err != nil || len(branches) != 1 {
				t.Errorf("branches %v, %v", branches, err)
			}
		})
	}
}

// crew pushes to main as people do: what is refused is fetched, rebased and pushed
// again.
type crew struct {
	people
	made int
}

func (c *crew) work(t *testing.T, round int) {
	t.Helper()
	name := fmt.Sprintf("models/%d.yaml", round%7)
	c.git(t, c.clone, "pull", "--quiet", "--rebase", "origin", "main")
	shell := exec.Command("sh", "-ec", fmt.Sprintf(`echo %d > %s; git add %s; git commit --quiet --message "round %d"
		until git push --quiet origin HEAD:main 2>/dev/null; do git pull --quiet --rebase origin main; done`, round, name, name, round))
	shell.Dir = c.clone
	shell.Env = append(shell.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	if out, err := shell.CombinedOutput(); err != nil {
		t.Errorf("round %d: %v\n%s", round, err, out)
	}
	c.made++
}

// TestThreeClustersOnMain: three clusters report into folders of the branch that
// people push to. Nobody's commit is lost, none is forced, and each changes what is
// its maker's alone.
func TestThreeClustersOnMain(t *testing.T) {
	n := max(*rounds/16, 5) // a round takes as long as its slowest push
	server := serve(t, gitserver.Options{})
	c := &crew{people: *newPeople(t, server)}
	all := clusters(server)
	for _, w := range all {
		w.to.Branch, w.to.Folder = "main", "status/"+w.to.Cluster
	}
	for round := range n {
		var done sync.WaitGroup
		done.Go(func() { c.work(t, round) })
		for i, w := range all {
			w.move(rand.New(rand.NewPCG(11, uint64(3*round+i))))
			done.Go(func() {
				result, err := Write(context.Background(), w.to, nil, of(w.files()), "espalier: "+w.to.Cluster)
				if err != nil {
					t.Errorf("cluster %s: %v", w.to.Cluster, err)
				} else if result.Changed {
					w.wrote = append(w.wrote, wrote{result.Commit, nil})
				}
			})
		}
		done.Wait()
		if t.Failed() {
			t.FailNow()
		}
	}
	commits, err := server.Log(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	byPeople := 0
	for i, commit := range commits {
		if i < len(commits)-1 && !slices.Equal(commit.Parents, []string{commits[i+1].Hash}) {
			t.Errorf("%s is not on top of the one before it", commit.Hash)
		}
		out, err := exec.Command("git", "-C", server.Dir(repo), "diff-tree", "--root", "--no-commit-id", "--name-only", "-r", commit.Hash).Output()
		if err != nil {
			t.Fatal(err)
		}
		folder := "models/"
		if commit.Author != "Espalier" {
			byPeople++
		} else if i := slices.IndexFunc(all, func(w *clusterWriter) bool {
			return slices.ContainsFunc(w.wrote, func(x wrote) bool { return x.commit == commit.Hash })
		}); i >= 0 {
			folder = all[i].to.Folder + "/"
		} else {
			t.Errorf("%s is nobody's", commit.Hash)
		}
		for name := range strings.Lines(string(out)) {
			if !strings.HasPrefix(name, folder) {
				t.Errorf("%s by %s changes %s", commit.Hash, commit.Author, name)
			}
		}
	}
	want := c.made + 1
	for _, w := range all {
		want += len(w.wrote)
	}
	if byPeople != c.made+1 || len(commits) != want {
		t.Errorf("%d commits, %d of people; want %d and %d", len(commits), byPeople, want, c.made+1)
	}
	before := strings.Repeat("0", 40)
	for _, move := range moves(t, server, "main") {
		if move[0] != before {
			t.Errorf("main was moved from %s, and was at %s", move[0], before)
		}
		before = move[1]
	}
	files, err := server.Files(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		for name, content := range w.files() {
			if files[filepath.Join(w.to.Folder, name)] != string(content) {
				t.Errorf("%s of %s is not the last state", name, w.to.Cluster)
			}
		}
	}
	if out, err := exec.Command("git", "-C", server.Dir(repo), "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	t.Logf("%d rounds, %d commits, %d of people", n, len(commits), byPeople)
}
