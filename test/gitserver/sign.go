// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"io"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/fluxcd/pkg/git/signature"
	gossh "golang.org/x/crypto/ssh"
)

// Key signs as a person does, and is known by its public half.
type Key struct {
	// Public is an armored OpenPGP key, or a line of authorized_keys.
	Public string
	// Private is its armored or PEM form, locked where there is a passphrase.
	Private string

	signer signature.Signer
}

// PGPKey makes an OpenPGP key of somebody, locked with a passphrase, or not with "".
func PGPKey(name, passphrase string) (Key, error) {
	entity, err := openpgp.NewEntity(name, "", strings.ToLower(name)+"@example.com", &packet.Config{Algorithm: packet.PubKeyAlgoEdDSA})
	if err != nil {
		return Key{}, fmt.Errorf("making an OpenPGP key: %w", err)
	}
	key := Key{}
	if key.Public, err = armored(openpgp.PublicKeyType, entity.Serialize); err != nil {
		return Key{}, err
	}
	var plain bytes.Buffer
	if err := entity.SerializePrivate(&plain, nil); err != nil {
		return Key{}, fmt.Errorf("writing an OpenPGP key: %w", err)
	}
	if key.signer, err = signature.NewOpenPGPSigner(entity); err != nil {
		return Key{}, fmt.Errorf("signing with an OpenPGP key: %w", err)
	}
	copies, err := openpgp.ReadKeyRing(&plain)
	if err != nil {
		return Key{}, fmt.Errorf("reading an OpenPGP key: %w", err)
	}
	if passphrase != "" {
		if err := copies[0].EncryptPrivateKeys([]byte(passphrase), nil); err != nil {
			return Key{}, fmt.Errorf("locking an OpenPGP key: %w", err)
		}
	}
	key.Private, err = armored(openpgp.PrivateKeyType, func(w io.Writer) error { return copies[0].SerializePrivateWithoutSigning(w, nil) })
	return key, err
}

func armored(kind string, serialize func(io.Writer) error) (string, error) {
	var text bytes.Buffer
	w, err := armor.Encode(&text, kind, nil)
	if err != nil {
		return "", fmt.Errorf("armoring an OpenPGP key: %w", err)
	}
	if err := serialize(w); err != nil {
		return "", fmt.Errorf("writing an OpenPGP key: %w", err)
	}
	if err := w.Close(); err != nil {
		return "", fmt.Errorf("armoring an OpenPGP key: %w", err)
	}
	return text.String() + "\n", nil
}

// SSHKey makes an SSH key, locked with a passphrase, or not with "".
func SSHKey(passphrase string) (Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making an SSH key: %w", err)
	}
	line, err := gossh.NewPublicKey(public)
	if err != nil {
		return Key{}, fmt.Errorf("making an SSH key: %w", err)
	}
	block, err := gossh.MarshalPrivateKey(private, "")
	if passphrase != "" {
		block, err = gossh.MarshalPrivateKeyWithPassphrase(private, "", []byte(passphrase))
	}
	if err != nil {
		return Key{}, fmt.Errorf("writing an SSH key: %w", err)
	}
	key := Key{Public: string(gossh.MarshalAuthorizedKey(line)), Private: string(pem.EncodeToMemory(block))}
	if key.signer, err = signature.NewSSHSigner([]byte(key.Private), []byte(passphrase)); err != nil {
		return Key{}, fmt.Errorf("signing with an SSH key: %w", err)
	}
	return key, nil
}

// RawCommit is the newest commit of a branch as Git keeps it, signature and all.
func (s *Server) RawCommit(repo, branch string) (string, error) {
	return s.git1(context.Background(), repo, "cat-file", "commit", "refs/heads/"+branch)
}

// SignHead makes the newest commit of a branch anew, signed, as git commit --amend
// -S does, and returns its hash.
func (s *Server) SignHead(repo, branch string, key Key) (string, error) {
	payload, err := s.RawCommit(repo, branch)
	if err != nil {
		return "", err
	}
	text, err := key.signer.Sign(strings.NewReader(payload))
	if err != nil {
		return "", fmt.Errorf("signing a commit: %w", err)
	}
	head, message, _ := strings.Cut(payload, "\n\n")
	header := "gpgsig " + strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "\n ")
	return s.object(repo, "commit", head+"\n"+header+"\n\n"+message, "refs/heads/"+branch)
}

// SignTag makes a signed tag at the head of a branch, as git tag -s does. name is
// what is signed, and ref the name it is pushed under: honest people take one.
func (s *Server) SignTag(repo, name, ref, branch string, key Key) error {
	head, err := s.Head(repo, branch)
	if err != nil {
		return err
	}
	payload := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger Ada <ada@example.com> 1790000000 +0000\n\nA release.\n", head, name)
	text, err := key.signer.Sign(strings.NewReader(payload))
	if err != nil {
		return fmt.Errorf("signing a tag: %w", err)
	}
	_, err = s.object(repo, "tag", payload+string(text), "refs/tags/"+ref)
	return err
}

// object writes an object and lets a reference point to it.
func (s *Server) object(repo, kind, content, ref string) (string, error) {
	ctx := context.Background()
	args := []string{"-C", s.Dir(repo), "hash-object", "-t", kind, "-w", "--stdin"}
	out, err := s.run(ctx, command{args: args, stdin: []byte(content)})
	if err != nil {
		return "", err
	}
	hash := strings.TrimSpace(out)
	_, err = s.git1(ctx, repo, "update-ref", ref, hash)
	return hash, err
}
