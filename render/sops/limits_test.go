// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"

	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/test/sealed"
)

// oneLine is a Secret with many values on one line, as encrypted ones begin.
func oneLine(values int) string { return oneLineOf(values, "'ENC[AES256_GCM,x]'") }

func oneLineOf(values int, value string) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {")
	for _, key := range keysOf(values) {
		fmt.Fprintf(&b, "%s: %s, ", key, value)
	}
	b.WriteString("}\nsops:\n    mac: ENC[AES256_GCM,x]\n    lastmodified: \"2026-11-26T00:00:00Z\"\n")
	return b.String()
}

func keysOf(count int) []string {
	keys := make([]string, count)
	for i := range keys {
		keys[i] = fmt.Sprintf("k%05d", i)
	}
	return keys
}

// TestLimits: who can push decides what is opened, and not how long that takes.
func TestLimits(t *testing.T) {
	text, k := sealing(t)
	for name, c := range map[string]struct {
		reason string
		text   string
		want   string
	}{
		"OneLine":    {"A line is walked through once, however many values it has: it took 17 seconds.", oneLine(9_000), "is encrypted for no age or OpenPGP key"},
		"Values":     {"There are so many.", oneLine(10_001), "has more than 10000 values"},
		"Keys":       {"A library compares each key of a mapping with every other.", oneLineOf(30_000, "a"), "has more than 10000 values"},
		"Own":        {"The same of what SOPS keeps.", strings.Replace(text, "sops:\n", "sops:\n    kms: [{"+strings.Join(keysOf(30_000), ": 1, ")+": 1}]\n", 1), "is no YAML that sops has written"},
		"Size":       {"A file has a size.", text + "# " + strings.Repeat("x", 512<<10), "has more than 524288 bytes"},
		"Path":       {"A value is authenticated with all keys above it.", regexp.MustCompile(`    token: (\S+)`).ReplaceAllString(text, "    token: "+strings.Repeat("{"+strings.Repeat("k", 1000)+": ", 5)+"'$1'"+strings.Repeat("}", 5)), "below keys of more than 4096 bytes"},
		"Expression": {"An expression is matched with every key.", strings.Replace(text, "^(data|stringData)$", strings.Repeat("x", 1025), 1), "an expression of what is encrypted of more than 1024 bytes"},
		"DataKey":    {"An entry of one recipient has room for hundreds.", entry(t, text, "age", strings.Repeat("x", 8193)), "a data key of more than 8192 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			plain, was, err := k.Decrypt("a.yaml", []byte(c.text))
			if err == nil || !was || plain != nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("%s\nwant %q, got %v", c.reason, c.want, err)
			}
			quotesNothing(t, err.Error())
		})
	}
}

// encryptedKeys are entries of a file with one data key for many recipients at once.
var encryptedKeys = regexp.MustCompile(`(?s)    age:\n.*?END AGE ENCRYPTED FILE-----\n\s*(recipient: \S+\n)?`)

// TestSeveralAtOnce: an entry is for one recipient, as SOPS writes it.
func TestSeveralAtOnce(t *testing.T) {
	text, k := sealing(t)
	var others []age.Recipient
	for range 5 {
		identity, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, identity.Recipient())
	}
	var ageText bytes.Buffer
	armored := armor.NewWriter(&ageText)
	w, err := age.Encrypt(armored, others...)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), armored.Close()); err != nil {
		t.Fatal(err)
	}
	_, _, err = k.Decrypt("a.yaml", []byte(entry(t, text, "age", ageText.String())))
	if err == nil || !strings.Contains(err.Error(), "encrypted for several recipients at once") {
		t.Errorf("age: %v", err)
	}

	team, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(read(t, "keys", "team.asc")))
	if err != nil {
		t.Fatal(err)
	}
	var pgpText bytes.Buffer
	out, err := pgparmor.Encode(&pgpText, "PGP MESSAGE", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err = openpgp.Encrypt(out, []*openpgp.Entity{team[0], team[0], team[0], team[0], team[0]}, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), out.Close()); err != nil {
		t.Fatal(err)
	}
	_, _, err = keys(t, "team.asc").Decrypt("a.yaml", []byte(entry(t, text, "pgp", pgpText.String())))
	if err == nil || !strings.Contains(err.Error(), "encrypted for several recipients at once") {
		t.Errorf("OpenPGP: %v", err)
	}
}

// entry puts another encrypted data key into a file.
func entry(t *testing.T, text, list, armored string) string {
	t.Helper()
	indented := "        " + strings.ReplaceAll(strings.TrimSpace(armored), "\n", "\n        ")
	out := encryptedKeys.ReplaceAllString(text, "    "+list+":\n    - enc: |\n"+indented+"\n")
	if out == text {
		t.Fatalf("no entry in\n%s", text)
	}
	return out
}

// TestTreeTries: what fails is not tried again, and all tries together are bounded.
func TestTreeTries(t *testing.T) {
	var recipients []sealed.Key
	for range 64 {
		key, err := sealed.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		recipients = append(recipients, key)
	}
	text, err := sealed.YAML(secret, recipients...)
	if err != nil {
		t.Fatal(err)
	}
	_, k := sealing(t)
	files := fstest.MapFS{}
	for i := range 65 {
		files[fmt.Sprint(i, ".yaml")] = &fstest.MapFile{Data: []byte(text)}
	}
	tree := k.Tree(files)
	failure := func(name string) *sops.Failure {
		var failed *sops.Failure
		if _, err := fs.ReadFile(tree, name); !errors.As(err, &failed) {
			t.Fatalf("%s: %v", name, err)
		}
		return failed
	}
	first := failure("0.yaml")
	if !strings.Contains(first.Message, "is encrypted for none of the keys") || first.Bytes != int64(len(text)) || failure("0.yaml") != first {
		t.Errorf("the first: %+v", first)
	}
	for i := range 64 {
		if f := failure(fmt.Sprint(i, ".yaml")); !strings.Contains(f.Message, "is encrypted for none of the keys") {
			t.Fatalf("file %d: %s", i, f.Message)
		}
	}
	if f := failure("64.yaml"); !strings.Contains(f.Message, "more than 4096 encrypted data keys were tried") {
		t.Errorf("one more: %s", f.Message)
	}
}

// TestTreeOfLarge: all encrypted files together have a size too.
func TestTreeOfLarge(t *testing.T) {
	text, k := sealing(t)
	large := text + "# " + strings.Repeat("x", 500<<10) + "\n"
	files := fstest.MapFS{}
	for i := range 33 {
		files[fmt.Sprint(i, ".yaml")] = &fstest.MapFile{Data: []byte(large)}
	}
	tree := k.Tree(files)
	for i := range 32 {
		if _, err := fs.ReadFile(tree, fmt.Sprint(i, ".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := fs.ReadFile(tree, "32.yaml"); err == nil || !strings.Contains(err.Error(), "have more than 16777216 bytes") {
		t.Errorf("one more: %v", err)
	}
}
