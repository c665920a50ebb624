// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"filippo.io/age"
	agearmor "filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp"
	pgparmor "github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// How the entries of a Secret with private keys end; Flux's own.
const (
	ageSuffix = ".agekey"
	pgpSuffix = ".asc"
)

// Keys are private keys that files may be encrypted for, and who asks key vaults. The
// zero Keys have none.
type Keys struct {
	age         []age.Identity
	pgp         openpgp.EntityList
	fingerprint string
	vaults      Vaults
}

// KeysOf reads the private keys of a Secret, by the names that Flux takes:
// NAME.agekey, age identities, and NAME.asc, OpenPGP keys without a passphrase. Other
// entries are left alone.
func KeysOf(data map[string][]byte) (*Keys, error) {
	k := &Keys{}
	sum := sha256.New()
	var services []string
	for _, name := range slices.Sorted(maps.Keys(data)) {
		switch {
		case strings.HasSuffix(name, ageSuffix):
			found, err := age.ParseIdentities(bytes.NewReader(data[name]))
			if err != nil {
				return nil, fmt.Errorf("%s holds no age identities: want the lines that age-keygen writes", name)
			}
			k.age = append(k.age, found...)
		case strings.HasSuffix(name, pgpSuffix):
			found, err := readPGP(data[name])
			if err != nil {
				return nil, fmt.Errorf("%s %w", name, err)
			}
			k.pgp = append(k.pgp, found...)
		case strings.HasPrefix(name, "sops."):
			services = append(services, name)
			continue
		default:
			continue
		}
		fmt.Fprintf(sum, "%q %q\n", name, data[name])
	}
	k.fingerprint = hex.EncodeToString(sum.Sum(nil)[:16])
	switch {
	case len(k.age)+len(k.pgp) > 0:
		return k, nil
	case len(services) > 0:
		return nil, fmt.Errorf("has no private key, only %s: no service of a cloud is asked with what a Secret has, and Azure Key Vault as a ServiceAccount (docs/secrets.md); add NAME%s with an age identity", strings.Join(services, ", "), ageSuffix)
	}
	return nil, fmt.Errorf("has no private key: add NAME%s with an age identity, or NAME%s with an OpenPGP key", ageSuffix, pgpSuffix)
}

// readPGP reads armored private keys that nothing locks.
func readPGP(text []byte) (openpgp.EntityList, error) {
	found, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(text))
	if err != nil {
		return nil, errors.New("holds no armored OpenPGP key: write it with gpg --export-secret-keys --armor")
	}
	for _, entity := range found {
		if entity.PrivateKey == nil {
			return nil, errors.New("holds a public key: write the private one with gpg --export-secret-keys --armor")
		}
		if entity.PrivateKey.Encrypted {
			return nil, errors.New("holds a key that a passphrase locks: take the passphrase off, or use an age identity")
		}
	}
	return found, nil
}

// Fingerprint is the same only for the same keys. It says nothing of them.
func (k *Keys) Fingerprint() string { return k.fingerprint }

// maxTries bounds how often an encrypted data key is tried for one tree, and maxInOne
// for one recipient, of whom SOPS writes one entry: each try costs as much as a
// signature, whoever pushed it.
const (
	maxTries = 4096
	maxInOne = 4
)

var errInOne = errors.New("has a data key that is encrypted for several recipients at once, which sops does not write: encrypt it anew")

var errTries = fmt.Errorf("is not decrypted: more than %d encrypted data keys were tried for this RepoSync; "+
	"put the recipient that the RepoSync has first, or divide the files among RepoSyncs", maxTries)

// tries counts those of one tree, and how often vaults were asked. It belongs to one
// goroutine at a time.
type tries struct {
	done, asked int
	vaulted     map[sealedBy][]byte // what vaults have opened: they are asked once
}

func newTries() tries { return tries{vaulted: map[sealedBy][]byte{}} }

// again are tries of a file that was opened once, which count for nothing.
func (t *tries) again() *tries { return &tries{vaulted: t.vaulted} }

// take counts the entries for one recipient, and refuses what is too much.
func (t *tries) take(entries int) error {
	if t.done += max(entries, 1); t.done > maxTries {
		return errTries
	}
	if entries > maxInOne {
		return errInOne
	}
	return nil
}

// dataKey decrypts the key that the values of a file are encrypted with.
func (k *Keys) dataKey(m metadata, t *tries) ([]byte, error) {
	if err := m.usable(k.vaults != nil); err != nil {
		return nil, err
	}
	for _, r := range where(len(k.age) > 0, m.Age) {
		if err := t.take(ageEntries(r.Encrypted)); err != nil {
			return nil, err
		}
		if key := k.byAge(r.Encrypted); len(key) == keyBytes {
			return key, nil
		}
	}
	for _, r := range where(len(k.pgp) > 0, m.PGP) {
		if err := t.take(pgpEntries(r.Encrypted)); err != nil {
			return nil, err
		}
		if key := k.byPGP(r.Encrypted); len(key) == keyBytes {
			return key, nil
		}
	}
	if k.vaults != nil && len(m.Azure) > 0 {
		return k.byVault(m.Azure, t)
	}
	if len(k.age)+len(k.pgp) == 0 {
		return nil, errNoKeys
	}
	return nil, fmt.Errorf("%w: add one of them with sops updatekeys, or the private key that it is encrypted for", ErrNotForUs)
}

var errNoKeys = errors.New("is encrypted for a private key, and the RepoSync has none: name the Secret with it in spec.decryption.secretRef")

// where are recipients of a kind of which there are keys.
func where(there bool, all []recipient) []recipient {
	if !there {
		return nil
	}
	return all
}

// ageEntries is for how many recipients a data key is encrypted at once.
func ageEntries(armored string) int {
	text, err := io.ReadAll(agearmor.NewReader(strings.NewReader(armored)))
	if err != nil {
		return 0 // it will not open
	}
	return bytes.Count(text, []byte("\n-> "))
}

// pgpEntries is the same of a message of OpenPGP.
func pgpEntries(armored string) (entries int) {
	block, err := pgparmor.Decode(strings.NewReader(armored))
	if err != nil {
		return 0
	}
	packets := packet.NewReader(block.Body)
	for {
		p, err := packets.Next()
		if err != nil {
			return entries
		}
		switch p.(type) {
		case *packet.EncryptedKey:
			entries++
		case *packet.SymmetricallyEncrypted, *packet.AEADEncrypted, *packet.Compressed, *packet.LiteralData, *packet.OnePassSignature:
			return entries // the keys stand before what is encrypted with them
		}
	}
}

// byAge is nil where no identity fits.
func (k *Keys) byAge(armored string) []byte {
	opened, err := age.Decrypt(agearmor.NewReader(strings.NewReader(armored)), k.age...)
	if err != nil {
		return nil
	}
	return readKey(opened)
}

// byPGP is nil where no key fits.
func (k *Keys) byPGP(armored string) []byte {
	block, err := pgparmor.Decode(strings.NewReader(armored))
	if err != nil {
		return nil
	}
	message, err := openpgp.ReadMessage(block.Body, k.pgp, nil, nil)
	if err != nil {
		return nil
	}
	return readKey(message.UnverifiedBody)
}

// readKey reads to the end, where it is found out whether anything was changed.
func readKey(from io.Reader) []byte {
	key, err := io.ReadAll(io.LimitReader(from, keyBytes+1))
	if err != nil || len(key) != keyBytes {
		return nil
	}
	return key
}
