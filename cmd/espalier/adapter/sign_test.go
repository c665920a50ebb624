// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"github.com/espalier-dev/espalier/reconciler/cosign"
)

// keySecret is the folder of a Secret as cosign makes it, and the public key.
func keySecret(t *testing.T, password string) (string, *ecdsa.PublicKey) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := encrypted.Encrypt(der, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return secretOf(t, map[string]string{
		cosign.KeyFile:      string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: closed})),
		cosign.PasswordFile: password,
	}), &private.PublicKey
}

func secretOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func loadKey(t *testing.T) (*Key, *ecdsa.PublicKey) {
	t.Helper()
	dir, public := keySecret(t, "p4ss")
	key, err := LoadKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	return key, public
}

// signers counts the signatures of what was pushed that this key made, by
// cosign's SIGNATURE_SPEC and without the library that signs.
func signers(t *testing.T, pushed string, public *ecdsa.PublicKey) (byKey, all int) {
	t.Helper()
	digest, err := name.NewDigest(pushed)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(digest.Context().Tag(strings.Replace(digest.DigestStr(), ":", "-", 1) + ".sig"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range manifest.Layers {
		text, mark := signedText(t, image, l)
		var said struct {
			Critical struct {
				Image struct {
					Digest string `json:"docker-manifest-digest"`
				} `json:"image"`
				Type string `json:"type"`
			} `json:"critical"`
		}
		if err := json.Unmarshal(text, &said); err != nil {
			t.Fatal(err)
		}
		if c := said.Critical; c.Image.Digest != digest.DigestStr() || c.Type != "cosign container image signature" {
			t.Errorf("signed is %s", text)
		}
		sum := sha256.Sum256(text)
		if ecdsa.VerifyASN1(public, sum[:], mark) {
			byKey++
		}
	}
	return byKey, len(manifest.Layers)
}

func signedText(t *testing.T, image v1.Image, l v1.Descriptor) (text, mark []byte) {
	t.Helper()
	if got, want := string(l.MediaType), "application/vnd.dev.cosign.simplesigning.v1+json"; got != want {
		t.Errorf("media type %s, want %s", got, want)
	}
	text, err := content(image, l.Digest)
	if err != nil {
		t.Fatal(err)
	}
	mark, err = base64.StdEncoding.DecodeString(l.Annotations["dev.cosignproject.cosign/signature"])
	if err != nil {
		t.Fatal(err)
	}
	return text, mark
}

// A second push by the same key adds nothing, one by another key adds its own
// and keeps the first.
func TestSigned(t *testing.T) {
	dir, host := trained(t, nil), serve(t, nil)
	first, firstPublic := loadKey(t)
	second, secondPublic := loadKey(t)
	var pushed string
	for _, key := range []*Key{first, first, second} {
		o := options(dir, host)
		o.Key = key
		var err error
		if pushed, err = Push(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	for who, public := range map[string]*ecdsa.PublicKey{"first": firstPublic, "second": secondPublic} {
		if byKey, all := signers(t, pushed, public); byKey != 1 || all != 2 {
			t.Errorf("%s key: %d of %d signatures, want 1 of 2", who, byKey, all)
		}
	}
}

// A tag says that the run is done: it must not be there before the signature.
func TestNoTagWithoutSignature(t *testing.T) {
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, ".sig") {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	o := options(trained(t, nil), host)
	o.Key, _ = loadKey(t)
	var no *RefusedError
	if _, err := Push(t.Context(), o); !errors.As(err, &no) {
		t.Errorf("pushed with %v, want a refusal", err)
	}
	tag, err := name.NewTag(o.To)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(tag); err == nil {
		t.Errorf("%s is there, unsigned", tag)
	}
}

func TestKeysRefused(t *testing.T) {
	good, _ := keySecret(t, "p4ss")
	text, err := os.ReadFile(filepath.Join(good, cosign.KeyFile))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   string
	}{
		"NoKey": {
			reason: "the Secret of something else",
			files:  map[string]string{"tls.key": "x"}, want: "holds no cosign.key",
		},
		"WrongPassword": {
			reason: "a password that was changed in one place",
			files:  map[string]string{cosign.KeyFile: string(text), cosign.PasswordFile: "s3cret-guess"}, want: "cosign.password does not open cosign.key",
		},
		"NoPassword": {
			reason: "the key alone",
			files:  map[string]string{cosign.KeyFile: string(text)}, want: "cosign.password does not open cosign.key",
		},
		"PlainKey": {
			reason: "a key of openssl, which cosign does not take either",
			files:  map[string]string{cosign.KeyFile: string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("k3y")}))},
			want:   "cosign import-key-pair",
		},
		"NoPEM": {
			reason: "encoded once too often",
			files:  map[string]string{cosign.KeyFile: base64.StdEncoding.EncodeToString(text)}, want: "is no private key of cosign",
		},
		"NotJSON": {
			reason: "a block that was cut",
			files:  map[string]string{cosign.KeyFile: string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("{")}))},
			want:   "does not open",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := LoadKey(secretOf(t, tc.files))
			var no *RefusedError
			if !errors.As(err, &no) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s: got %v, want a refusal with %q", tc.reason, err, tc.want)
			}
			if strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "k3y") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
}
