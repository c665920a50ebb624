// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/sops"
)

// vault decrypts with the key that the files of testdata are encrypted for.
type vault struct {
	key   *rsa.PrivateKey
	asked []sops.VaultKey
	err   error
}

func newVault(t *testing.T) *vault {
	t.Helper()
	block, _ := pem.Decode(read(t, "keys", "vault.pem"))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &vault{key: key}
}

func (v *vault) Decrypt(key sops.VaultKey, encrypted []byte) ([]byte, error) {
	v.asked = append(v.asked, key)
	if v.err != nil {
		return nil, v.err
	}
	return rsa.DecryptOAEP(sha256.New(), nil, v.key, encrypted, nil)
}

var vaultKey = sops.VaultKey{URL: "https://team-a.vault.azure.net", Name: "sops", Version: "0123456789abcdef0123456789abcdef"}

// TestVault: what SOPS 3.13.2 encrypted for a key of Azure Key Vault is opened by asking
// for that key, and by nobody where an own key opens it or nobody may ask.
func TestVault(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		file   string
		plain  string
		keys   *sops.Keys
		asks   bool
		asked  int
		err    string
	}{
		"YAML":      {"A Secret.", "vault.yaml", "secret.yaml", &sops.Keys{}, true, 1, ""},
		"JSON":      {"The same in JSON.", "vault.json", "secret.json", &sops.Keys{}, true, 1, ""},
		"Lines":     {"A file of NAME=value has a line for each part of the key.", "vault.env", "", &sops.Keys{}, true, 1, ""},
		"AgeFirst":  {"An own key asks nobody.", "vault-and-age.yaml", "secret.yaml", keys(t, "team.agekey"), true, 0, ""},
		"NoAge":     {"Without it the vault is asked.", "vault-and-age.yaml", "secret.yaml", keys(t, "team.asc"), true, 1, ""},
		"Nobody":    {"Without anybody who asks it is as it was: a file for none of the keys.", "vault.yaml", "", keys(t, "team.agekey"), false, 0, "vault.yaml is encrypted for Azure Key Vault alone, which is not asked"},
		"AgeOnly":   {"A file for age alone is nothing to ask a vault for.", "secret.yaml", "", &sops.Keys{}, true, 0, "name the Secret with it in spec.decryption.secretRef"},
		"OtherKeys": {"Where there are keys, it is for none of them.", "secret.yaml", "", keys(t, "team.asc"), true, 0, "none of the keys that are there"},
	} {
		t.Run(name, func(t *testing.T) {
			v, k := newVault(t), c.keys
			if c.asks {
				k = k.Asking(v, "team-a")
			}
			plain, was, err := k.Decrypt(c.file, read(t, c.file))
			if len(v.asked) != c.asked || c.asked == 1 && v.asked[0] != vaultKey {
				t.Errorf("%s\nasked %v", c.reason, v.asked)
			}
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s\ngot %v", c.reason, err)
				}
				return
			}
			if err != nil || !was {
				t.Fatalf("%s\n%v", c.reason, err)
			}
			if c.plain == "" {
				if !strings.Contains(string(plain), "PASSWORD=pa$$word=1") {
					t.Errorf("%s\n%s", c.reason, plain)
				}
				return
			}
			if diff := cmp.Diff(meaning(t, read(t, "plain", c.plain)), unmarked(meaning(t, plain))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// TestVaultTree: a file is asked for once, however often it is read, and a vault that does
// not open it is told apart from a file that is wrong.
func TestVaultTree(t *testing.T) {
	v := newVault(t)
	tree := (sops.Keys{}).Asking(v, "a").Tree(fstest.MapFS{"a.yaml": {Data: read(t, "vault.yaml")}})
	for range 3 {
		if text, err := fs.ReadFile(tree, "a.yaml"); err != nil || !strings.Contains(string(text), "hunter2") {
			t.Fatalf("%v\n%s", err, text)
		}
	}
	if len(v.asked) != 1 {
		t.Errorf("asked %d times", len(v.asked))
	}
	away := newVault(t)
	away.err = errors.New("it is away")
	tree = (sops.Keys{}).Asking(away, "a").Tree(fstest.MapFS{"a.yaml": {Data: read(t, "vault.yaml")}})
	var failed *sops.Failure
	for range 2 {
		_, err := fs.ReadFile(tree, "a.yaml")
		if !errors.As(err, &failed) || !failed.Asked || failed.Message != "a.yaml is not decrypted by Azure Key Vault: it is away" {
			t.Fatalf("got %+v", err)
		}
	}
	if len(away.asked) != 1 {
		t.Errorf("asked %d times", len(away.asked))
	}
}

// TestWrongAndAway: an entry that is wrong does not hide that a vault was away, before it
// or after: the file may open when it is asked again.
func TestWrongAndAway(t *testing.T) {
	const entry = "        - created_at:"
	text := string(read(t, "vault.yaml"))
	begin, end := strings.Index(text, entry), strings.Index(text, "    encrypted_regex:")
	right := text[begin:end]
	wrong := regexp.MustCompile(`enc: \S+`).ReplaceAllString(right, "enc: '!'")
	if wrong == right {
		t.Fatal("nothing is wrong")
	}
	for name, entries := range map[string]string{"Before": wrong + right, "After": right + wrong} {
		away := newVault(t)
		away.err = errors.New("it is away")
		tree := (sops.Keys{}).Asking(away, "a").Tree(fstest.MapFS{"a.yaml": {Data: []byte(text[:begin] + entries + text[end:])}})
		var failed *sops.Failure
		if _, err := fs.ReadFile(tree, "a.yaml"); !errors.As(err, &failed) || !failed.Asked || !strings.Contains(failed.Message, "it is away") {
			t.Errorf("%s: got %+v", name, err)
		}
	}
}

// TestAskedTooOften: who pushes does not decide how many requests there are.
func TestAskedTooOften(t *testing.T) {
	v := newVault(t)
	v.err = errors.New("no")
	const entry = "        - created_at:"
	text := string(read(t, "vault.yaml"))
	begin := strings.Index(text, entry)
	end := strings.Index(text, "    encrypted_regex:")
	files := fstest.MapFS{}
	many := text[:begin] + strings.Repeat(text[begin:end], 60) + text[end:]
	for _, name := range []string{"a.yaml", "b.yaml", "c.yaml", "d.yaml", "e.yaml", "f.yaml"} {
		files[name] = &fstest.MapFile{Data: []byte(many)}
	}
	tree := (sops.Keys{}).Asking(v, "a").Tree(files)
	var last error
	for name := range files {
		_, last = fs.ReadFile(tree, name)
		if last == nil {
			t.Fatal("opened")
		}
	}
	if _, err := fs.ReadFile(tree, "g.yaml"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if len(v.asked) != 256 {
		t.Errorf("asked %d times", len(v.asked))
	}
}

// TestAskingIsAPartOfTheHash: what was opened for one is not handed to another.
func TestAskingIsAPartOfTheHash(t *testing.T) {
	one, other := (sops.Keys{}).Asking(newVault(t), "a"), (sops.Keys{}).Asking(newVault(t), "b")
	if one.Fingerprint() == other.Fingerprint() {
		t.Error("two who ask are told apart by nothing")
	}
}
