// SPDX-License-Identifier: Apache-2.0

package build

import (
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// patch is a document that may change an object: a strategic merge patch, or the
// list of operations of a JSON 6902 patch, in a file or within a kustomization.
type patch struct {
	node   *yaml.Node
	inline bool
	// shift is what the lines of an inline patch lack; fixed is the line of one
	// that is written on a single line.
	shift, fixed int
}

// line of a node of the patch in its file.
func (p patch) line(n *yaml.Node) int {
	if p.fixed > 0 {
		return p.fixed
	}
	return n.Line + p.shift
}

// inlineFields of a kustomization hold patches as text, with the key of the
// text; "" where the entry is the text.
var inlineFields = map[string]string{"patches": "patch", "patchesJson6902": "patch", "patchesStrategicMerge": ""}

// patchesIn lists what may be a patch of the object in a file.
func (w *written) patchesIn(file string, docs []*yaml.Node) []patch {
	var list []patch
	for _, d := range docs {
		list = append(list, patch{node: d})
	}
	if len(list) != 1 || !isKustomizationFile(file) {
		return list
	}
	kustomization := list[0].node
	list = nil
	for field, key := range inlineFields {
		entries := yamltext.Field(kustomization, field)
		if entries == nil || entries.Kind != yaml.SequenceNode {
			continue
		}
		for _, entry := range entries.Content {
			text := entry
			if key != "" {
				text = yamltext.Field(entry, key)
			}
			if text != nil && text.Kind == yaml.ScalarNode && w.targeted(entry) {
				list = append(list, inlinePatches(text)...)
			}
		}
	}
	return list
}

func isKustomizationFile(file string) bool {
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if file == name || strings.HasSuffix(file, "/"+name) {
			return true
		}
	}
	return false
}

// targeted says whether the target of a patch may select the object; a name
// that is a regular expression may.
func (w *written) targeted(entry *yaml.Node) bool {
	target := yamltext.Field(entry, "target")
	kind, name := scalar(target, "kind"), scalar(target, "name")
	plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
	return (kind == "" || kind == w.kind) && (!plain || strings.Contains(w.id.name, name))
}

// inlinePatches are the documents of a patch that is a text in a kustomization.
func inlinePatches(text *yaml.Node) []patch {
	docs, err := yamltext.Parse([]byte(text.Value), 1<<16)
	if err != nil {
		return nil
	}
	var list []patch
	for _, d := range docs {
		p := patch{node: d, inline: true, fixed: text.Line}
		if text.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			p.fixed, p.shift = 0, text.Line // the text begins on the line after its key
		}
		list = append(list, p)
	}
	return list
}

// value is what the patch gives a field of the object, nil when it gives none.
func (p patch) value(w *written, field string) *yaml.Node {
	if p.node.Kind != yaml.SequenceNode {
		v := w.value(p.node, field)
		if v == nil || !w.same(p.node) {
			return nil
		}
		return v
	}
	spellings := []string{field}
	if w.group == kaito.Group {
		spellings = append(spellings, kaito.Field(w.kind, field))
	}
	for _, s := range spellings {
		if v := operationValue(p.node, s); v != nil {
			return v
		}
	}
	return nil
}

// operationValue is what the last operation on a field or a parent of it sets.
func operationValue(operations *yaml.Node, field string) *yaml.Node {
	want := pointer(field)
	var found *yaml.Node
	for _, operation := range operations.Content {
		at := scalar(operation, "path")
		rest, within := strings.CutPrefix(want, at)
		if at == "" || !within || rest != "" && rest[0] != '/' {
			continue
		}
		if v := follow(yamltext.Field(operation, "value"), strings.ReplaceAll(strings.TrimPrefix(rest, "/"), "/", ".")); v != nil {
			found = v
		}
	}
	return found
}

// pointer writes a field path as a JSON pointer.
func pointer(field string) string {
	steps := strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
	return "/" + strings.Join(steps, "/")
}
