// SPDX-License-Identifier: Apache-2.0

package git

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/test/gitserver"
)

func TestSignerOf(t *testing.T) {
	key := must[gitserver.Key](t)
	pgp, locked := key(gitserver.PGPKey("Ada", "")), key(gitserver.PGPKey("Ada", "hunter2"))
	ssh, lockedSSH := key(gitserver.SSHKey("")), key(gitserver.SSHKey("hunter2"))
	for name, c := range map[string]struct {
		reason string
		data   map[string]string
		want   string // part of the error; "": it can sign
	}{
		"PGP":          {"As Flux's image automation has it.", map[string]string{"git.asc": pgp.Private}, ""},
		"PGPLocked":    {"A passphrase unlocks it.", map[string]string{"git.asc": locked.Private, "passphrase": "hunter2"}, ""},
		"PGPUnknown":   {"A wrong passphrase is said, and not repeated.", map[string]string{"git.asc": locked.Private, "passphrase": "hunter3"}, "passphrase does not unlock git.asc"},
		"PGPPublic":    {"The public half cannot sign.", map[string]string{"git.asc": pgp.Public}, "git.asc is not one armored OpenPGP private key"},
		"PGPTwo":       {"Which of two would sign is a guess.", map[string]string{"git.asc": "hunter2"}, "git.asc is not one armored"},
		"SSH":          {"The key of a deploy account.", map[string]string{"identity": ssh.Private}, ""},
		"SSHLocked":    {"A passphrase unlocks it.", map[string]string{"identity": lockedSSH.Private, "passphrase": "hunter2"}, ""},
		"SSHForgotten": {"Without its passphrase it cannot sign.", map[string]string{"identity": lockedSSH.Private}, "passphrase does not unlock it"},
		"Both":         {"Which of two would sign is a guess.", map[string]string{"identity": ssh.Private, "git.asc": pgp.Private}, "one key signs"},
		"None":         {"A Secret of another kind.", map[string]string{"token": "hunter2"}, "it has neither git.asc"},
	} {
		t.Run(name, func(t *testing.T) {
			data := map[string][]byte{}
			for k, v := range c.data {
				data[k] = []byte(v)
			}
			signer, err := SignerOf(data)
			if c.want == "" {
				if err != nil {
					t.Fatalf("%s\n%v", c.reason, err)
				}
				if text, err := signer.Sign(strings.NewReader("a commit")); err != nil || !strings.HasPrefix(string(text), "-----BEGIN ") {
					t.Errorf("%s\nsigned %s, %v", c.reason, text, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
		})
	}
}
