// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
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
	copiedAt []place         // of what could copy or move a part of an object
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

// secretPatch notes a file of patches, and refuses an encrypted one of what is no Secret.
func (r reader) secretPatch(p types.Patch, file string, from place) {
	r.secret.moved(r.trees[file], from)
	if _, isSecret := r.secret.files[file]; isSecret && p.Target != nil && p.Target.Kind != "Secret" {
		r.refused(refuse(finding.EncryptedField, "SOPS encrypted %s, which may patch Secrets alone: write target: {kind: Secret}, or leave target out", file), from)
	}
}

// moved notes operations of JSON 6902 patches that could take something out of a
// Secret, or make something else of it.
func (s *secrets) moved(docs []*yaml.Node, from place) {
	for _, doc := range docs {
		if doc.Kind != yaml.SequenceNode {
			continue
		}
		if copyOperations([]*yaml.Node{doc}) > 0 || slices.ContainsFunc(doc.Content, makesAnother) {
			s.copiedAt = append(s.copiedAt, from)
			return
		}
	}
}

// makesAnother says whether an operation is on what an object is, or where nobody can
// tell.
func makesAnother(operation *yaml.Node) bool {
	at := yamltext.Field(operation, "path")
	return at == nil || at.Kind != yaml.ScalarNode || !strings.HasPrefix(at.Value, "/") || slices.Contains([]string{"/kind", "/apiVersion", "/sops"}, at.Value)
}

// refuseCopies refuses, beside what is encrypted, what could copy it to where
// everybody reads it.
func (s *scan) refuseCopies() {
	if len(s.secret.files) == 0 {
		return
	}
	for _, at := range s.secret.copiedAt {
		s.refused(refuse(finding.EncryptedField, "beside encrypted files there are no replacements, no patches that move or copy, and none that change a kind: they could put what is encrypted to where everybody reads it; "+
			"put the encrypted files into a folder of their own, which the root kustomization lists"), at)
	}
}
