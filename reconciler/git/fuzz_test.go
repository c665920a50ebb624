// SPDX-License-Identifier: Apache-2.0

package git

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/test/gitserver"
)

// FuzzBy reads signatures as anybody who may push can write them: each ends in a
// verdict, and none that nobody made is taken.
func FuzzBy(f *testing.F) {
	data, signers := map[string][]byte{}, []Signer{}
	for name, newKey := range map[string]func() (gitserver.Key, error){
		"a.asc": func() (gitserver.Key, error) { return gitserver.PGPKey("Ada", "") }, "a.sshpub": func() (gitserver.Key, error) { return gitserver.SSHKey("") },
	} {
		key, err := newKey()
		if err != nil {
			f.Fatal(err)
		}
		data[name] = []byte(key.Public)
		entry := map[string]string{"a.asc": entryPGPKey, "a.sshpub": entrySSHKey}[name]
		signer, err := SignerOf(map[string][]byte{entry: []byte(key.Private)})
		if err != nil {
			f.Fatal(err)
		}
		signers = append(signers, signer)
	}
	keys, err := KeysOf(data)
	if err != nil {
		f.Fatal(err)
	}
	for _, signer := range signers {
		text, err := signer.Sign(strings.NewReader("something else"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "tree 1")
	}
	f.Add("-----BEGIN PGP SIGNATURE-----\n\n=\n-----END PGP SIGNATURE-----", "")
	f.Add("-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----", "x")
	f.Fuzz(func(t *testing.T, text, payload string) {
		if payload == "something else" {
			return
		}
		if by, err := (Signed{signature: text, payload: []byte(payload)}).By(keys); err == nil {
			t.Errorf("it was taken for signed by %s", by)
		}
	})
}

// FuzzKeysOf reads public keys as somebody pastes them.
func FuzzKeysOf(f *testing.F) {
	key, err := gitserver.PGPKey("Ada", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("a.asc", []byte(key.Public))
	f.Add("a.sshpub", []byte("ssh-ed25519 AAAA\n"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		keys, err := KeysOf(map[string][]byte{name: content})
		if err == nil && len(keys.pgp)+len(keys.ssh) == 0 {
			t.Error("a Secret without a key was taken")
		}
	})
}
