// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// TestBy reads commits and tags over Git's own protocol that were signed as people
// sign them.
func TestBy(t *testing.T) {
	key := must[gitserver.Key](t)
	ada, eve, lock := key(gitserver.PGPKey("Ada", "")), key(gitserver.PGPKey("Eve", "")), key(gitserver.SSHKey(""))
	stray := key(gitserver.SSHKey(""))
	keys := must[Keys](t)(KeysOf(map[string][]byte{"ada.asc": []byte(ada.Public), "ci.sshpub": []byte("# of the pipeline\n" + lock.Public), "note.txt": []byte("x")}))
	server := serve(t, gitserver.Options{})
	for name, c := range map[string]struct {
		reason string
		sign   *gitserver.Key
		want   string
		err    error
	}{
		"PGP":      {"A key that counts.", &ada, "OpenPGP key ", nil},
		"SSH":      {"An SSH key counts as much.", &lock, "SSH key SHA256:", nil},
		"Unsigned": {"No signature is none.", nil, "there is no signature", ErrNotSigned},
		"OtherPGP": {"A signature alone says nothing: whose it is does.", &eve, "it says to be by OpenPGP key ", ErrNotTrusted},
		"OtherSSH": {"The same for SSH.", &stray, "it says to be by SSH key SHA256:", ErrNotTrusted},
	} {
		t.Run(name, func(t *testing.T) {
			push(t, server, map[string]string{"a.yaml": name})
			if c.sign != nil {
				must[string](t)(server.SignHead(repo, "main", *c.sign))
				if err := server.SignTag(repo, "v1", "v1", "main", *c.sign); err != nil {
					t.Fatal(err)
				}
			} else if err := server.Tag(repo, "v1", "main", "not signed"); err != nil {
				t.Fatal(err)
			}
			s := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{Tag: "v1"})
			for what, signed := range map[string]Signed{"commit": s.Commit, "tag": *s.Tag} {
				by, err := signed.By(keys)
				if !errors.Is(err, c.err) || err == nil && !strings.HasPrefix(by, c.want) || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s\n%s: got %q, %v, want %q", c.reason, what, by, err, c.want)
				}
			}
			if s.Tag.TagName != "v1" {
				t.Errorf("the tag was made for %q", s.Tag.TagName)
			}
		})
	}
}

// TestTampered: a signature does not stand for another content.
func TestTampered(t *testing.T) {
	ada := must[gitserver.Key](t)(gitserver.PGPKey("Ada", ""))
	keys := must[Keys](t)(KeysOf(map[string][]byte{"ada.asc": []byte(ada.Public)}))
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"a.yaml": "a: 1"})
	must[string](t)(server.SignHead(repo, "main", ada))
	signed := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{}).Commit
	if _, err := signed.By(keys); err != nil {
		t.Fatal(err)
	}
	signed.payload = []byte(strings.Replace(string(signed.payload), "something", "something else", 1))
	if _, err := signed.By(keys); !errors.Is(err, ErrNotTrusted) {
		t.Errorf("another message was taken for signed: %v", err)
	}
}

// TestTagOtherwise: what no tag object has nobody can have signed, and a tag says
// what name it was made for.
func TestTagOtherwise(t *testing.T) {
	ada := must[gitserver.Key](t)(gitserver.PGPKey("Ada", ""))
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"a.yaml": "a: 1"})
	if err := server.Tag(repo, "light", "main", ""); err != nil {
		t.Fatal(err)
	}
	if err := server.SignTag(repo, "v1", "v2", "main", ada); err != nil {
		t.Fatal(err)
	}
	if tag := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{Tag: "light"}).Tag; tag != nil {
		t.Errorf("a lightweight tag has nothing to sign: %+v", tag)
	}
	if tag := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{Tag: "v2"}).Tag; tag == nil || tag.TagName != "v1" {
		t.Errorf("the tag under v2 was made for v1: %+v", tag)
	}
	pinned := clone(t, Remote{URL: server.URL(repo)}, v1alpha1.GitRef{Commit: must[string](t)(server.SignHead(repo, "main", ada))})
	keys := must[Keys](t)(KeysOf(map[string][]byte{"ada.asc": []byte(ada.Public)}))
	if _, err := pinned.Commit.By(keys); err != nil {
		t.Errorf("a pinned commit has its signature: %v", err)
	}
}

func TestKeysOf(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		data   map[string][]byte
		want   string
	}{
		"Empty":   {"A Secret without a key would refuse every commit.", nil, "it has no public key: name entries NAME.asc"},
		"Ending":  {"A key under another name would be ignored silently.", map[string][]byte{"ada.pub": []byte("ssh-ed25519 AAAA")}, "it has no public key"},
		"NoPGP":   {"What is no key is named, and not repeated.", map[string][]byte{"ada.asc": []byte("hunter2")}, "ada.asc is no armored OpenPGP public key"},
		"NoSSH":   {"One broken line is a mistake, and not a key less.", map[string][]byte{"ci.sshpub": []byte("hunter2")}, "ci.sshpub has no SSH public key"},
		"NoLines": {"A file of comments has no key.", map[string][]byte{"ci.sshpub": []byte("# later\n")}, "ci.sshpub has no SSH public key"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := KeysOf(c.data)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
		})
	}
}
