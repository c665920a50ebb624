// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/test/sealed"
)

func read(t testing.TB, parts ...string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, parts...)...))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func keys(t testing.TB, names ...string) *sops.Keys {
	t.Helper()
	data := map[string][]byte{}
	for _, name := range names {
		data[name] = read(t, "keys", name)
	}
	k, err := sops.KeysOf(data)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestWrittenBySOPS: what SOPS 3.13.2 itself has encrypted reads as it was before.
func TestWrittenBySOPS(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		key    string
		exact  bool // byte by byte; else what the text stands for
	}{
		"secret.yaml":    {reason: "A Secret, with comments, a null and texts that need quotes.", key: "team.agekey"},
		"pgp.yaml":       {reason: "The same for an OpenPGP key.", key: "team.asc"},
		"two.yaml":       {reason: "Two documents, whose sum is of what is encrypted alone.", key: "team.agekey"},
		"secret.json":    {reason: "A Secret in JSON.", key: "team.agekey"},
		"config.yaml":    {reason: "A file of a generator: numbers, booleans, times, lists.", key: "team.agekey"},
		"settings.json":  {reason: "A file of a generator in JSON.", key: "team.agekey"},
		"login.env":      {reason: "Lines of NAME=value.", key: "team.agekey", exact: true},
		"id_ed25519.enc": {reason: "A file of any kind.", key: "team.agekey", exact: true},
	} {
		t.Run(name, func(t *testing.T) {
			encrypted := read(t, name)
			plain, was, err := keys(t, c.key).Decrypt(name, encrypted)
			if err != nil || !was || !sops.Is(name, encrypted) {
				t.Fatalf("%s\nencrypted: %t, is: %t, error: %v", c.reason, was, sops.Is(name, encrypted), err)
			}
			want := read(t, "plain", name)
			if c.exact {
				got := strings.Trim(regexp.MustCompile(`\n{2,}`).ReplaceAllString(string(plain), "\n"), "\n")
				got = regexp.MustCompile(`(?m)^#\n?`).ReplaceAllString(got, "")
				if diff := cmp.Diff(strings.Trim(strings.TrimPrefix(string(want), "# who\n"), "\n"), strings.Trim(got, "\n")); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.reason, diff)
				}
				return
			}
			if diff := cmp.Diff(meaning(t, want), unmarked(meaning(t, plain))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if a, b := strings.Count(string(encrypted), "\n"), strings.Count(string(plain), "\n"); strings.HasSuffix(name, ".yaml") && a != b {
				t.Errorf("a line moves: %d lines became %d", a, b)
			}
		})
	}
}

// meaning is what all documents of a text stand for.
func meaning(t *testing.T, text []byte) []any {
	t.Helper()
	var all []any
	decoder := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(text), "\t", " ")))
	for {
		var one any
		if err := decoder.Decode(&one); err != nil {
			return all
		}
		all = append(all, one)
	}
}

// unmarked takes out what says that an object was encrypted.
func unmarked(docs []any) []any {
	for _, d := range docs {
		if m, ok := d.(map[string]any); ok {
			delete(m, "sops")
		}
	}
	return docs
}

const secret = "apiVersion: v1\nkind: Secret\nmetadata:\n    name: push\nstringData:\n    token: hunter2-hunter2\n    user: somebody\n"

func sealing(t testing.TB) (string, *sops.Keys) {
	t.Helper()
	key, err := sealed.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	text, err := sealed.YAML(secret, key)
	if err != nil {
		t.Fatal(err)
	}
	k, err := sops.KeysOf(map[string][]byte{"a.agekey": []byte(key.Private())})
	if err != nil {
		t.Fatal(err)
	}
	return text, k
}

// values of a file, in its order.
var values = regexp.MustCompile(`ENC\[[^\]]*\]`)

// TestAltered: who can push, and has no key, can make nothing of a file but an error.
func TestAltered(t *testing.T) {
	text, k := sealing(t)
	v := values.FindAllString(text, -1)
	if len(v) != 3 {
		t.Fatalf("%d values in\n%s", len(v), text)
	}
	swap := strings.NewReplacer(v[0], v[1], v[1], v[0])
	for name, c := range map[string]struct {
		reason string
		text   string
		want   string
	}{
		"Whole":       {"Nothing was changed.", text, ""},
		"Renamed":     {"The name of the object is no secret, and summed up all the same.", strings.Replace(text, "name: push", "name: pull", 1), "its MAC does not match"},
		"OtherKind":   {"A ConfigMap would be readable by more.", strings.Replace(text, "kind: Secret", "kind: ConfigMap", 1), "a ConfigMap may not be encrypted"},
		"Workspace":   {"So would a Workspace.", strings.NewReplacer("kind: Secret", "kind: Workspace", "apiVersion: v1", "apiVersion: espalier.dev/v1alpha1").Replace(text), "a Workspace may not be encrypted"},
		"Swapped":     {"A value belongs to its key.", swap.Replace(text), "was changed after it was encrypted, or is of another place"},
		"Cut":         {"A value less.", strings.Replace(text, "    user: "+v[1]+"\n", "", 1), "its MAC does not match"},
		"Added":       {"A value more, in the clear.", strings.Replace(text, "stringData:\n", "stringData:\n    more: a\n", 1), "is not written as sops writes it"},
		"Twice":       {"A key that is there twice.", strings.Replace(text, "    user: ", "    token: ", 1), "is no YAML that sops has written"},
		"NoSum":       {"A file without its sum.", regexp.MustCompile(`(?m)^    mac: .*\n`).ReplaceAllString(text, ""), "its MAC does not match"},
		"OtherTime":   {"A sum of another day.", strings.Replace(text, "2026-11-26", "2026-11-25", 1), "its MAC does not match"},
		"LessCovered": {"A rule that says less.", strings.Replace(text, "^(data|stringData)$", "^token$", 1), "its MAC does not match"},
		"Garbage":     {"A value that is none.", strings.Replace(text, v[0], "ENC[AES256_GCM,data:%,iv:a,tag:b,type:str]", 1), "is not written as sops writes it"},
		"Alias":       {"SOPS writes none.", strings.Replace(text, v[1], "*a", 1), "is no YAML that sops has written"},
		"Groups":      {"Shares of a key are not put together.", strings.Replace(text, "sops:\n", "sops:\n    key_groups: [{age: []}]\n", 1), "is encrypted for groups of keys"},
		"ByComment":   {"Comments do not say what is secret.", strings.Replace(text, "sops:\n", "sops:\n    encrypted_comment_regex: x\n", 1), "by comments"},
		"TwoRules":    {"One rule.", strings.Replace(text, "sops:\n", "sops:\n    encrypted_suffix: x\n", 1), "several rules"},
		"Expression":  {"A rule that does not compile.", strings.Replace(text, "^(data|stringData)$", "(", 1), "has an expression"},
	} {
		t.Run(name, func(t *testing.T) {
			plain, was, err := k.Decrypt("a/push.yaml", []byte(c.text))
			if c.want == "" && err == nil {
				return
			}
			if err == nil || !was || plain != nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%s\nwant %q, got %v, text %q", c.reason, c.want, err, plain)
			}
			quotesNothing(t, err.Error())
		})
	}
}

// quotesNothing: an error holds nothing of a file.
func quotesNothing(t *testing.T, message string) {
	t.Helper()
	for _, never := range []string{"hunter2", "somebody", "ENC[", "AGE-SECRET", "BEGIN"} {
		if strings.Contains(message, never) {
			t.Errorf("the message holds %q: %s", never, message)
		}
	}
}

// TestNotForUs: other keys, and files for the services of a cloud alone.
func TestNotForUs(t *testing.T) {
	text, _ := sealing(t)
	_, _, err := keys(t, "team.agekey", "team.asc").Decrypt("a.yaml", []byte(text))
	if !errors.Is(err, sops.ErrNotForUs) {
		t.Errorf("another key: %v", err)
	}
	_, k := sealing(t)
	cloud := regexp.MustCompile(`(?s)    age:.*?    encrypted_regex`).ReplaceAllString(text, "    azure_kv: [{vault_url: https://example.com, enc: x}]\n    encrypted_regex")
	_, _, err = k.Decrypt("a.yaml", []byte(cloud))
	if err == nil || !strings.Contains(err.Error(), "Azure Key Vault alone, which is not asked: add an age recipient") {
		t.Errorf("for a service alone: %v", err)
	}
}

func TestKeysOf(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		data   map[string]string
		want   string
	}{
		"Empty":    {"A Secret without a key is no way to read anything.", map[string]string{"token": "hunter2"}, "has no private key: add NAME.agekey"},
		"Services": {"Flux's keys of services are named, not passed over.", map[string]string{"sops.azure-kv": "hunter2"}, "has no private key, only sops.azure-kv: no service of a cloud is asked with what a Secret has"},
		"NoAge":    {"What is no identity is said without a word of it.", map[string]string{"a.agekey": "hunter2"}, "a.agekey holds no age identities"},
		"NoPGP":    {"The same of OpenPGP.", map[string]string{"a.asc": "hunter2"}, "a.asc holds no armored OpenPGP key"},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range c.data {
				data[k] = []byte(v)
			}
			_, err := sops.KeysOf(data)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%s\nwant %q, got %v", c.reason, c.want, err)
			}
			quotesNothing(t, err.Error())
		})
	}
	if a, b := keys(t, "team.agekey"), keys(t, "team.agekey", "team.asc"); a.Fingerprint() == b.Fingerprint() || a.Fingerprint() != keys(t, "team.agekey").Fingerprint() {
		t.Error("a fingerprint is of the keys")
	}
}

// TestPlain: what speaks of SOPS is no file of it.
func TestPlain(t *testing.T) {
	_, k := sealing(t)
	for _, text := range []string{
		"", "a: b\n", "sops: ENC[AES256_GCM,\n", `{"messages": ["sops: ENC[AES256_GCM,data:a]"]}`,
		"# sops writes ENC[AES256_GCM,…]\nkind: Secret\n",
	} {
		plain, was, err := k.Decrypt("a.yaml", []byte(text))
		if strings.HasPrefix(text, "sops:") {
			continue // a mapping is missing: an error is as good
		}
		if err != nil || was || string(plain) != text {
			t.Errorf("%q: %q, %t, %v", text, plain, was, err)
		}
	}
}

// TestObjects: only what a Secret holds may be encrypted.
func TestObjects(t *testing.T) {
	var refused *sops.Refused
	text, k := sealing(t)
	_, _, err := k.Decrypt("w.yaml", []byte(strings.Replace(text, "kind: Secret", "kind: Workspace", 1)))
	if !errors.As(err, &refused) || refused.Code != finding.EncryptedField {
		t.Errorf("a Workspace: %v", err)
	}
}

func FuzzDecrypt(f *testing.F) {
	for _, name := range []string{"secret.yaml", "pgp.yaml", "two.yaml", "secret.json", "config.yaml", "settings.json", "login.env", "id_ed25519.enc"} {
		f.Add(name, read(f, name))
	}
	f.Add("a.yaml", []byte("sops: {mac: 'ENC[AES256_GCM,'}\n"))
	k := keys(f, "team.agekey", "team.asc")
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		plain, was, err := k.Decrypt(name, text)
		switch {
		case err != nil && (plain != nil || !was):
			t.Errorf("an error with a text, %t", was)
		case err == nil && was && strings.Contains(string(plain), "\nsops:\n"):
			t.Error("what SOPS keeps is still there")
		}
		if err != nil {
			quotesNothing(t, strings.ReplaceAll(err.Error(), name, ""))
		}
	})
}
