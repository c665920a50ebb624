// SPDX-License-Identifier: Apache-2.0

package report

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// TestSigned: what Espalier signs, git itself verifies, with the programs that
// people have.
func TestSigned(t *testing.T) {
	for name, c := range map[string]struct {
		reason, program, entry string
		key                    func(passphrase string) (gitserver.Key, error)
		trust                  func(t *testing.T, key gitserver.Key) (env, args []string)
		want                   string
	}{
		"OpenPGP": {
			"gpg knows the key.", "gpg", "git.asc",
			func(passphrase string) (gitserver.Key, error) { return gitserver.PGPKey("Espalier", passphrase) }, trustGPG, "Good signature",
		},
		"SSH": {"ssh-keygen finds it among the allowed signers.", "ssh-keygen", "identity", gitserver.SSHKey, trustSSH, `Good "git" signature`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(c.program); err != nil {
				t.Skipf("git verifies with %s, which is not here", c.program)
			}
			key, err := c.key("correct horse")
			if err != nil {
				t.Fatal(err)
			}
			server := serve(t, gitserver.Options{})
			to := target(server)
			if to.Signer, err = git.SignerOf(map[string][]byte{c.entry: []byte(key.Private), "passphrase": []byte("correct horse")}); err != nil {
				t.Fatal(err)
			}
			write(t, to, snapshot(progressing("phi-4-mini")))
			result := write(t, to, snapshot(served()))
			env, args := c.trust(t, key)
			for _, rev := range []string{result.Commit, result.Commit + "~1"} {
				cmd := exec.CommandContext(t.Context(), "git", append(append([]string{"-C", server.Dir(repo)}, args...), "verify-commit", "-v", rev)...)
				cmd.Env = append(os.Environ(), env...)
				if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), c.want) {
					t.Errorf("%s\ngit verify-commit %s: %v\n%s", c.reason, rev, err, out)
				}
			}
		})
	}
}

// trustGPG imports the public half into a keyring of its own.
func trustGPG(t *testing.T, key gitserver.Key) (env, args []string) {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg") // short: the path of a socket may have 107 characters
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	cmd := exec.CommandContext(t.Context(), "gpg", "--batch", "--no-autostart", "--homedir", home, "--import")
	cmd.Stdin = strings.NewReader(key.Public)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("importing the key: %v\n%s", err, out)
	}
	return []string{"GNUPGHOME=" + home}, nil
}

// trustSSH writes a file of allowed signers.
func trustSSH(t *testing.T, key gitserver.Key) (env, args []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(file, []byte("espalier@example.com "+key.Public), 0o600); err != nil {
		t.Fatal(err)
	}
	return nil, []string{"-c", "gpg.ssh.allowedSignersFile=" + file}
}
