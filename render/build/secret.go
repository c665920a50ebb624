// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"
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
	values   []string        // what was encrypted in those that were decrypted
	copiedAt []place         // of what could copy or move a part of an object
	patches  []patchAt
}

// patchAt is a patch as it is written.
type patchAt struct {
	docs   []*yaml.Node
	file   string // "": within the kustomization
	target *types.Selector
	from   place
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
	if _, known := s.secret.files[p]; known {
		return
	}
	if tree, ok := s.tree.(interface {
		Decrypted(name string) ([]string, bool)
	}); ok {
		if values, was := tree.Decrypted(p); was {
			s.secret.files[p] = true
			s.secret.values = append(s.secret.values, values...)
			return
		}
	}
	if sops.Is(p, text) {
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
	said := s.refuseSteering()
	for _, p := range s.secret.patches {
		switch why := s.secret.unfit(p); {
		case slices.Contains(s.secret.copiedAt, p.from), why == steers && said[p.from.file]:
		case why != "":
			s.refused(refuse(finding.EncryptedField, "%s", why), p.from)
		}
	}
}

// refuseSteering returns the files in which it has found something.
func (s *scan) refuseSteering() map[string]bool {
	said := map[string]bool{}
	for _, file := range slices.Sorted(maps.Keys(s.trees)) {
		for _, doc := range s.trees[file] {
			if n := steering(doc, 0); n != nil {
				s.refused(refuse(finding.EncryptedField, "%s", steers), place{file, n.Line})
				said[file] = true
			}
		}
	}
	return said
}

// unfit says why a patch may not stand beside encrypted files; "": it may.
func (s *secrets) unfit(p patchAt) string {
	_, isSecret := s.files[p.file]
	target := ""
	if p.target != nil {
		target = p.target.Kind
	}
	if isSecret && p.target != nil && target != "Secret" {
		return "SOPS encrypted " + p.file + ", which may patch Secrets alone: write target: {kind: Secret}, or leave target out"
	}
	for _, doc := range p.docs {
		if why := unmerged(doc, target, isSecret); why != "" {
			return why
		}
		if p.file == "" && steering(doc, 0) != nil {
			return steers
		}
	}
	return ""
}

// unmerged says why one document of a patch that is merged may not stand beside encrypted
// files; "": it may, or it is a list of operations.
func unmerged(doc *yaml.Node, target string, isSecret bool) string {
	kind := yamltext.Field(doc, "kind")
	switch {
	case doc.Kind == yaml.SequenceNode:
	case yamltext.Field(doc, "<<") != nil, !isSecret && yamltext.Field(doc, "sops") != nil:
		return "beside encrypted files a patch takes no mark of SOPS away: drop its key sops, and << at its top"
	case kind != nil && target != "" && kind.Value != target:
		return "beside encrypted files a patch has the kind of its target: what is encrypted stays a Secret; write the kind that target says"
	}
	return ""
}

// steers is said of what Kustomize writes on objects for itself.
const steers = "beside encrypted files Git says nothing that Kustomize acts on within objects (internal.config.kubernetes.io, config.kubernetes.io/origin): " +
	"it could make something else of a Secret; remove it"

// steering is the first text that names a key of Kustomize's own, as a key or in the path
// of a patch; nil: none.
func steering(n *yaml.Node, depth int) *yaml.Node {
	if depth > finding.MaxDepth {
		return n
	}
	if n.Kind == yaml.ScalarNode {
		for _, own := range []string{konfig.ConfigAnnoDomain, "config.kubernetes.io/origin", "config.kubernetes.io~1origin"} {
			if strings.Contains(n.Value, own) {
				return n
			}
		}
	}
	for _, child := range n.Content { // of an alias there are none: what it names is found where it is
		if found := steering(child, depth+1); found != nil {
			return found
		}
	}
	return nil
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
