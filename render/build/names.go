// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	_ "embed"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/kustomize"
	"github.com/espalier-dev/espalier/render/internal/yamltext"
)

// nameReferences is given to every build as a Kustomize transformer
// configuration.
//
//go:embed names.yaml
var nameReferences []byte

// NameReferences returns the configuration, for repo-layout/example and for
// people who build with kubectl.
func NameReferences() []byte { return append([]byte(nil), nameReferences...) }

// MergeKeys returns the schema with the merge keys of our kinds, likewise.
func MergeKeys() []byte { return append([]byte(nil), kustomize.MergeKeys...) }

// onlyMergeKeys says whether the field openapi of a kustomization names a copy
// of MergeKeys: that changes nothing here, where they are built in, and makes
// other builds of the repository give the same.
func (s *source) onlyMergeKeys(dir string, field *yaml.Node) bool {
	file := yamltext.Field(field, "path")
	if file == nil || len(field.Content) != 2 {
		return false
	}
	p, err := resolve(dir, file.Value)
	if err != nil {
		return false
	}
	if k, err := s.look(p); err != nil || k != regular {
		return false
	}
	text, err := s.text(p)
	return err == nil && bytes.Equal(text, kustomize.MergeKeys)
}
