// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const repo = "fleet/models"

func serve(t *testing.T, opts gitserver.Options) *gitserver.Server {
	t.Helper()
	return gitserver.Serve(t, opts, repo)
}

func push(t *testing.T, s *gitserver.Server, files map[string]string) string {
	t.Helper()
	hash, err := s.Push(repo, "main", files, "something")
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func clone(t *testing.T, r Remote, ref v1alpha1.GitRef) *Snapshot {
	t.Helper()
	s, err := r.Clone(context.Background(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTree(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{
		"a.yaml": "a: 1\n", "dir/b": "b", "dir.yaml": "sorted otherwise by Git", "dir/sub/run": gitserver.Executable("#!/bin/sh"), "empty": "",
	})
	tree := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Tree
	if err := fstest.TestFS(tree, "a.yaml", "dir/b", "dir.yaml", "dir/sub/run", "empty"); err != nil {
		t.Error(err)
	}
	a, err := tree.Hash("a.yaml")
	if want := fmt.Sprintf("%x", sha1.Sum([]byte("blob 5\x00a: 1\n"))); err != nil || a != want {
		t.Errorf("hash: got %s, %v, want %s", a, err, want)
	}
	if !tree.Has(a) || tree.Has(strings.Repeat("1", 40)) {
		t.Error("a tree has the content that came with it, and no other")
	}
	content, _ := tree.ReadFile("a.yaml")
	content[0] = 'x'
	if again, _ := tree.ReadFile("a.yaml"); string(again) != "a: 1\n" {
		t.Error("what a caller does to the content must not reach the next one")
	}
}

func TestTreeFollowsNothing(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{
		"real/file": "x", "link": gitserver.Symlink("real/file"), "folder": gitserver.Symlink("real"),
		"away": gitserver.Symlink("/etc/passwd"), "sub": gitserver.Submodule(strings.Repeat("1", 40)),
	})
	tree := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Tree
	for name, want := range map[string]fs.FileMode{
		"link": fs.ModeSymlink, "folder": fs.ModeSymlink, "away": fs.ModeSymlink, "sub": fs.ModeIrregular, "real": fs.ModeDir, "real/file": 0,
	} {
		info, err := fs.Stat(tree, name)
		if err != nil || info.Mode().Type() != want {
			t.Errorf("%s: got %v, %v, want type %v", name, info, err, want)
		}
	}
	for _, name := range []string{"link", "folder", "away", "sub", "folder/file", "sub/file"} {
		if _, err := fs.ReadFile(tree, name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("reading %s: got %v, want %v", name, err, ErrNotRegular)
		}
		if _, err := tree.Open(name); !errors.Is(err, ErrNotRegular) {
			t.Errorf("opening %s: got %v, want %v", name, err, ErrNotRegular)
		}
	}
	for name, want := range map[string]error{"none": fs.ErrNotExist, "real/file/x": fs.ErrNotExist, "../x": fs.ErrInvalid, "/real": fs.ErrInvalid, "": fs.ErrInvalid} {
		if _, err := fs.Stat(tree, name); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
	if target, err := tree.ReadLink("away"); err != nil || target != "/etc/passwd" {
		t.Errorf("a link's target can be told: got %q, %v", target, err)
	}
}

func TestPinnedCommitKeepsNoHistory(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"big": strings.Repeat("old", 1<<20)})
	pin := push(t, server, map[string]string{"small": "x", "dir/same": "y", "dir2/same": "y"})
	stock := NewStock()
	s, err := Remote{URL: server.URL(repo)}.Fetch(context.Background(), v1alpha1.GitRef{Commit: pin}, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := stock.Bytes(); got == 0 || got > 1<<16 {
		t.Errorf("kept %d bytes: the history must go", got)
	}
	if err := fstest.TestFS(s.Tree, "small", "dir/same", "dir2/same"); err != nil {
		t.Error(err)
	}
}

func TestSSH(t *testing.T) {
	server := serve(t, gitserver.Options{})
	first := push(t, server, map[string]string{"a": "1"})
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
	good := map[string][]byte{"identity": ssh.Identity(), "known_hosts": ssh.KnownHosts()}
	for name, tc := range map[string]struct {
		reason string
		auth   map[string][]byte
		url    string
		want   string // revision, or reason
		says   string
	}{
		"Good":        {reason: "A deploy key and its host key.", auth: good, want: "main@sha1:" + first},
		"NoSecret":    {reason: "Nobody gets in without a key.", want: v1alpha1.ReasonAuthFailed, says: "known_hosts"},
		"WrongKey":    {reason: "A key nobody added.", auth: map[string][]byte{"identity": other.Identity(), "known_hosts": ssh.KnownHosts()}, want: v1alpha1.ReasonAuthFailed, says: "deploy key"},
		"WrongHost":   {reason: "Whoever answers must be who was expected.", auth: map[string][]byte{"identity": ssh.Identity(), "known_hosts": other.KnownHosts()}, want: v1alpha1.ReasonAuthFailed, says: "host key"},
		"NoKnown":     {reason: "Without known_hosts anybody could answer.", auth: map[string][]byte{"identity": ssh.Identity()}, want: v1alpha1.ReasonAuthFailed, says: "known_hosts"},
		"NotAKey":     {reason: "A key that cannot be read is told before a connection.", auth: map[string][]byte{"identity": []byte("x"), "known_hosts": ssh.KnownHosts()}, want: v1alpha1.ReasonAuthFailed, says: "identity"},
		"NotThere":    {reason: "No such repository.", auth: good, url: ssh.URL("fleet/none"), want: v1alpha1.ReasonSourceUnreachable, says: "no repository"},
		"ClosedPort":  {reason: "Nothing listens.", auth: good, url: "ssh://git@127.0.0.1:1/x.git", want: v1alpha1.ReasonSourceUnreachable, says: "Nothing listens"},
		"SilentStays": {reason: "A server that accepts and says nothing is given up on.", auth: good, url: "ssh://git@" + silent(t) + "/x.git", want: v1alpha1.ReasonSourceUnreachable, says: "No answer"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Remote{URL: ssh.URL(repo), Auth: tc.auth}
			if tc.url != "" {
				r.URL = tc.url
			}
			if name == "SilentStays" {
				r.Timeout = 300 * time.Millisecond
			}
			s, err := r.Clone(context.Background(), v1alpha1.GitRef{Branch: "main"})
			var got string
			var failure *Error
			switch {
			case err == nil:
				got = s.Revision
			case errors.As(err, &failure):
				got = failure.Reason
				t.Log(err)
			}
			if got != tc.want || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\ngot %s (%v), want %s that says %q", tc.reason, got, err, tc.want, tc.says)
			}
		})
	}
	t.Run("Push", func(t *testing.T) {
		b, err := Remote{URL: ssh.URL(repo), Auth: good}.Branch(context.Background(), "new", nil)
		if err != nil {
			t.Fatal(err)
		}
		change := Change{Files: map[string]func() []byte{"a/b": Text([]byte("x"))}, Message: "m", Name: "n", Email: "e", When: time.Unix(1, 0)}
		if _, _, err := b.Commit(change); err != nil {
			t.Fatal(err)
		}
		if err := b.Push(context.Background()); err != nil {
			t.Fatal(err)
		}
		if got, err := server.ReadFile(repo, "new", "a/b"); err != nil || got != "x" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// silent is the address of a server that accepts connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return l.Addr().String()
}

func TestRedact(t *testing.T) {
	r := Remote{
		URL:  "https://joe:s3cr%2Ft@example.com/a/b.git?x=1",
		Auth: map[string][]byte{"username": []byte("ada"), "password": []byte("p@ss/wörd\n"), "bearerToken": []byte("tok&en")},
	}
	for name, tc := range map[string]struct{ reason, in, want string }{
		"Userinfo":   {"User and password of any address go.", "cloning https://joe:x@host/p and ssh://git@h/p", "cloning https://host/p and ssh://h/p"},
		"Password":   {"Also outside of an address.", "you said p@ss/wörd?", "you said ***?"},
		"Escaped":    {"As an address spells it.", "x p%40ss%2Fw%C3%B6rd y", "x *** y"},
		"Basic":      {"As the header of the request spells it.", "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:p@ss/wörd")), "Basic ***"},
		"Token":      {"A token likewise.", "Bearer tok&en", "Bearer ***"},
		"OfAddress":  {"What the address itself holds.", "got s3cr/t", "got ***"},
		"QueryToken": {"Tokens in a query.", "https://h/p?private_token=abc&y=1", "https://h/p?private_token=***&y=1"},
		"Path":       {"An @ in a path is no credential.", "https://h/a@b/c", "https://h/a@b/c"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := r.redact(tc.in); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
	if got := r.Address(); got != "https://example.com/a/b.git" {
		t.Errorf("address: got %q", got)
	}
}

func TestSecretsThatCannotWork(t *testing.T) {
	server := serve(t, gitserver.Options{TLS: true})
	for name, tc := range map[string]struct {
		reason, says string
		auth         map[string]string
	}{
		"CA":           {reason: "A CA that is none would be left out in silence.", auth: map[string]string{"ca.crt": "x"}, says: "ca.crt"},
		"CertAlone":    {reason: "A certificate needs its key.", auth: map[string]string{"tls.crt": "x"}, says: "come together"},
		"CertNoPEM":    {reason: "And both must be readable.", auth: map[string]string{"tls.crt": "x", "tls.key": "hidden"}, says: "in PEM"},
		"PasswordOnly": {reason: "A password belongs to somebody.", auth: map[string]string{"password": "hidden"}, says: "username"},
	} {
		t.Run(name, func(t *testing.T) {
			auth := map[string][]byte{}
			for k, v := range tc.auth {
				auth[k] = []byte(v)
			}
			server.ResetRequests()
			_, err := Remote{URL: server.URL(repo), Auth: auth}.Clone(context.Background(), v1alpha1.GitRef{})
			if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hidden") {
				t.Errorf("%s\ngot %v, want it to say %q", tc.reason, err, tc.says)
			}
			t.Log(err)
		})
	}
}

// packOf makes a pack of one blob that declares a size other than it has.
func packOf(declared int, content []byte) []byte {
	var b bytes.Buffer
	b.WriteString("PACK")
	_ = binary.Write(&b, binary.BigEndian, []uint32{2, 1})
	size := declared
	first := byte(3<<4) | byte(size&0xf)
	for size >>= 4; size > 0; size >>= 7 {
		b.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	b.WriteByte(first)
	z := zlib.NewWriter(&b)
	_, _ = z.Write(content)
	_ = z.Close()
	sum := sha1.Sum(b.Bytes())
	return append(b.Bytes(), sum[:]...)
}

func TestPacks(t *testing.T) {
	zeros := make([]byte, 4<<20)
	for name, tc := range map[string]struct {
		reason string
		pack   []byte
		want   error
	}{
		"Good":      {reason: "A blob of its size.", pack: packOf(3, []byte("abc"))},
		"Big":       {reason: "Over the limit by its own word.", pack: packOf(len(zeros), zeros), want: ErrTooLarge},
		"Liar":      {reason: "What is more than declared is never inflated.", pack: packOf(3, zeros), want: errAny},
		"Huge":      {reason: "A size beyond all memory.", pack: packOf(1<<50, []byte("abc")), want: ErrTooLarge},
		"Overflow":  {reason: "A size beyond all numbers.", pack: packOf(1<<62, []byte("abc")), want: errAny},
		"Truncated": {reason: "A pack that ends early.", pack: packOf(3, []byte("abc"))[:20], want: errAny},
		"Garbage":   {reason: "No pack at all.", pack: []byte("hello, I am no pack"), want: errAny},
	} {
		t.Run(name, func(t *testing.T) {
			o := newObjects(1 << 20)
			w, err := o.PackfileWriter()
			if err != nil {
				t.Fatal(err)
			}
			if _, err = w.Write(tc.pack); err == nil {
				err = w.Close()
			}
			if ok := errors.Is(err, tc.want) || err != nil && errors.Is(tc.want, errAny); !ok {
				t.Errorf("%s\ngot %v, want %v", tc.reason, err, tc.want)
			}
			if tc.want != nil && len(o.came.records) != 0 {
				t.Errorf("%s\nkept %d objects", tc.reason, len(o.came.records))
			}
		})
	}
}

var errAny = errors.New("any error")

func TestDeltaTarget(t *testing.T) {
	for name, tc := range map[string]struct {
		delta []byte
		want  int64
	}{
		"Small":    {[]byte{3, 5, 0x90}, 5},
		"TwoBytes": {[]byte{0x80, 0x01, 0x80, 0x02}, 256},
		"Huge":     {append([]byte{1}, bytes.Repeat([]byte{0xff}, 12)...), 1 << 62},
		"Cut":      {[]byte{3}, 0},
	} {
		if got := deltaTarget(tc.delta); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestBranchKeepsWhatIsNotOurs(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{
		"ours/old": "1", "ours/same": gitserver.Executable("s"), "theirs/link": gitserver.Symlink("x"), "theirs/run": gitserver.Executable("y"), "theirs/sub": gitserver.Submodule(strings.Repeat("2", 40)), "z": "z",
	})
	b, err := Remote{URL: server.URL(repo)}.Branch(context.Background(), "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	change := Change{Gone: []string{"ours/old", "ours/never"}, Files: map[string]func() []byte{"ours/new": Text([]byte("2"))}, Message: "m", Name: "a <b>\n", Email: "e", When: time.Unix(1700000000, 0)}
	if _, changed, err := b.Commit(change); err != nil || !changed {
		t.Fatalf("got %v, %v", changed, err)
	}
	if err := b.Push(context.Background()); err != nil {
		t.Fatal(err)
	}
	tree := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Tree
	var got []string
	_ = fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			got = append(got, d.Type().String()+" "+p)
		}
		return err
	})
	want := []string{"---------- ours/new", "---------- ours/same", "L--------- theirs/link", "---------- theirs/run", "?--------- theirs/sub", "---------- z"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestEndlessAnswer(t *testing.T) {
	here, there := net.Pipe()
	t.Cleanup(func() { _ = here.Close() })
	go func() {
		for {
			if _, err := there.Write(make([]byte, 64)); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, bound(here, 1000))
	if !errors.Is(err, ErrTooLarge) || n < 1000 || n > 1000+64 {
		t.Errorf("got %d bytes and %v, want about 1000 and %v", n, err, ErrTooLarge)
	}
}
