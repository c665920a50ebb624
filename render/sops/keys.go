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
)

// How the entries of a Secret with private keys end; Flux's own.
const (
	ageSuffix = ".agekey"
	pgpSuffix = ".asc"
)

// Keys are private keys that files may be encrypted for.
type Keys struct {
	age         []age.Identity
	pgp         openpgp.EntityList
	fingerprint string
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
		return nil, fmt.Errorf("has no private key, only %s: services of a cloud are not asked; add NAME%s with an age identity", strings.Join(services, ", "), ageSuffix)
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

// dataKey decrypts the key that the values of a file are encrypted with.
func (k *Keys) dataKey(m metadata) ([]byte, error) {
	if err := m.usable(); err != nil {
		return nil, err
	}
	for _, r := range m.Age {
		if key := k.byAge(r.Encrypted); len(key) == keyBytes {
			return key, nil
		}
	}
	for _, r := range m.PGP {
		if key := k.byPGP(r.Encrypted); len(key) == keyBytes {
			return key, nil
		}
	}
	return nil, fmt.Errorf("%w: add one of them with sops updatekeys, or the private key that it is encrypted for", ErrNotForUs)
}

// byAge is nil where no identity fits.
func (k *Keys) byAge(armored string) []byte {
	if len(k.age) == 0 {
		return nil
	}
	opened, err := age.Decrypt(agearmor.NewReader(strings.NewReader(armored)), k.age...)
	if err != nil {
		return nil
	}
	return readKey(opened)
}

// byPGP is nil where no key fits.
func (k *Keys) byPGP(armored string) []byte {
	if len(k.pgp) == 0 {
		return nil
	}
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
