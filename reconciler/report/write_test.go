// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const (
	repo   = "fleet/models"
	branch = "espalier/status/prod-eu/models/fleet"
)

func serve(t *testing.T, opts gitserver.Options) *gitserver.Server {
	t.Helper()
	return gitserver.Serve(t, opts, repo)
}

func target(s *gitserver.Server) Target {
	return Target{
		URL: s.URL(repo), Branch: branch, Timeout: 30 * time.Second,
		Author:       v1alpha1.Author{Name: "Espalier", Email: "espalier@example.com"},
		Installation: "11111111-aaaa", Cluster: "prod-eu", Namespace: "models", Name: "fleet",
		Revision: "main@sha1:" + commit,
	}
}

func snapshot(workspaces ...v1alpha1.Workspace) map[string][]byte {
	return Files(Snapshot{Cluster: "prod-eu", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit, Workspaces: pointers(workspaces...)})
}

func pointers(workspaces ...v1alpha1.Workspace) []*v1alpha1.Workspace {
	all := make([]*v1alpha1.Workspace, len(workspaces))
	for i := range workspaces {
		all[i] = &workspaces[i]
	}
	return all
}

// of is a report of these files.
func of(files map[string][]byte) Report {
	all := Report{others: map[string]File{}}
	for name, text := range files {
		file := fileOf(text)
		if isDocument(name) {
			file.says = parse(text)
		}
		all.others[name] = file
	}
	return all
}

func write(t *testing.T, to Target, files map[string][]byte) Result {
	t.Helper()
	result, err := Write(context.Background(), to, nil, of(files), "espalier: main@sha1:1a2b3c4")
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func log(t *testing.T, s *gitserver.Server) []gitserver.Commit {
	t.Helper()
	l, err := s.Log(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func progressing(name string) v1alpha1.Workspace {
	return serving(name, is("Ready", "False", "WaitingForNodes", "0 of 1 nodes has joined"))
}

func TestWriteAsGitSeesIt(t *testing.T) {
	server := serve(t, gitserver.Options{User: "ada", Password: "pw"})
	main, err := server.Push(repo, "main", map[string]string{"a": "1"}, "first")
	if err != nil {
		t.Fatal(err)
	}
	to := target(server)
	to.Auth = map[string][]byte{"username": []byte("ada"), "password": []byte("pw")}
	first := write(t, to, snapshot(progressing("phi-4-mini"), progressing("other")))
	second := write(t, to, snapshot(served(), tuned()))

	commits := log(t, server)
	if len(commits) != 2 || commits[0].Hash != second.Commit || commits[1].Hash != first.Commit || !first.Changed || !second.Changed {
		t.Fatalf("log: got %+v, want the two commits %v and %v", commits, first, second)
	}
	if len(commits[1].Parents) != 0 {
		t.Error("the branch begins without history: nothing of main is on it")
	}
	if commits[0].Author != "Espalier" || commits[0].Email != "espalier@example.com" || commits[0].Committer != "Espalier" {
		t.Errorf("author: got %+v", commits[0])
	}
	want := "espalier: main@sha1:1a2b3c4\n\n" +
		"other: removed\n" +
		"phi-4-mini: Progressing → Ready\n" +
		"research/tuning-phi-3: Ready (new)\n\n" +
		"[skip ci]\n\n" +
		"Espalier-Cluster: prod-eu\nEspalier-RepoSync: models/fleet\nEspalier-Revision: main@sha1:" + commit
	if d := cmp.Diff(want, commits[0].Message); d != "" {
		t.Errorf("message (-want +got):\n%s", d)
	}
	trailers := exec.Command("git", "interpret-trailers", "--parse")
	trailers.Stdin = strings.NewReader(commits[0].Message + "\n")
	if out, err := trailers.Output(); err != nil || strings.Count(string(out), "\n") != 3 {
		t.Errorf("git reads these trailers: %s (%v)", out, err)
	}

	got, err := server.Files(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	wantPaths := []string{".espalier.yaml", "README.md", "badges/models/phi-4-mini.svg", "badges/research/tuning-phi-3.svg", "workspaces/models/phi-4-mini.yaml", "workspaces/research/tuning-phi-3.yaml"}
	if d := cmp.Diff(wantPaths, slices.Sorted(maps.Keys(got))); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
	for path, content := range snapshot(served(), tuned()) {
		if got[path] != string(content) {
			t.Errorf("%s differs", path)
		}
	}
	wantOwner := "# Whose report this is. Espalier writes over none that another installation has marked.\n" +
		"format: 1\ninstallation: 11111111-aaaa\ncluster: prod-eu\nnamespace: models\nreposync: fleet\n"
	if d := cmp.Diff(wantOwner, got[".espalier.yaml"]); d != "" {
		t.Errorf("owner (-want +got):\n%s", d)
	}
	if out, err := exec.Command("git", "-C", server.Dir(repo), "fsck", "--strict").CombinedOutput(); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
	branches, err := server.Branches(repo)
	if err != nil {
		t.Fatal(err)
	}
	if head, _ := server.Head(repo, "main"); head != main || len(branches) != 2 {
		t.Errorf("no other branch is touched: main at %s, branches %v", head, branches)
	}
}

func TestUnchangedPushesNothing(t *testing.T) {
	server, files := serve(t, gitserver.Options{}), snapshot(served())
	first := write(t, target(server), files)
	server.ResetRequests()
	again := write(t, target(server), files)
	if again.Changed || again.Commit != first.Commit {
		t.Errorf("got %+v, want the commit %s unchanged", again, first.Commit)
	}
	requests := server.Requests()
	if requests[gitserver.ListToPush]+requests[gitserver.Push] != 0 {
		t.Errorf("nothing is pushed: got %v", requests)
	}
	if n := len(log(t, server)); n != 1 {
		t.Errorf("commits: got %d, want 1", n)
	}
}

func TestEmptyRepository(t *testing.T) {
	server := serve(t, gitserver.Options{})
	write(t, target(server), snapshot(served()))
	if n := len(log(t, server)); n != 1 {
		t.Errorf("commits: got %d, want 1", n)
	}
}

func TestOnlyStatusPathsChange(t *testing.T) {
	server := serve(t, gitserver.Options{})
	write(t, target(server), snapshot(served()))
	files, err := server.Files(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	// A person adds files of their own, and meddles with ours.
	files["LICENSE"], files["docs/run"], files["README.md"] = "free", gitserver.Executable("#!/bin/sh"), "edited"
	files["badges/models/phi-4-mini.svg"] = gitserver.Executable(files["badges/models/phi-4-mini.svg"])
	files["workspaces/models/phi-4-mini.yaml"] = "state: [not, a, state"
	if _, err := server.Push(repo, branch, files, "by hand"); err != nil {
		t.Fatal(err)
	}
	write(t, target(server), snapshot(served()))
	got, err := server.Files(repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	if got["LICENSE"] != "free" || got["docs/run"] != "#!/bin/sh" || got["README.md"] == "edited" {
		t.Errorf("theirs stays, ours is restored: got %q, %q, %q", got["LICENSE"], got["docs/run"], got["README.md"])
	}
	if m := log(t, server)[0].Message; !strings.Contains(m, "phi-4-mini: Ready\n") {
		t.Errorf("what cannot be read is not told: %s", m)
	}
	for _, path := range []string{"docs/x.md", "workspaces/../main.go", "/README.md", ".espalier.yaml", "workspaces"} {
		server.ResetRequests()
		_, err := Write(context.Background(), target(server), nil, of(map[string][]byte{path: []byte("x")}), "s")
		if err == nil || len(server.Requests()) != 0 {
			t.Errorf("%s: got %v and %v, want a refusal before any request", path, err, server.Requests())
		}
	}
}

func TestMovedBranchIsBuiltAnew(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		at     gitserver.Service
		exists bool
	}{
		"BeforeTheList":   {reason: "The push itself sees that the branch moved.", at: gitserver.ListToPush, exists: true},
		"AfterTheList":    {reason: "The server alone sees it.", at: gitserver.Push, exists: true},
		"CreatedList":     {reason: "The branch came into being meanwhile.", at: gitserver.ListToPush},
		"CreatedLateList": {reason: "So late that the server alone sees it.", at: gitserver.Push},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			to := target(server)
			if tc.exists {
				write(t, to, snapshot(progressing("phi-4-mini")))
			}
			meanwhile := func() { write(t, to, snapshot(progressing("phi-4-mini"), progressing("meanwhile"))) }
			server.Break(gitserver.Fault{Service: tc.at, Times: 1, Before: meanwhile})
			result := write(t, to, snapshot(served()))
			commits := log(t, server)
			want := 2
			if tc.exists {
				want = 3
			}
			if len(commits) != want || commits[0].Hash != result.Commit {
				t.Fatalf("%s\ngot %d commits, want %d with %s at the head", tc.reason, len(commits), want, result.Commit)
			}
			if !strings.Contains(commits[0].Message, "meanwhile: removed\nphi-4-mini: Progressing → Ready\n") {
				t.Errorf("%s\nthe message tells the change from what was there: %s", tc.reason, commits[0].Message)
			}
		})
	}
}

func TestLostAnswerMakesNoSecondCommit(t *testing.T) {
	server := serve(t, gitserver.Options{})
	server.Break(gitserver.Fault{Service: gitserver.Push, Times: 1, After: true})
	result := write(t, target(server), snapshot(served()))
	commits := log(t, server)
	if len(commits) != 1 || commits[0].Hash != result.Commit || !result.Changed {
		t.Errorf("got %+v and %d commits, want the one that was taken", result, len(commits))
	}
}

func TestTwoWritersRace(t *testing.T) {
	server := serve(t, gitserver.Options{})
	var done sync.WaitGroup
	var mu sync.Mutex
	written := map[string]bool{}
	for i := range 4 {
		done.Go(func() {
			name := string(rune('a' + i))
			result, err := Write(context.Background(), target(server), nil, of(snapshot(progressing(name))), "s")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			written[result.Commit] = true
		})
	}
	done.Wait()
	commits := log(t, server)
	if len(commits) != 4 || len(written) != 4 {
		t.Errorf("commits: got %d of %d writers, want 4", len(commits), len(written))
	}
	for i, c := range commits {
		if !written[c.Hash] {
			t.Errorf("%s is nobody's", c.Hash)
		}
		if last := i == len(commits)-1; last != (len(c.Parents) == 0) {
			t.Errorf("history is not one line at %s", c.Hash)
		}
	}
}

func TestCancel(t *testing.T) {
	server := serve(t, gitserver.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	server.Break(gitserver.Fault{Service: gitserver.Push, Before: cancel})
	if _, err := Write(ctx, target(server), nil, of(snapshot(served())), "s"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestMessageMentionsNobody(t *testing.T) {
	w := &writer{Target: Target{Namespace: "models", Name: "fleet", Cluster: "x"}, subject: "by @team: closes #12\nEvil-Trailer: main@sha1:1"}
	message, err := w.message(difference{})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := strings.Cut(message, "\n")
	if want := "by @\u200bteam: closes #\u200b12 Evil-Trailer: main@sha1:1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
