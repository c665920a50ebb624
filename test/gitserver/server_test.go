// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Create("fleet/models"); err != nil {
		t.Fatal(err)
	}
	return s
}

// git runs the user's git, outside of the server.
func git(t *testing.T, dir string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Env = dir, gitEnv()
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestRealGit(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		opts   Options
	}{
		"Open":     {reason: "Anybody may push without credentials.", opts: Options{}},
		"Password": {reason: "Credentials go in the address.", opts: Options{User: "ada", Password: "p w"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, tc.opts)
			address, err := url.Parse(s.URL("fleet/models"))
			if err != nil {
				t.Fatal(err)
			}
			if tc.opts.User != "" {
				if out, err := git(t, "", "ls-remote", address.String()); err == nil {
					t.Errorf("%s\nls-remote without credentials: got success: %s", tc.reason, out)
				}
				address.User = url.UserPassword(tc.opts.User, tc.opts.Password)
			}
			work := filepath.Join(t.TempDir(), "work")
			must := func(dir string, args ...string) string {
				t.Helper()
				out, err := git(t, dir, args...)
				if err != nil {
					t.Fatalf("%s\ngit %s: %v\n%s", tc.reason, strings.Join(args, " "), err, out)
				}
				return out
			}
			must("", "clone", address.String(), work)
			// More than http.postBuffer (1 MiB), so that git sends the pack in chunks.
			big := make([]byte, 3<<20)
			_, _ = rand.Read(big)
			if err := os.WriteFile(filepath.Join(work, "big.bin"), big, 0o644); err != nil {
				t.Fatal(err)
			}
			must(work, "add", ".")
			must(work, "commit", "-m", "first")
			must(work, "push", "origin", "HEAD:main")
			got, err := s.ReadFile("fleet/models", "main", "big.bin")
			if err != nil || !bytes.Equal([]byte(got), big) {
				t.Errorf("%s\nthe pushed file differs (%d bytes, %v)", tc.reason, len(got), err)
			}
			must("", "clone", address.String(), work+"2")
		})
	}
}

func TestPushAndRead(t *testing.T) {
	s := start(t, Options{})
	files := map[string]string{
		"a.yaml": "a: 1\n", "dir/run": Executable("#!/bin/sh\n"), "dir/link": Symlink("../a.yaml"), "odd name": "",
	}
	first, err := s.Push("fleet/models", "main", files, "first\n\nbody")
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Push("fleet/models", "main", map[string]string{"b.yaml": "b: 2\n"}, "second")
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Files("fleet/models", "main")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]string{"b.yaml": "b: 2\n"}, got); d != "" {
		t.Errorf("a push replaces the whole tree (-want +got):\n%s", d)
	}
	log, err := s.Log("fleet/models", "main")
	if err != nil {
		t.Fatal(err)
	}
	want := []Commit{
		{Hash: second, Author: "Test Author", Email: "author@example.com", Committer: "Test Author", Message: "second", Parents: []string{first}},
		{Hash: first, Author: "Test Author", Email: "author@example.com", Committer: "Test Author", Message: "first\n\nbody", Parents: []string{}},
	}
	if d := cmp.Diff(want, log, cmpopts.IgnoreFields(Commit{}, "Tree")); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
	if out, err := git(t, "", "-C", s.Dir("fleet/models"), "fsck", "--strict"); err != nil {
		t.Errorf("fsck: %v\n%s", err, out)
	}
}

func TestFaults(t *testing.T) {
	s := start(t, Options{})
	if _, err := s.Push("fleet/models", "main", map[string]string{"a": "1"}, "first"); err != nil {
		t.Fatal(err)
	}
	list := func() error {
		// Version 2 of the protocol, git's default, takes a second request to list.
		_, err := git(t, "", "-c", "protocol.version=0", "ls-remote", s.URL("fleet/models"))
		return err
	}
	for name, f := range map[string]Fault{
		"Status": {Times: 1, Status: http.StatusServiceUnavailable},
		"Drop":   {Times: 1},
	} {
		s.Break(f)
		if err := list(); err == nil {
			t.Errorf("%s: got success, want an error", name)
		}
		if err := list(); err != nil {
			t.Errorf("%s: a fault heals after its times: %v", name, err)
		}
		s.Heal()
	}
	if err := s.Pause(); err != nil {
		t.Fatal(err)
	}
	if err := list(); err == nil {
		t.Error("paused: got success, want a refused connection")
	}
	if err := s.Resume(); err != nil {
		t.Fatal(err)
	}
	s.ResetRequests()
	if err := list(); err != nil {
		t.Errorf("resumed: %v", err)
	}
	if d := cmp.Diff(Counts{ListToFetch: 1}, s.Requests()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestRejectPushes(t *testing.T) {
	s := start(t, Options{})
	if _, err := s.Push("fleet/models", "main", map[string]string{"a": "1"}, "first"); err != nil {
		t.Fatal(err)
	}
	if err := s.RejectPushes("fleet/models", "release/*", "it's protected"); err != nil {
		t.Fatal(err)
	}
	work := filepath.Join(t.TempDir(), "work")
	if out, err := git(t, "", "clone", s.URL("fleet/models"), work); err != nil {
		t.Fatal(out)
	}
	out, err := git(t, work, "push", "origin", "HEAD:refs/heads/release/1")
	if err == nil || !strings.Contains(out, "it's protected") {
		t.Errorf("push to a protected branch: got %v, %s", err, out)
	}
	if out, err := git(t, work, "push", "origin", "HEAD:refs/heads/free"); err != nil {
		t.Errorf("push to another branch: %v\n%s", err, out)
	}
}
