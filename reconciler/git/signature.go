// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/fluxcd/pkg/git/signature"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	gossh "golang.org/x/crypto/ssh"
)

// Endings of the keys of a Secret with public keys, as Flux has them.
const (
	endingPGP = ".asc"
	endingSSH = ".sshpub"
)

// ErrNotSigned says that there is no signature, and ErrNotTrusted that none of the
// keys has made the one that is there.
var (
	ErrNotSigned  = errors.New("there is no signature")
	ErrNotTrusted = errors.New("the signature is by no key that counts")
)

// Signed is a commit or an annotated tag, with the signature that it carries.
type Signed struct {
	// TagName is the name that a tag was made for; it is part of what is signed, and
	// may differ from the name it was read by. "" of a commit.
	TagName string

	signature string
	payload   []byte
}

func signedCommit(c *object.Commit) (Signed, error) {
	payload, err := encoded(c)
	return Signed{signature: c.PGPSignature, payload: payload}, err
}

func signedTag(t *object.Tag) (*Signed, error) {
	payload, err := encoded(t)
	s := &Signed{signature: t.PGPSignature, payload: payload}
	header, _, _ := strings.Cut(string(payload), "\n\n")
	for line := range strings.Lines(header) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "tag "); ok {
			s.TagName = name
		}
	}
	return s, err
}

// encoded is what a signature is made over.
func encoded(o interface {
	EncodeWithoutSignature(plumbing.EncodedObject) error
}) ([]byte, error) {
	to := &plumbing.MemoryObject{}
	if err := o.EncodeWithoutSignature(to); err != nil {
		return nil, fmt.Errorf("encoding what is signed: %w", err)
	}
	from, err := to.Reader()
	if err != nil {
		return nil, fmt.Errorf("encoding what is signed: %w", err)
	}
	return io.ReadAll(from)
}

// Keys are public keys whose signatures count.
type Keys struct {
	pgp, ssh []string
}

// KeysOf reads the data of a Secret: entries that end in .asc are armored OpenPGP
// keys, entries that end in .sshpub SSH keys, one a line as in authorized_keys.
func KeysOf(data map[string][]byte) (Keys, error) {
	keys := Keys{}
	for _, name := range slices.Sorted(maps.Keys(data)) {
		text := string(data[name])
		switch path.Ext(name) {
		case endingPGP:
			if _, err := openpgp.ReadArmoredKeyRing(strings.NewReader(text)); err != nil {
				return Keys{}, fmt.Errorf("%s is no armored OpenPGP public key: write it with gpg --armor --export", name)
			}
			keys.pgp = append(keys.pgp, text)
		case endingSSH:
			if found, err := signature.ParseAuthorizedKeys(text); err != nil || len(found) == 0 {
				return Keys{}, fmt.Errorf("%s has no SSH public key, or a line that is none: want lines such as ssh-ed25519 AAAA…", name)
			}
			keys.ssh = append(keys.ssh, text)
		}
	}
	if len(keys.pgp)+len(keys.ssh) == 0 {
		return Keys{}, fmt.Errorf("it has no public key: name entries NAME%s for OpenPGP and NAME%s for SSH", endingPGP, endingSSH)
	}
	return keys, nil
}

// By says which of the keys made the signature. The error is ErrNotSigned or
// ErrNotTrusted, the latter with whose it says to be.
func (s Signed) By(keys Keys) (string, error) {
	var key string
	var err error
	switch {
	case signature.IsEmptySignature(s.signature):
		return "", ErrNotSigned
	case signature.IsPGPSignature(s.signature):
		key, err = signature.VerifyPGPSignature(s.signature, s.payload, keys.pgp...)
		key = "OpenPGP key " + key
	case signature.IsSSHSignature(s.signature):
		key, err = signature.VerifySSHSignature(s.signature, s.payload, keys.ssh...)
		key = "SSH key " + key
	default:
		return "", fmt.Errorf("%w: it is %s, and OpenPGP and SSH can be verified", ErrNotTrusted, signature.GetSignatureType(s.signature))
	}
	if err != nil {
		return "", fmt.Errorf("%w: it says to be by %s", ErrNotTrusted, s.claimed())
	}
	return key, nil
}

// claimed is the key that a signature names, for a message: nothing is proven.
func (s Signed) claimed() string {
	if signature.IsSSHSignature(s.signature) {
		sig, err := sshsig.Unarmor([]byte(strings.TrimSpace(s.signature)))
		if err != nil || sig.PublicKey == nil {
			return "an SSH key"
		}
		return "SSH key " + gossh.FingerprintSHA256(sig.PublicKey)
	}
	block, err := armor.Decode(strings.NewReader(s.signature))
	if err != nil {
		return "an OpenPGP key"
	}
	for packets := packet.NewReader(block.Body); ; {
		p, err := packets.Next()
		if err != nil {
			return "an OpenPGP key"
		}
		if sig, ok := p.(*packet.Signature); ok && sig.IssuerKeyId != nil {
			return fmt.Sprintf("OpenPGP key %016X", *sig.IssuerKeyId)
		}
	}
}
