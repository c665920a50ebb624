// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/fluxcd/pkg/git/signature"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Entries of a Secret with a private key to sign with. The first two are those of
// Flux's image automation, the third is that of a Secret for SSH.
const (
	entryPGPKey     = "git.asc"
	entryPassphrase = "passphrase"
	entrySSHKey     = "identity"
)

// Signer signs what Git would sign.
type Signer interface {
	Sign(payload io.Reader) (armored []byte, err error)
}

// SignerOf reads a private key from the data of a Secret: an armored OpenPGP key
// in git.asc or an SSH key in identity, unlocked by passphrase where it is locked.
// An error names entries, and never their content.
func SignerOf(data map[string][]byte) (Signer, error) {
	pgp, ssh, passphrase := data[entryPGPKey], data[entrySSHKey], data[entryPassphrase]
	switch {
	case len(pgp) > 0 && len(ssh) > 0:
		return nil, fmt.Errorf("it has %s and %s: one key signs", entryPGPKey, entrySSHKey)
	case len(pgp) > 0:
		return pgpSigner(string(pgp), passphrase)
	case len(ssh) > 0:
		signer, err := signature.NewSSHSigner(ssh, passphrase)
		if err != nil {
			return nil, fmt.Errorf("%s is no SSH private key that can sign, or %s does not unlock it: want Ed25519, ECDSA, or RSA of at least 2048 bits", entrySSHKey, entryPassphrase)
		}
		return signer, nil
	}
	return nil, fmt.Errorf("it has neither %s, an armored OpenPGP private key, nor %s, an SSH private key", entryPGPKey, entrySSHKey)
}

func pgpSigner(armored string, passphrase []byte) (Signer, error) {
	ring, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil || len(ring) != 1 || ring[0].PrivateKey == nil {
		return nil, fmt.Errorf("%s is not one armored OpenPGP private key: write it with gpg --armor --export-secret-keys KEY", entryPGPKey)
	}
	entity := ring[0]
	if entity.PrivateKey.Encrypted {
		if err := entity.DecryptPrivateKeys(passphrase); err != nil {
			return nil, fmt.Errorf("%s does not unlock %s", entryPassphrase, entryPGPKey)
		}
	}
	if _, ok := entity.SigningKey(time.Now()); !ok {
		return nil, fmt.Errorf("%s may not sign, or not any more: it is expired, revoked, or made for something else", entryPGPKey)
	}
	return signature.NewOpenPGPSigner(entity)
}

// ErrSigning is in the chain of a commit that could not be signed.
var ErrSigning = errors.New("signing the commit")

// sign puts the signature of all that a commit says into it.
func (b *Branch) sign(commit *object.Commit, signer Signer) error {
	payload := &plumbing.MemoryObject{}
	if err := commit.EncodeWithoutSignature(payload); err != nil {
		return fmt.Errorf("encoding a commit: %w", err)
	}
	content, err := payload.Reader()
	if err != nil {
		return fmt.Errorf("encoding a commit: %w", err)
	}
	defer content.Close()
	text, err := signer.Sign(content)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSigning, err)
	}
	commit.PGPSignature = string(text)
	return nil
}
