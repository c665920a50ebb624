// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// byHash makes a repository hand out commits by hash, as forges do.
func byHash(t *testing.T, s *gitserver.Server) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-C", s.Dir(repo), "config", "uploadpack.allowReachableSHA1InWant", "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestCommits: two commits are read by hash, without their history, and go through
// a pipe unchanged.
func TestCommits(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"big": strings.Repeat("history", 1<<16)})
	base := push(t, server, map[string]string{"same/file": "x", "base": "1"})
	head, err := server.Push(repo, "feature", map[string]string{"same/file": "x", "head": "2"}, "change")
	if err != nil {
		t.Fatal(err)
	}
	byHash(t, server)
	commits, err := Remote{URL: server.URL(repo)}.Commits(t.Context(), base, head)
	if err != nil {
		t.Fatal(err)
	}
	if commits.objects.size > 1<<15 {
		t.Errorf("kept %d bytes: the history must not come", commits.objects.size)
	}
	var pipe bytes.Buffer
	if err := commits.Encode(&pipe); err != nil {
		t.Fatal(err)
	}
	again, err := DecodeCommits(&pipe, DefaultMaxBytes)
	if err != nil {
		t.Fatal(err)
	}
	for hash, files := range map[string][]string{base: {"same/file", "base"}, head: {"same/file", "head"}} {
		s, err := again.Commit(hash)
		if err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(s.Tree, files...); err != nil {
			t.Error(err)
		}
	}
}

func TestCommitsRefused(t *testing.T) {
	server := serve(t, gitserver.Options{})
	head := push(t, server, map[string]string{"big": strings.Repeat("x", 1<<16)})
	for name, tc := range map[string]struct {
		reason string
		allow  bool
		hash   string
		limit  int64
		want   string // the reason of the error
		says   string
	}{
		"NotByHash":  {reason: "A server that does not hand out commits by hash is told apart.", hash: strings.Repeat("a", 40), want: v1alpha1.ReasonSourceUnreachable, says: "uploadpack.allowReachableSHA1InWant"},
		"NoSuch":     {reason: "A commit that is gone.", allow: true, hash: strings.Repeat("a", 40), want: v1alpha1.ReasonSourceUnreachable, says: "it is gone"},
		"NoHash":     {reason: "What is no hash never reaches the server.", allow: true, hash: "-x", want: v1alpha1.ReasonSourceUnreachable, says: "no hash"},
		"OverLimits": {reason: "The bound holds for both together.", allow: true, hash: head, limit: 1 << 10, want: ReasonTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.allow {
				byHash(t, server)
			}
			_, err := Remote{URL: server.URL(repo), MaxBytes: tc.limit}.Commits(t.Context(), tc.hash)
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != tc.want || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\ngot %v, want reason %s and %q", tc.reason, err, tc.want, tc.says)
			}
		})
	}
}

func TestCommitsOverSSH(t *testing.T) {
	server := serve(t, gitserver.Options{})
	head := push(t, server, map[string]string{"a": "1"})
	byHash(t, server)
	ssh, err := server.StartSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ssh.Close() })
	other, err := server.StartSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	r := Remote{URL: ssh.URL(repo), Auth: map[string][]byte{"identity": ssh.Identity(), "known_hosts": ssh.KnownHosts()}}
	if _, err := r.Commits(t.Context(), head); err != nil {
		t.Error(err)
	}
	r.Auth["known_hosts"] = other.KnownHosts()
	if _, err := r.Commits(t.Context(), head); err == nil {
		t.Error("a host that is not in known_hosts is talked to")
	}
}
