// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"

	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// hushed takes the place of what Kustomize says of a unit in which something was
// decrypted: it quotes what it does not like.
const hushed = "Kustomize refuses it. What it says is not shown, since it may quote what was decrypted: " +
	"decrypt the files of the folder (sops decrypt), and run espalier validate on them"

// secrets are the files of a unit that SOPS encrypted.
type secrets struct {
	files    map[string]bool // true: decrypted as it was read
	copiedAt []place         // of replacements
}

func (s *secrets) decrypted() bool {
	for _, was := range s.files {
		if was {
			return true
		}
	}
	return false
}

// noteSecret notes a file that is encrypted, or was when it was read.
func (s *scan) noteSecret(p string, text []byte) {
	tree, ok := s.tree.(interface{ Decrypted(name string) bool })
	if ok && tree.Decrypted(p) {
		s.secret.files[p] = true
	} else if sops.Is(p, text) {
		s.secret.files[p] = false
	}
}

// hush takes the words of a parser away where they may quote what was decrypted.
func (s *secrets) hush(err error, p string) error {
	var r *refusal
	if !s.files[p] || !errors.As(err, &r) || r.code != finding.InvalidYAML {
		return err
	}
	return &refusal{r.code, r.at, "decrypted, the file is not as it must be; what is wrong is not shown, since it may quote what was decrypted: " +
		"decrypt it (sops decrypt), and run espalier validate on it"}
}

// refuseCopies refuses replacements beside what is encrypted: they could copy it to
// where everybody reads it.
func (s *scan) refuseCopies() {
	if len(s.secret.files) == 0 {
		return
	}
	for _, at := range s.secret.copiedAt {
		s.refused(refuse(finding.EncryptedField, "replacements are not made in a folder with encrypted files, which they could copy to where everybody reads it: "+
			"put the encrypted files into a folder of their own, which the root kustomization lists"), at)
	}
}
