// SPDX-License-Identifier: Apache-2.0

// Package cosign opens the private keys that `cosign generate-key-pair` makes: the
// one who signs an adapter does, and the controller, which wants to know before
// nodes are paid for that he can.
//
// It signs nothing and talks to nobody, and no error of it quotes a key or a password.
package cosign

import (
	"crypto/x509"
	"encoding/pem"
	"errors"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
	signing "github.com/sigstore/sigstore/pkg/signature/options"
)

// Files of a Secret that `cosign generate-key-pair k8s://NAMESPACE/NAME` writes.
const (
	KeyFile      = "cosign.key"
	PasswordFile = "cosign.password"
)

// What keeps a key from signing, for whoever made the Secret.
var (
	errNoKey    = errors.New(KeyFile + " is no private key of cosign: cosign generate-key-pair makes one, cosign import-key-pair takes one of openssl")
	errPassword = errors.New(PasswordFile + " does not open " + KeyFile + ": put the password that it was made with into the same Secret")
	errEncoding = errors.New(KeyFile + " holds no key in PKCS 8: make another with cosign generate-key-pair")
	errKind     = errors.New(KeyFile + " holds a kind of key that cosign does not sign with: make another with cosign generate-key-pair")
)

// Open returns what signs with a key. It takes a fraction of a second and as many as
// 128 MiB for a moment, which is how scrypt keeps passwords from being guessed.
//
// An error of the libraries is never wrapped: it could quote the key.
func Open(key, password []byte) (signature.SignerVerifier, error) {
	block, _ := pem.Decode(key)
	if block == nil || (block.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" && block.Type != "ENCRYPTED COSIGN PRIVATE KEY") {
		return nil, errNoKey
	}
	der, err := encrypted.Decrypt(block.Bytes, password)
	if err != nil {
		return nil, errPassword
	}
	defer clear(der)
	private, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errEncoding
	}
	signer, err := signature.LoadDefaultSignerVerifier(private, signing.WithED25519ph())
	if err != nil {
		return nil, errKind
	}
	return signer, nil
}
