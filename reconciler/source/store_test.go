// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const repo = "fleet/models"

var (
	_ build.Listing = (*git.Tree)(nil)
	_ build.Listing = (*artifactTree)(nil)
)

func serve(t *testing.T, opts gitserver.Options) *gitserver.Server {
	t.Helper()
	return gitserver.Serve(t, opts, repo)
}

func push(t *testing.T, s *gitserver.Server, branch string, files map[string]string) string {
	t.Helper()
	hash, err := s.Push(repo, branch, files, "say something\n\nand more")
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func fetch(t *testing.T, s *Store, req Request) *Commit {
	t.Helper()
	c, err := s.Fetch(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func content(t *testing.T, c *Commit, path string) string {
	t.Helper()
	b, err := fs.ReadFile(c.Tree, path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestUnchangedCostsOneLook(t *testing.T) {
	server := serve(t, gitserver.Options{})
	first := push(t, server, "main", map[string]string{"w/a.yaml": "a: 1\n"})
	if err := server.Tag(repo, "v1", "main", "a release"); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason, revision string
		ref              v1alpha1.GitRef
		again            gitserver.Counts
	}{
		"Branch": {
			reason:   "A branch can move: its reference is looked up, and nothing else.",
			ref:      v1alpha1.GitRef{Branch: "main"},
			revision: "main@sha1:" + first,
			again:    gitserver.Counts{gitserver.ListToFetch: 1},
		},
		"Default": {
			reason:   "No reference at all is the branch main.",
			revision: "main@sha1:" + first,
			again:    gitserver.Counts{gitserver.ListToFetch: 1},
		},
		"AnnotatedTag": {
			reason:   "A tag can be moved too; an annotated one stands for its commit.",
			ref:      v1alpha1.GitRef{Tag: "v1"},
			revision: "v1@sha1:" + first,
			again:    gitserver.Counts{gitserver.ListToFetch: 1},
		},
		"Commit": {
			reason:   "A commit cannot change: nobody needs to be asked.",
			ref:      v1alpha1.GitRef{Commit: first},
			revision: "sha1:" + first,
			again:    gitserver.Counts{},
		},
		"CommitOnBranch": {
			reason:   "A commit that was on the branch stays itself.",
			ref:      v1alpha1.GitRef{Branch: "main", Commit: first},
			revision: "main@sha1:" + first,
			again:    gitserver.Counts{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			store := NewStore(Options{})
			req := Request{URL: server.URL(repo), Ref: tc.ref}
			c := fetch(t, store, req)
			if c.Revision != tc.revision || c.Hash != first {
				t.Errorf("%s\nrevision: got %s (%s), want %s", tc.reason, c.Revision, c.Hash, tc.revision)
			}
			if c.Author != "Test Author" || c.Subject != "say something" || c.When.IsZero() {
				t.Errorf("%s\nauthor, subject, time: got %q, %q, %v", tc.reason, c.Author, c.Subject, c.When)
			}
			if got := content(t, c, "w/a.yaml"); got != "a: 1\n" {
				t.Errorf("%s\nfile: got %q", tc.reason, got)
			}
			server.ResetRequests()
			if again := fetch(t, store, req); again != c {
				t.Errorf("%s\nan unchanged remote gives the kept *Commit", tc.reason)
			}
			if d := cmp.Diff(tc.again, server.Requests()); d != "" {
				t.Errorf("%s\nrequests of the second look (-want +got):\n%s", tc.reason, d)
			}
		})
	}
}

func TestPushIsSeen(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	req := Request{URL: server.URL(repo), Ref: v1alpha1.GitRef{Branch: "main"}}
	push(t, server, "main", map[string]string{"a": "1"})
	old := fetch(t, store, req)
	second := push(t, server, "main", map[string]string{"a": "2"})
	c := fetch(t, store, req)
	if c.Hash != second || content(t, c, "a") != "2" {
		t.Errorf("after a push: got %s, want %s", c.Hash, second)
	}
	if content(t, old, "a") != "1" {
		t.Error("a commit that is still in use must not change")
	}
	// A branch that was rewritten is followed all the same.
	if err := server.DeleteBranch(repo, "main"); err != nil {
		t.Fatal(err)
	}
	third := push(t, server, "main", map[string]string{"a": "3"})
	if c := fetch(t, store, req); c.Hash != third {
		t.Errorf("after a rewrite: got %s, want %s", c.Hash, third)
	}
}

func TestPinnedCommits(t *testing.T) {
	server := serve(t, gitserver.Options{})
	first := push(t, server, "main", map[string]string{"a": "1"})
	push(t, server, "main", map[string]string{"a": "2"})
	other := push(t, server, "other", map[string]string{"a": "other"})
	for name, tc := range map[string]struct {
		reason string
		ref    v1alpha1.GitRef
		want   string // content of a, or the reason of the error
	}{
		"Old":        {reason: "A pin holds while the branch moves on.", ref: v1alpha1.GitRef{Commit: first}, want: "1"},
		"OldOnMain":  {reason: "So it does with its branch named.", ref: v1alpha1.GitRef{Branch: "main", Commit: first}, want: "1"},
		"Other":      {reason: "Without a branch any branch will do.", ref: v1alpha1.GitRef{Commit: other}, want: "other"},
		"WrongOne":   {reason: "With a branch it must be on that one.", ref: v1alpha1.GitRef{Branch: "main", Commit: other}, want: v1alpha1.ReasonRefNotFound},
		"NotAtAll":   {reason: "A commit nobody pushed.", ref: v1alpha1.GitRef{Commit: strings.Repeat("1", 40)}, want: v1alpha1.ReasonRefNotFound},
		"WrongBrnch": {reason: "A branch that is not there.", ref: v1alpha1.GitRef{Branch: "no", Commit: first}, want: v1alpha1.ReasonRefNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := NewStore(Options{}).Fetch(context.Background(), Request{URL: server.URL(repo), Ref: tc.ref})
			var got string
			var failure *Error
			switch {
			case err == nil:
				got = content(t, c, "a")
			case errors.As(err, &failure):
				got = failure.Reason
			}
			if got != tc.want {
				t.Errorf("%s\ngot %q (%v), want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestKeptCommitIsNotForOtherCredentials(t *testing.T) {
	server, store := serve(t, gitserver.Options{User: "ada", Password: "right-horse"}), NewStore(Options{})
	hash := push(t, server, "main", map[string]string{"a": "1"})
	req := Request{
		URL: server.URL(repo), Ref: v1alpha1.GitRef{Commit: hash},
		Auth: map[string][]byte{"username": []byte("ada"), "password": []byte("right-horse\n")},
	}
	fetch(t, store, req)
	req.Auth = nil
	if _, err := store.Fetch(context.Background(), req); err == nil {
		t.Error("a kept commit was handed to one without credentials")
	}
}

func TestBearerToken(t *testing.T) {
	server := serve(t, gitserver.Options{Token: "t0ken"})
	push(t, server, "main", map[string]string{"a": "1"})
	fetch(t, NewStore(Options{}), Request{URL: server.URL(repo), Auth: map[string][]byte{"bearerToken": []byte("t0ken")}})
}

func TestTLS(t *testing.T) {
	server := serve(t, gitserver.Options{TLS: true, User: "ada", Password: "pw"})
	push(t, server, "main", map[string]string{"a": "1"})
	req := Request{URL: server.URL(repo), Auth: map[string][]byte{"username": []byte("ada"), "password": []byte("pw")}}
	_, err := NewStore(Options{}).Fetch(context.Background(), req)
	if err == nil || !strings.Contains(err.Error(), "ca.crt") {
		t.Errorf("an unknown authority: got %v, want to be told of ca.crt", err)
	}
	req.Auth["ca.crt"] = server.CA()
	fetch(t, NewStore(Options{}), req)
}

func TestConcurrentFetchesAreFolded(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	push(t, server, "main", map[string]string{"a": "1"})
	// The first look is held until all have asked.
	release := make(chan struct{})
	server.Break(gitserver.Fault{Times: 1, Before: func() { <-release }})
	var started, done sync.WaitGroup
	commits := make([]*Commit, 8)
	for i := range commits {
		started.Add(1)
		done.Go(func() {
			started.Done()
			commits[i], _ = store.Fetch(context.Background(), Request{URL: server.URL(repo)})
		})
	}
	started.Wait()
	close(release)
	done.Wait()
	for _, c := range commits {
		if c == nil || c != commits[0] {
			t.Fatal("all must get the one commit")
		}
	}
	if got := server.Requests()[gitserver.Fetch]; got != 1 {
		t.Errorf("clones: got %d, want 1", got)
	}
}

func TestCancelledCallerLeavesTheOthers(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	push(t, server, "main", map[string]string{"a": "1"})
	held, release := make(chan struct{}), make(chan struct{})
	server.Break(gitserver.Fault{Times: 1, Before: func() { close(held); <-release }})
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error, 1)
	go func() {
		_, err := store.Fetch(ctx, Request{URL: server.URL(repo)})
		first <- err
	}()
	<-held
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that went away: got %v, want context.Canceled", err)
	}
	close(release)
	fetch(t, store, Request{URL: server.URL(repo)})
	if got := server.Requests()[gitserver.Fetch]; got != 1 {
		t.Errorf("clones: got %d, want 1: the look goes on for others", got)
	}
}

func TestStoreIsBounded(t *testing.T) {
	server := serve(t, gitserver.Options{})
	for _, branch := range []string{"a", "b", "c"} {
		push(t, server, branch, map[string]string{"f": branch})
	}
	request := func(branch string) Request {
		return Request{URL: server.URL(repo), Ref: v1alpha1.GitRef{Branch: branch}}
	}
	for name, tc := range map[string]struct {
		reason string
		opts   Options
		kept   int
	}{
		"Commits": {reason: "The longest unused goes.", opts: Options{Commits: 2}, kept: 2},
		"Bytes":   {reason: "One alone is kept whatever its size.", opts: Options{Bytes: 1}, kept: 1},
	} {
		t.Run(name, func(t *testing.T) {
			store := NewStore(tc.opts)
			for _, branch := range []string{"a", "b", "a", "c"} {
				fetch(t, store, request(branch))
			}
			if len(store.kept) != tc.kept {
				t.Errorf("%s\nkept: got %d, want %d", tc.reason, len(store.kept), tc.kept)
			}
			for _, e := range store.kept {
				if strings.Contains(e.key, `"b"`) {
					t.Errorf("%s\nb is the longest unused, and kept", tc.reason)
				}
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	server := serve(t, gitserver.Options{})
	// 64 MiB of zeros are 64 KiB on the wire.
	push(t, server, "main", map[string]string{"zeros": strings.Repeat("\x00", 64<<20)})
	_, err := NewStore(Options{MaxBytes: 8 << 20}).Fetch(context.Background(), Request{URL: server.URL(repo)})
	var failure *Error
	if !errors.As(err, &failure) || failure.Reason != git.ReasonTooLarge {
		t.Errorf("got %v, want %s", err, git.ReasonTooLarge)
	}
}

// Somebody who is told of a push while a look is under way must see that push: the
// references of that look may be from before it.
func TestWhoComesLateSeesThePush(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	push(t, server, "main", map[string]string{"a": "1"})
	req := Request{URL: server.URL(repo)}
	fetch(t, store, req)
	push(t, server, "main", map[string]string{"a": "2"})
	held, release := make(chan struct{}), make(chan struct{})
	server.Break(gitserver.Fault{Service: gitserver.Fetch, Times: 1, Before: func() { close(held); <-release }})
	var early *Commit
	late := make([]*Commit, 3)
	var done sync.WaitGroup
	done.Go(func() { early, _ = store.Fetch(context.Background(), req) })
	<-held
	newest := push(t, server, "main", map[string]string{"a": "3"})
	for i := range late {
		done.Go(func() { late[i], _ = store.Fetch(context.Background(), req) })
	}
	close(release)
	done.Wait()
	if early == nil || content(t, early, "a") != "2" {
		t.Errorf("the look that was under way: got %v", early)
	}
	for _, got := range late {
		if got == nil || got.Hash != newest {
			t.Errorf("who came after the push: got %v, want %s", got, newest)
		}
	}
}

// Branches of one repository are held together, and by each credential on its own.
func TestWhatIsHeldIsShared(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	big := strings.Repeat("x", 1<<20)
	push(t, server, "main", map[string]string{"big": big, "a": "1"})
	push(t, server, "other", map[string]string{"big": big, "a": "2"})
	req := Request{URL: server.URL(repo)}
	fetch(t, store, req)
	alone := store.bytes()
	req.Ref.Branch = "other"
	fetch(t, store, req)
	if both := store.bytes(); both > alone+1<<14 {
		t.Errorf("a second branch takes %d bytes more: what both have is held once", both-alone)
	}
	req.Auth = map[string][]byte{"username": []byte("ada"), "password": []byte("pw")}
	fetch(t, store, req)
	if all := store.bytes(); all < 2*alone || len(store.stocks) != 2 {
		t.Errorf("got %d bytes in %d stocks: what one credential may read is not another's", all, len(store.stocks))
	}
}

// Whatever is pushed, what is held stays within twice what is needed.
func TestOldCommitsAreDropped(t *testing.T) {
	server, store := serve(t, gitserver.Options{}), NewStore(Options{})
	req := Request{URL: server.URL(repo)}
	for i := range 8 {
		push(t, server, "main", map[string]string{"big": strings.Repeat(string(rune('a'+i)), 1<<20)})
		fetch(t, store, req)
		if got := store.bytes(); got > 5<<19 {
			t.Fatalf("after %d pushes of 1 MiB: %d bytes are held", i+1, got)
		}
	}
	store.Forget(req)
	if store.bytes() != 0 || len(store.stocks) != 0 {
		t.Errorf("nothing is kept, and %d bytes are held", store.bytes())
	}
}
