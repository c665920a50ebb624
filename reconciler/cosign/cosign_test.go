// SPDX-License-Identifier: Apache-2.0

package cosign

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// closed is what cosign writes of the bytes of a key.
func closed(t testing.TB, der []byte, kind string) []byte {
	t.Helper()
	text, err := encrypted.Encrypt(der, []byte("p4ss"))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: text})
}

func TestOpen(t *testing.T) {
	const kind = "ENCRYPTED SIGSTORE PRIVATE KEY"
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edwards, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(edwards)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason   string
		key      []byte
		password string
		want     error
	}{
		"AsMade":        {reason: "cosign generate-key-pair", key: closed(t, der, kind), password: "p4ss"},
		"OfBefore":      {reason: "cosign 1 called the block otherwise", key: closed(t, der, "ENCRYPTED COSIGN PRIVATE KEY"), password: "p4ss"},
		"Edwards":       {reason: "cosign import-key-pair takes it", key: closed(t, other, kind), password: "p4ss"},
		"WrongPassword": {reason: "of another key", key: closed(t, der, kind), password: "p5ss", want: errPassword},
		"NoPassword":    {reason: "left out", key: closed(t, der, kind), want: errPassword},
		"Plain":         {reason: "openssl's, not encrypted", key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), want: errNoKey},
		"NoKeyInside":   {reason: "it opens, and holds something else", key: closed(t, []byte("p4rcel"), kind), password: "p4ss", want: errEncoding},
	} {
		t.Run(name, func(t *testing.T) {
			signer, err := Open(tc.key, []byte(tc.password))
			if !errors.Is(err, tc.want) || (signer == nil) != (tc.want != nil) {
				t.Fatalf("%s: got %v, want %v", tc.reason, err, tc.want)
			}
			if err != nil {
				return
			}
			mark, err := signer.SignMessage(strings.NewReader("adapter"))
			if err != nil || signer.VerifySignature(bytes.NewReader(mark), strings.NewReader("adapter")) != nil {
				t.Errorf("%s: it does not sign: %v", tc.reason, err)
			}
		})
	}
}

// FuzzOpen: whatever a Secret holds is a key or one of four errors, none of which
// repeats it.
func FuzzOpen(f *testing.F) {
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), []byte("p4ss"))
	f.Add(closed(f, []byte("p4rcel"), "ENCRYPTED COSIGN PRIVATE KEY"), []byte("p4ss"))
	f.Fuzz(func(t *testing.T, key, password []byte) {
		signer, err := Open(key, password)
		known := errors.Is(err, errNoKey) || errors.Is(err, errPassword) || errors.Is(err, errEncoding) || errors.Is(err, errKind)
		if (signer == nil) != known {
			t.Errorf("got %v", err)
		}
	})
}
