// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
)

// changes reads patches and replacements: bytes of patches, and copies that
// may double an object.
func (r reader) changes() cost {
	var c cost
	for i, p := range r.kustomization.Patches {
		c = c.plus(r.patch(p, r.at("patches", i)))
	}
	for i, p := range r.kustomization.PatchesJson6902 { //nolint:staticcheck // deprecated, and read by Kustomize all the same
		c = c.plus(r.patch(p, r.at("patchesJson6902", i)))
	}
	for i, p := range r.kustomization.PatchesStrategicMerge { //nolint:staticcheck // likewise
		from := r.at("patchesStrategicMerge", i)
		if text := string(p); isInline(text) && !isAddress(text) {
			c = c.plus(r.patch(types.Patch{Patch: text}, from))
		} else {
			c = c.plus(r.patch(types.Patch{Path: text}, from))
		}
	}
	for i, replacement := range r.kustomization.Replacements {
		r.secret.copiedAt = append(r.secret.copiedAt, r.at("replacements", i))
		c = c.plus(r.replacement(replacement, r.at("replacements", i)))
	}
	return c
}

// isInline tells a patch from the path of one: Kustomize tries both in turn.
func isInline(text string) bool {
	return strings.ContainsAny(text, "\n{")
}

// isAddress says that Kustomize would fetch a text which is no patch, whatever else is in it.
func isAddress(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}

func (r reader) patch(p types.Patch, from place) cost {
	var c cost
	if p.Options != nil && p.Options.AllowKindChange {
		r.secret.copiedAt = append(r.secret.copiedAt, from)
	}
	if p.Path != "" {
		before := len(r.problems)
		c = c.plus(r.visit(p.Path, from, r.parsed))
		if file, err := resolve(r.dir, p.Path); err == nil && len(r.problems) == before {
			c.copies = c.copies.plus(copyOperations(r.trees[file]))
			r.secret.moved(r.trees[file], from)
			r.secret.patches = append(r.secret.patches, patchAt{r.trees[file], file, p.Target, from})
		}
	}
	if p.Patch != "" {
		docs, err := yamltext.Parse([]byte(p.Patch), r.limits.AliasBytes)
		if err != nil {
			r.refused(inlineError(err, from), from)
		}
		c.bytes = c.bytes.plus(size(len(p.Patch)))
		c.copies = c.copies.plus(copyOperations(docs))
		r.secret.moved(docs, from)
		r.secret.patches = append(r.secret.patches, patchAt{docs, "", p.Target, from})
	}
	c.objects = 0
	return c
}

// inlineError places an error within a patch that is written as a block of
// text, which begins on the line after its key.
func inlineError(err error, from place) error {
	var bad *yamltext.Error
	line := from.line
	if errors.As(err, &bad) && bad.Line > 0 && line > 0 {
		line += bad.Line
	}
	err = atText(err, from.file)
	var r *refusal
	if errors.As(err, &r) {
		r.at.line = line
	}
	return err
}

// copyOperations counts operations of JSON 6902 patches that copy: from a
// section into itself, each doubles it.
func copyOperations(docs []*yaml.Node) size {
	var n size
	for _, doc := range docs {
		if doc.Kind != yaml.SequenceNode {
			continue
		}
		for _, operation := range doc.Content {
			if op := yamltext.Field(operation, "op"); op == nil || op.Value != "test" && op.Value != "add" && op.Value != "replace" && op.Value != "remove" {
				n = n.plus(1)
			}
		}
	}
	return n
}

func (r reader) replacement(f types.ReplacementField, from place) cost {
	if f.Path == "" {
		return cost{copies: copies(f.Replacement)}
	}
	before := len(r.problems)
	c := r.visit(f.Path, from, r.parsed)
	c.objects = 0
	if len(r.problems) > before {
		return c
	}
	file, err := resolve(r.dir, f.Path)
	if err != nil {
		return c
	}
	for _, doc := range r.trees[file] {
		c.copies = c.copies.plus(copiesOf(doc))
	}
	return c
}

// copiesOf counts in a replacements file, which holds one replacement or a list.
func copiesOf(doc *yaml.Node) size {
	list := []*yaml.Node{doc}
	if doc.Kind == yaml.SequenceNode {
		list = doc.Content
	}
	var n size
	for _, item := range list {
		var one types.Replacement
		text, err := yaml.Marshal(item)
		if err == nil {
			// The decoder that Kustomize uses: it takes keys in any case.
			err = sigsyaml.Unmarshal(text, &one)
		}
		if err != nil {
			n = n.plus(1) // aliases, or Kustomize will say what is wrong with it
			continue
		}
		n = n.plus(copies(one))
	}
	return n
}

// singleValue matches source paths that always name a piece of text.
var singleValue = regexp.MustCompile(`^(metadata\.(name|namespace|annotations\..+|labels\..+)|data\..+)?$`)

// copies is 1 for a replacement that may copy a part of an object into itself.
func copies(r types.Replacement) size {
	if r.Source != nil && !singleValue.MatchString(r.Source.FieldPath) {
		return 1
	}
	for _, t := range r.Targets {
		if t != nil && t.Options != nil && t.Options.Delimiter != "" {
			return 1
		}
	}
	return 0
}
