// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// history is a repository on a server that random things happen to.
type history struct {
	*rand.Rand
	t      *testing.T
	server *gitserver.Server
	files  map[string]map[string]string // by branch
	tags   []string
}

var branches = []string{"main", "other", "third"}

func (h *history) git(args ...string) string {
	h.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", h.server.Dir(repo)}, args...)...)
	cmd.Env = append(cmd.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.Output()
	if err != nil {
		h.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// text is the content of a file: mostly what others have in part, so that a server
// sends differences.
func (h *history) text() string {
	switch h.IntN(12) {
	case 0:
		return ""
	case 1:
		return gitserver.Symlink("a/b")
	case 2:
		return gitserver.Executable("#!/bin/sh\n" + fmt.Sprint(h.IntN(9)))
	case 3:
		return gitserver.Submodule(fmt.Sprintf("%040x", h.IntN(9)+1))
	case 4:
		noise := make([]byte, 200_000)
		for i := range noise {
			noise[i] = byte(h.Uint32())
		}
		return string(noise)
	}
	return strings.Repeat(fmt.Sprintf("line %d of a file\n", h.IntN(3)), 300) + fmt.Sprint(h.IntN(50))
}

func (h *history) edit(branch string) {
	files := h.files[branch]
	if files == nil {
		files = map[string]string{}
		h.files[branch] = files
	}
	for range 1 + h.IntN(4) {
		name := fmt.Sprintf("d%d/e%d/f%d", h.IntN(6), h.IntN(3), h.IntN(5))
		if h.IntN(3) == 0 {
			name = fmt.Sprintf("top%d", h.IntN(4))
		}
		if delete(files, name); h.IntN(4) > 0 {
			files[name] = h.text()
		}
	}
	if len(files) == 0 {
		files["kept"] = "x"
	}
	if _, err := h.server.Push(repo, branch, files, fmt.Sprint("change ", h.Uint32())); err != nil {
		h.t.Fatal(err)
	}
}

func (h *history) there(branch string) bool {
	_, err := h.server.Head(repo, branch)
	return err == nil
}

// happen does one thing to the repository, and says what.
func (h *history) happen() string {
	branch := branches[h.IntN(len(branches))]
	other := branches[h.IntN(len(branches))]
	switch what := h.IntN(16); {
	case what < 6 || !h.there(branch):
		for range 1 + h.IntN(3) { // a burst
			h.edit(branch)
		}
		return "edit " + branch
	case what == 6 && h.there(other):
		tree := h.git("rev-parse", other+"^{tree}")
		h.git("update-ref", "refs/heads/"+branch, h.git("commit-tree", tree, "-p", branch, "-p", other, "-m", "merge"))
		h.files[branch] = clonedFiles(h.files[other])
		return "merge " + other + " into " + branch
	case what == 7:
		log := strings.Fields(h.git("rev-list", branch))
		h.git("update-ref", "refs/heads/"+branch, log[h.IntN(len(log))])
		return "go back on " + branch
	case what == 8:
		h.git("update-ref", "refs/heads/"+branch, h.git("commit-tree", branch+"^{tree}", "-m", "a history of its own"))
		return "rewrite " + branch
	case what == 9 && h.there(other):
		h.git("update-ref", "refs/heads/"+branch, h.git("rev-parse", other))
		h.files[branch] = clonedFiles(h.files[other])
		return branch + " is where " + other + " is"
	case what == 10 && branch != "main":
		h.git("update-ref", "-d", "refs/heads/"+branch)
		return "delete " + branch
	case what == 11:
		h.git("reflog", "expire", "--expire=now", "--all")
		h.git("gc", "-q", "--prune=now")
		return "collect garbage"
	case what == 12:
		h.git("repack", "-q", "-a", "-d", "-f")
		return "repack"
	}
	tag := fmt.Sprintf("v%d", h.IntN(3))
	message := []string{"", "a release", "another"}[h.IntN(3)]
	if err := h.server.Tag(repo, tag, branch, message); err != nil {
		h.t.Fatal(err)
	}
	if !slices.Contains(h.tags, tag) {
		h.tags = append(h.tags, tag)
	}
	return fmt.Sprintf("tag %s %s %q", branch, tag, message)
}

func clonedFiles(m map[string]string) map[string]string {
	to := map[string]string{}
	for k, v := range m {
		to[k] = v
	}
	return to
}

// all is everything a snapshot says, with the content of every file.
func all(t *testing.T, s *Snapshot) map[string]string {
	t.Helper()
	got := map[string]string{"": fmt.Sprint(s.Revision, s.Hash, s.Author, s.Subject, s.When, s.Commit, s.Tag)}
	err := fs.WalkDir(s.Tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		hash, err := s.Tree.Hash(name)
		text := d.Type().String() + " " + hash
		switch {
		case err != nil:
		case d.Type().IsRegular():
			var content []byte
			content, err = s.Tree.ReadFile(name)
			text += " " + string(content)
			if !s.Tree.Has(hash) {
				t.Errorf("%s: its content is not there", name)
			}
		case d.Type() == fs.ModeSymlink:
			var to string
			to, err = s.Tree.ReadLink(name)
			text += " " + to
		}
		got[name] = text
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return got
}

// TestFetchIsClone follows random histories with what is held, and compares with a
// fresh clone after each step.
func TestFetchIsClone(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), t: t, server: serve(t, gitserver.Options{}), files: map[string]map[string]string{}}
			h.edit("main")
			f := &follower{history: h, stock: NewStock(), last: map[v1alpha1.GitRef]*Snapshot{}, seen: map[*Snapshot]map[string]string{}}
			for step := range 45 {
				what := h.happen()
				f.look(fmt.Sprintf("step %d, %s", step, what))
				if t.Failed() {
					return
				}
			}
			f.stock.Clear()
			for s, want := range f.seen {
				if d := cmp.Diff(want, all(t, s)); d != "" {
					t.Fatalf("a snapshot that somebody has does not change (-want +got):\n%s", d)
				}
			}
		})
	}
}

// follower looks at a repository and builds on what it has.
type follower struct {
	*history
	stock *Stock
	last  map[v1alpha1.GitRef]*Snapshot
	seen  map[*Snapshot]map[string]string
}

func (f *follower) look(when string) {
	f.t.Helper()
	refs := []v1alpha1.GitRef{{Branch: branches[f.IntN(len(branches))]}, {Branch: "main"}}
	if len(f.tags) > 0 {
		refs = append(refs, v1alpha1.GitRef{Tag: f.tags[f.IntN(len(f.tags))]})
	}
	if f.IntN(5) == 0 {
		refs = append(refs, v1alpha1.GitRef{Commit: f.git("rev-parse", "main")})
	}
	r := Remote{URL: f.server.URL(repo)}
	for _, ref := range refs {
		want, wantErr := r.Clone(context.Background(), ref)
		got, err := r.Fetch(context.Background(), ref, f.stock, f.last[ref])
		if errors.Is(err, ErrUnchanged) {
			got, err = f.last[ref], nil
		}
		if (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error() {
			f.t.Fatalf("%s: %s: got %v, want %v", when, Describe(ref), err, wantErr)
		}
		if err != nil {
			continue
		}
		wantAll := all(f.t, want)
		if d := cmp.Diff(wantAll, all(f.t, got)); d != "" {
			f.t.Fatalf("%s: %s (-clone +fetch):\n%s", when, Describe(ref), d)
		}
		f.last[ref], f.seen[got] = got, wantAll
		if f.IntN(4) == 0 { // a store that is full
			for ref := range f.last {
				delete(f.last, ref)
				break
			}
		}
		var kept []*Snapshot
		for _, s := range f.last {
			kept = append(kept, s)
		}
		f.stock.Keep(kept...)
	}
	if f.stock.givenUp > 0 {
		f.t.Fatalf("%s: the server could not build on what is held", when)
	}
}

// counting forwards connections to a server and counts the bytes of its answers.
func counting(t *testing.T, to string) (address string, bytes *atomic.Int64) {
	t.Helper()
	u, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	bytes = &atomic.Int64{}
	host := u.Host
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go forward(near, host, bytes)
		}
	}()
	u.Host = l.Addr().String()
	return u.String(), bytes
}

func forward(near net.Conn, to string, bytes *atomic.Int64) {
	defer func() { _ = near.Close() }()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = far.Close() }()
	go func() { _, _ = io.Copy(far, near) }()
	_, _ = io.Copy(near, io.TeeReader(far, tally{bytes}))
}

type tally struct{ bytes *atomic.Int64 }

func (c tally) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return len(p), nil
}

// many is a repository that takes a while to send.
func many() map[string]string {
	files := map[string]string{}
	for i := range 2000 {
		files[fmt.Sprintf("w/d%04d/f.yaml", i)] = fmt.Sprintf("name: %d\nsecond: %d\n", i, i*7919)
	}
	return files
}

// one changes one file.
func (h *history) one(to int) {
	h.files["main"]["w/d0000/f.yaml"] = fmt.Sprint(to)
	push(h.t, h.server, h.files["main"])
}

func TestPushCostsWhatItBrings(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		happen func(h *history)
	}{
		"OneFile": {"A push of one file.", func(h *history) { h.one(1) }},
		"Burst":   {"Pushes since the last look come as one.", func(h *history) { h.one(1); h.one(2); h.one(3) }},
		"Rewritten": {"A rewritten history with the same files has only a new commit.", func(h *history) {
			h.git("update-ref", "refs/heads/main", h.git("commit-tree", "main^{tree}", "-m", "rewritten"))
		}},
		"Merged": {"A merge of a branch that nobody follows brings no history.", func(h *history) {
			h.git("update-ref", "refs/heads/side", h.git("commit-tree", "main^{tree}", "-p", "main~1", "-m", "side"))
			h.git("update-ref", "refs/heads/main", h.git("commit-tree", "main^{tree}", "-p", "main", "-p", "side", "-m", "merge"))
		}},
		"Collected": {"The server has lost the commit that is built on, and sends everything: that is more, and right.", func(h *history) {
			h.git("update-ref", "refs/heads/main", h.git("commit-tree", "main^{tree}", "-m", "rewritten"))
			h.git("reflog", "expire", "--expire=now", "--all")
			h.git("gc", "-q", "--prune=now")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, gitserver.Options{})
			h := &history{Rand: rand.New(rand.NewPCG(7, 7)), t: t, server: server, files: map[string]map[string]string{"main": {"a": "before"}}}
			push(t, server, h.files["main"])
			h.files["main"] = many()
			push(t, server, h.files["main"])
			at, bytes := counting(t, server.URL(repo))
			r, stock := Remote{URL: at}, NewStock()
			first, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, nil)
			if err != nil {
				t.Fatal(err)
			}
			stock.Keep(first)
			whole := bytes.Swap(0)
			tc.happen(h)
			second, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, first)
			if err != nil {
				t.Fatal(err)
			}
			change := bytes.Load()
			t.Logf("on the wire: %d bytes for all, %d for the change", whole, change)
			if d := cmp.Diff(all(t, clone(t, r, v1alpha1.GitRef{})), all(t, second)); d != "" {
				t.Errorf("%s\n(-clone +fetch):\n%s", tc.reason, d)
			}
			if name != "Collected" && change > whole/20 {
				t.Errorf("%s\nit took %d bytes, and everything %d", tc.reason, change, whole)
			}
		})
	}
}

func TestServerThatStumbles(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"a": "1"})
	r, stock := Remote{URL: server.URL(repo)}, NewStock()
	last, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxGivenUp + 1 {
		stock.Keep(last)
		push(t, server, map[string]string{"a": fmt.Sprint(i + 2)})
		server.ResetRequests()
		server.Break(gitserver.Fault{Service: gitserver.Fetch, Times: min(1, maxGivenUp-i), Status: 500})
		if i == maxGivenUp {
			server.Heal()
		}
		if last, err = r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, last); err != nil {
			t.Fatalf("the %d. time: %v", i, err)
		}
		if content, _ := last.Tree.ReadFile("a"); string(content) != fmt.Sprint(i+2) {
			t.Errorf("got %q", content)
		}
	}
	if got := server.Requests()[gitserver.Fetch]; got != 1 {
		t.Errorf("a server that fails again and again is asked for everything at once: got %d requests", got)
	}
}

func TestFetchOverSSH(t *testing.T) {
	server := serve(t, gitserver.Options{})
	files := many()
	push(t, server, files)
	ssh, err := server.StartSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ssh.Close() })
	at, bytes := counting(t, ssh.URL(repo))
	known := strings.ReplaceAll(string(ssh.KnownHosts()), hostOf(t, ssh.URL(repo)), hostOf(t, at))
	r, stock := Remote{URL: at, Auth: map[string][]byte{"identity": ssh.Identity(), "known_hosts": []byte(known)}}, NewStock()
	first, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	stock.Keep(first)
	whole := bytes.Swap(0)
	files["w/d0000/f.yaml"] = "other"
	push(t, server, files)
	second, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, first)
	if err != nil {
		t.Fatal(err)
	}
	change := bytes.Load()
	t.Logf("on the wire: %d bytes for all, %d for the change", whole, change)
	if change > whole/10 || stock.givenUp > 0 {
		t.Error("the server did not build on what is held")
	}
	if d := cmp.Diff(all(t, clone(t, r, v1alpha1.GitRef{})), all(t, second)); d != "" {
		t.Errorf("(-clone +fetch):\n%s", d)
	}
}

// hostOf is host and port as known_hosts has them.
func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return "[" + u.Hostname() + "]:" + u.Port()
}
