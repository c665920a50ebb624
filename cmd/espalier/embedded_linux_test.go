// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// insideVariable makes this program one that looks around within an image, before
// the tests' own preparations, which want a /tmp and a /proc.
const insideVariable = "ESPALIER_TEST_INSIDE"

func init() {
	if os.Getenv(insideVariable) != "" {
		lookAround()
		os.Exit(0)
	}
}

// TestEmbedded runs itself as the only file of a file system: time zones and root
// certificates are there all the same, and certificates that the image has are
// used instead.
func TestEmbedded(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for chroot")
	}
	for name, tc := range map[string]struct {
		reason string
		files  map[string][]byte
		want   string
	}{
		"EmptyImage": {
			reason: "The image of `make image` holds the binary and nothing to read.",
			want:   "Europe/Berlin many certificates",
		},
		"BundleOfTheImage": {
			reason: "Who mounts the certificates of a company means them, and not the world's beside them.",
			files:  map[string][]byte{"etc/ssl/certs/ca-certificates.crt": certificate(t)},
			want:   "Europe/Berlin one certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inside(t, tc.files); !strings.Contains(got, tc.want) {
				t.Errorf("%s got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// inside runs lookAround in a root of its own and returns what it says.
func inside(t *testing.T, files map[string][]byte) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	all := map[string][]byte{"test": program}
	for name, content := range files {
		all[name] = content
	}
	for name, content := range all {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "/test")
	cmd.Env = []string{insideVariable + "=1"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("running within an empty image, with CGO_ENABLED=0 as `make test` does: %v: %s", err, out)
	}
	return string(out)
}

// lookAround prints what is to be had.
func lookAround() {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		fmt.Println(err)
		return
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		fmt.Println(err)
		return
	}
	one := x509.NewCertPool()
	data, _ := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	switch one.AppendCertsFromPEM(data); {
	case pool.Equal(x509.NewCertPool()):
		fmt.Println(zone, "no certificate")
	case pool.Equal(one):
		fmt.Println(zone, "one certificate")
	default:
		fmt.Println(zone, "many certificates")
	}
}

// certificate is one of a company of its own.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}
