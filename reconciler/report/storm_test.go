// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"crypto/sha1"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

var (
	rounds = flag.Int("rounds", 200, "rounds of three clusters that write into one repository")
	seed   = flag.Uint64("seed", 0, "seed of what happens in them; 0: a new one, which is printed")
)

// clusterWriter is one of several clusters that report into one repository, and
// what it remembers of it.
type clusterWriter struct {
	to     Target
	book   *Book // nil: it reads the branch each time
	states []State
	wrote  []wrote // in order
}

// wrote is one commit and what it must hold.
type wrote struct {
	commit string
	files  map[string][]byte
}

// move changes some of its Workspaces, or none.
func (c *clusterWriter) move(rng *rand.Rand) {
	for i := range c.states {
		if rng.IntN(4) == 0 {
			c.states[i] = []State{Ready, Progressing, Refused}[rng.IntN(3)]
		}
	}
}

func (c *clusterWriter) files() map[string][]byte {
	s := Snapshot{Cluster: c.to.Cluster, Namespace: c.to.Namespace, Name: c.to.Name, Revision: c.to.Revision}
	for i, state := range c.states {
		name := fmt.Sprintf("model-%d", i)
		w := serving(name, is("Ready", "True", "Succeeded", "The model answers"))
		switch state {
		case Progressing:
			w = progressing(name)
		case Refused:
			w = serving(name, is("Ready", "False", "Refused", "it does not fit"), is("Stalled", "True", "Refused", "it does not fit"))
		}
		s.Workspaces = append(s.Workspaces, &w)
	}
	return Files(s)
}

// report writes what it sees, and notes the commit.
func (c *clusterWriter) report(t *testing.T) {
	files := c.files()
	result, err := Write(context.Background(), c.to, c.book, of(files), "espalier: "+c.to.Cluster)
	switch {
	case err != nil:
		t.Errorf("cluster %s: %v", c.to.Cluster, err)
	case result.Changed:
		c.wrote = append(c.wrote, wrote{result.Commit, files})
	case len(c.wrote) == 0 || c.wrote[len(c.wrote)-1].commit != result.Commit:
		t.Errorf("cluster %s: nothing was to be written, but the branch is at %s", c.to.Cluster, result.Commit)
	}
}

// clusters are three, each with a branch of its own in one repository.
func clusters(server *gitserver.Server) []*clusterWriter {
	var list []*clusterWriter
	for i, name := range []string{"prod-eu", "prod-us", "staging"} {
		to := target(server)
		to.Cluster, to.Installation = name, fmt.Sprintf("%d-installation", i)
		to.Branch = repolayout.StatusBranch(name, to.Namespace, to.Name)
		list = append(list, &clusterWriter{to: to, states: make([]State, 6)})
		if i > 0 { // a controller keeps one for each RepoSync
			list[i].book = &Book{}
		}
	}
	return list
}

// people push to main with git, as people do, and to branches of their own. All
// maps a branch to its commits, the oldest first.
type people struct {
	server *gitserver.Server
	clone  string
	all    map[string][]string
}

func newPeople(t *testing.T, server *gitserver.Server) *people {
	t.Helper()
	p := &people{server: server, clone: filepath.Join(t.TempDir(), "clone"), all: map[string][]string{}}
	first, err := server.Push(repo, "main", map[string]string{"models/a.yaml": "a"}, "first")
	if err != nil {
		t.Fatal(err)
	}
	p.all["main"] = []string{first}
	p.git(t, "", "clone", "--quiet", server.URL(repo), p.clone)
	return p
}

func (p *people) git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// work is one round of theirs.
func (p *people) work(t *testing.T, round int) {
	branch := fmt.Sprintf("feature/%d", round%5)
	hash, err := p.server.Push(repo, branch, map[string]string{"models/a.yaml": fmt.Sprint(round)}, fmt.Sprint("round ", round))
	if err != nil {
		t.Error(err)
	}
	p.all[branch] = append(p.all[branch], hash)
	if round%4 == 0 {
		p.git(t, p.clone, "commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("round ", round))
		p.git(t, p.clone, "push", "--quiet", "origin", "main")
		p.all["main"] = append(p.all["main"], p.git(t, p.clone, "rev-parse", "HEAD"))
	}
}

// moves are the values that a branch had, by Git's own book of the server: each
// time the one before and the one after.
func moves(t *testing.T, server *gitserver.Server, branch string) [][2]string {
	t.Helper()
	book, err := os.ReadFile(filepath.Join(server.Dir(repo), "logs", "refs", "heads", branch))
	if err != nil {
		t.Fatal(err)
	}
	var list [][2]string
	for line := range strings.Lines(string(book)) {
		f := strings.Fields(line)
		list = append(list, [2]string{f[0], f[1]})
	}
	return list
}

// oneLine asserts that a branch holds just these commits, each on top of the one
// before, and never held anything else.
func oneLine(t *testing.T, server *gitserver.Server, branch string, want []string) {
	t.Helper()
	log, err := server.Log(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, c := range slices.Backward(log) {
		got = append(got, c.Hash)
		if i < len(log)-1 && !slices.Equal(c.Parents, []string{log[i+1].Hash}) {
			t.Errorf("%s: %s is not on top of the commit before it", branch, c.Hash)
		}
		if strings.HasPrefix(branch, "espalier/status/") != (c.Author == "Espalier") {
			t.Errorf("%s: %s is by %s", branch, c.Hash, c.Author)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s holds %d commits, want the %d that were made:\n%v\n%v", branch, len(got), len(want), got, want)
	}
	before := strings.Repeat("0", 40)
	for i, move := range moves(t, server, branch) {
		if move[0] != before || i < len(want) && move[1] != want[i] {
			t.Errorf("%s was moved from %s to %s, which was not the next commit", branch, move[0], move[1])
		}
		before = move[1]
	}
}

// holds asserts that every commit of a cluster is the report it made, byte by byte,
// beside the file that says whose the branch is, and nothing else.
func (c *clusterWriter) holds(t *testing.T, server *gitserver.Server) {
	t.Helper()
	for _, w := range c.wrote {
		var want []string
		for path, content := range w.files {
			want = append(want, fmt.Sprintf("100644 blob %x\t%s", sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content)), path))
		}
		slices.SortFunc(want, byPath)
		out, err := exec.Command("git", "-C", server.Dir(repo), "ls-tree", "-r", w.commit).Output()
		if err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(out)), "\n"), func(line string) bool {
			return strings.HasSuffix(line, "\t"+repolayout.StatusOwnerFile)
		})
		slices.SortFunc(got, byPath)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("cluster %s: commit %s is not what was reported (-want +got):\n%s", c.to.Cluster, w.commit, diff)
		}
	}
}

func byPath(a, b string) int {
	_, a, _ = strings.Cut(a, "\t")
	_, b, _ = strings.Cut(b, "\t")
	return strings.Compare(a, b)
}

// TestThreeClusters: three clusters report into one repository while people push to
// it. No update is lost, nothing is ever forced, and nobody's commits are touched.
func TestThreeClusters(t *testing.T) {
	if *seed == 0 {
		*seed = uint64(time.Now().UnixNano())
	}
	t.Logf("%d rounds of seed %d", *rounds, *seed)
	server := serve(t, gitserver.Options{})
	crowd, all := newPeople(t, server), clusters(server)
	for round := range *rounds {
		var done sync.WaitGroup
		done.Go(func() { crowd.work(t, round) })
		for i, c := range all {
			c.move(rand.New(rand.NewPCG(*seed, uint64(3*round+i))))
			done.Go(func() { c.report(t) })
		}
		done.Wait()
		if t.Failed() {
			t.Fatalf("in round %d of seed %d", round, *seed)
		}
	}
	commits := 0
	for _, c := range all {
		var made []string
		for _, w := range c.wrote {
			made = append(made, w.commit)
		}
		commits += len(made)
		oneLine(t, server, c.to.Branch, made)
		c.holds(t, server)
	}
	branches, err := server.Branches(repo)
	if err != nil || len(branches) != len(all)+len(crowd.all) {
		t.Errorf("branches %v (%v), want the %d of the clusters and the %d of the people", branches, err, len(all), len(crowd.all))
	}
	for branch, made := range crowd.all {
		oneLine(t, server, branch, made)
	}
	if out, err := exec.Command("git", "-C", server.Dir(repo), "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	t.Logf("%d commits of reports and %d of people, each on top of the one before", commits, len(slices.Concat(slices.Collect(maps.Values(crowd.all))...)))
}

// TestThreeClustersOneBranch: three clusters that were given one branch do not share
// it. The first has it, and the others say so and write nothing.
func TestThreeClustersOneBranch(t *testing.T) {
	server := serve(t, gitserver.Options{})
	all := clusters(server)
	for _, c := range all {
		c.to.Branch = "espalier/status/shared"
	}
	all[0].report(t)
	for round := range 10 {
		var done sync.WaitGroup
		for i, c := range all {
			c.move(rand.New(rand.NewPCG(7, uint64(3*round+i))))
			if i == 0 {
				done.Go(func() { c.report(t) })
				continue
			}
			done.Go(func() {
				var failure *Error
				_, err := Write(context.Background(), c.to, nil, of(c.files()), "s")
				if !errors.As(err, &failure) || failure.Reason != v1alpha1.ReasonReportConflict || !strings.Contains(err.Error(), "cluster prod-eu") {
					t.Errorf("cluster %s: got %v, want a conflict that names prod-eu", c.to.Cluster, err)
				}
			})
		}
		done.Wait()
	}
	var made []string
	for _, w := range all[0].wrote {
		made = append(made, w.commit)
	}
	oneLine(t, server, all[0].to.Branch, made)
	all[0].holds(t, server)
}
