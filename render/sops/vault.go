// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// VaultKey is a key of Azure Key Vault as a file names it: whoever pushes decides what
// stands in it.
type VaultKey struct{ URL, Name, Version string }

// Vaults have key vaults decrypt data keys. They bring whatever context they have: a tree
// of files, which asks them, has none. An error is shown as it is, behind the name of the
// file.
type Vaults interface {
	Decrypt(key VaultKey, encrypted []byte) ([]byte, error)
}

// maxAsked bounds how often vaults are asked for one tree: each time is a request, and a
// vault answers so many for all who use it.
const maxAsked = 256

var errAskedTooOften = &vaultError{fmt.Errorf("is not decrypted: key vaults were asked %d times for this RepoSync; "+
	"encrypt the files for an age recipient too, or divide them among RepoSyncs", maxAsked)}

// vaultError is why vaults did not open a file. It says nothing of the file.
type vaultError struct{ error }

func (e *vaultError) Unwrap() error { return e.error }

// Asking are the same keys, and vaults for what none of them opens. as is for whom they
// ask: what was opened for one is not handed to another.
func (k Keys) Asking(v Vaults, as string) *Keys {
	k.vaults = v
	sum := sha256.Sum256([]byte(as))
	k.fingerprint += "@" + hex.EncodeToString(sum[:16])
	return &k
}

// byVault asks one vault after the other: the first that opens is the last. What a vault
// refused goes before what is wrong with the file: it may open when it is asked again.
func (k *Keys) byVault(all []sealedBy, t *tries) ([]byte, error) {
	var failed, wrong error
	for _, s := range all {
		s.item = ""
		if key := t.vaulted[s]; key != nil {
			return key, nil
		}
		if t.asked++; t.asked > maxAsked {
			return nil, errAskedTooOften
		}
		encrypted, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s.Encrypted, "="))
		if err != nil || len(encrypted) == 0 {
			wrong = first(wrong, errors.New("has a data key for Azure Key Vault that is not written as sops writes it: encrypt it anew"))
			continue
		}
		key, err := k.vaults.Decrypt(VaultKey{s.VaultURL, s.Name, s.Version}, encrypted)
		switch {
		case err != nil:
			failed = first(failed, &vaultError{fmt.Errorf("is not decrypted by Azure Key Vault: %w", err)})
		case len(key) != keyBytes:
			wrong = first(wrong, errors.New("has a data key for Azure Key Vault that is none of sops: encrypt it anew"))
		default:
			t.vaulted[s] = key
			return key, nil
		}
	}
	return nil, first(failed, wrong)
}

func first(before, now error) error {
	if before != nil {
		return before
	}
	return now
}
