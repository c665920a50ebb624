// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// TestSaid: what a document is known to say is the same whether it was made of a Workspace
// or read back from a branch, so that a message says the same.
func TestSaid(t *testing.T) {
	for name, tc := range snapshots() {
		for i := range tc.in.Workspaces {
			w := tc.in.Workspaces[i]
			read := parse(textOf(w))
			if d := cmp.Diff(saidBy(newDocument(w)), *read, cmp.AllowUnexported(said{})); d != "" {
				t.Errorf("%s: %s is another when it is read back (-made +read):\n%s", name, w.Name, d)
			}
		}
	}
}

// TestBook: the branch is read where it is not where it was left, and the commits are those
// that are made without a book.
func TestBook(t *testing.T) {
	ready, waiting := served(), progressing("phi-4-mini")
	moved := served()
	moved.Status.Revision = "main@sha1:ffffffffffffffffffffffffffffffffffffffff"
	for name, tc := range map[string]struct {
		reason    string
		meanwhile func(*testing.T, *gitserver.Server, *Target)
		known     bool // nothing is read for the last report either
	}{
		"Nothing": {"Nobody else writes there.", func(*testing.T, *gitserver.Server, *Target) {}, true},
		"Other": {"Whose credential it is does not matter: the look needs it.", func(_ *testing.T, _ *gitserver.Server, to *Target) {
			to.Auth = map[string][]byte{"username": []byte("other"), "password": []byte("p")}
		}, true},
		"Pushed": {"A person has: what they did is undone.", func(t *testing.T, s *gitserver.Server, _ *Target) {
			owner, err := s.ReadFile(repo, branch, ".espalier.yaml")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Push(repo, branch, map[string]string{"README.md": "mine", ".espalier.yaml": owner}, "mine"); err != nil {
				t.Fatal(err)
			}
		}, false},
		"Gone": {"It is made anew.", func(t *testing.T, s *gitserver.Server, _ *Target) {
			if err := s.DeleteBranch(repo, branch); err != nil {
				t.Fatal(err)
			}
		}, false},
		"Elsewhere": {"Another branch is another book.", func(_ *testing.T, _ *gitserver.Server, to *Target) { to.Branch += "-2" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			to, book := target(server), &Book{}
			reports := []v1alpha1.Workspace{waiting, ready, moved}
			for i, w := range reports {
				if i == 2 {
					tc.meanwhile(t, server, &to)
				}
				server.ResetRequests()
				result, err := Write(context.Background(), to, book, new(Memory).Draft(Snapshot{Cluster: "prod-eu", Namespace: "models", Name: "fleet", Workspaces: pointers(w)}).Report(), "s")
				if err != nil || !result.Changed {
					t.Fatalf("%s\nreport %d: %+v, %v", tc.reason, i, result, err)
				}
				if read := server.Requests()[gitserver.Fetch]; read > 0 && (i == 1 || tc.known) || read == 0 && name == "Pushed" && i == 2 {
					t.Errorf("%s\nthe branch was read %d times for report %d", tc.reason, read, i)
				}
			}
			files, err := server.Files(repo, to.Branch)
			if err != nil {
				t.Fatal(err)
			}
			for path, content := range Files(Snapshot{Cluster: "prod-eu", Namespace: "models", Name: "fleet", Workspaces: pointers(moved)}) {
				if files[path] != string(content) {
					t.Errorf("%s\n%s is not as it was reported", tc.reason, path)
				}
			}
			log, err := server.Log(repo, to.Branch)
			if err != nil {
				t.Fatal(err)
			}
			if want := "phi-4-mini: Ready, changed: revision\n"; tc.known && !strings.Contains(log[0].Message, want) {
				t.Errorf("%s\nthe message is\n%s\nwant the line %s", tc.reason, log[0].Message, want)
			}
		})
	}
}

// TestBookOutlivesAnError: what is known of a branch is so after a push that nobody answered: to read
// a branch of thousands anew is what a server that is busy has least time for.
func TestBookOutlivesAnError(t *testing.T) {
	server := serve(t, gitserver.Options{})
	to, book := target(server), &Book{}
	report := func(w v1alpha1.Workspace) error {
		_, err := Write(context.Background(), to, book, of(snapshot(w)), "s")
		return err
	}
	if err := report(progressing("phi-4-mini")); err != nil {
		t.Fatal(err)
	}
	server.Break(gitserver.Fault{Service: gitserver.Push, Times: 1, Status: http.StatusServiceUnavailable})
	if err := report(served()); err == nil {
		t.Fatal("the server was not there, and the report was written")
	}
	server.ResetRequests()
	if err := report(served()); err != nil {
		t.Fatal(err)
	}
	if read := server.Requests()[gitserver.Fetch]; read > 0 {
		t.Errorf("the branch was read %d times", read)
	}
}
