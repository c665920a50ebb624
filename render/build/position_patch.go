// SPDX-License-Identifier: Apache-2.0

package build

import (
	"path"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// patch is a document that may change an object: a strategic merge patch, or the
// list of operations of a JSON 6902 patch, in a file or within a kustomization.
type patch struct {
	node   *yaml.Node
	inline bool
	// led says that a target leads it to the object: what it is called itself does
	// not count then.
	led bool
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

// lineOf is the line of a value: that of its key, where it begins on a later one.
func (p patch) lineOf(field string, v *yaml.Node) int {
	if v.Kind != yaml.ScalarNode && p.fixed == 0 && p.node.Kind != yaml.SequenceNode {
		if line := repolayout.Line(p.node, field); line > 0 {
			return line + p.shift
		}
	}
	return p.line(v)
}

// inlineFields of a kustomization hold patches as text, with the key of the
// text; "" where the entry is the text.
var inlineFields = []struct{ field, key string }{{"patches", "patch"}, {"patchesJson6902", "patch"}, {"patchesStrategicMerge", ""}}

// patchesIn lists what may be a patch of the object in a file; targets are what
// kustomizations say of files.
func (w *written) patchesIn(file string, targets map[string]bool) []patch {
	docs := w.texts.of(file).list
	if len(docs) == 1 && isKustomizationFile(file) {
		return w.inlineIn(docs[0])
	}
	selects, led := targets[file]
	if led && !selects {
		return nil
	}
	var list []patch
	for _, d := range docs {
		list = append(list, patch{node: d, led: led})
	}
	return list
}

// inlineIn lists the patches of the object that are text within a kustomization.
func (w *written) inlineIn(kustomization *yaml.Node) []patch {
	var list []patch
	for _, in := range inlineFields {
		for _, entry := range items(kustomization, in.field) {
			text := entry
			if in.key != "" {
				text = yamltext.Field(entry, in.key)
			}
			if text == nil || text.Kind != yaml.ScalarNode || !w.targeted(entry) {
				continue
			}
			for _, p := range inlinePatches(text) {
				p.led = yamltext.Field(entry, "target") != nil
				list = append(list, p)
			}
		}
	}
	return list
}

// targets says of each file that is a patch with a target whether one of its
// targets may select the object.
func (w *written) targets() map[string]bool {
	selects := map[string]bool{}
	for _, file := range w.texts.names() {
		if !isKustomizationFile(file) {
			continue
		}
		for _, entry := range w.entries(file) {
			name := scalar(entry, "path")
			if name == "" || yamltext.Field(entry, "target") == nil {
				continue
			}
			at := path.Join(path.Dir(file), name)
			selects[at] = selects[at] || w.targeted(entry)
		}
	}
	return selects
}

// entries lists the patches that a kustomization names or holds.
func (w *written) entries(file string) []*yaml.Node {
	var list []*yaml.Node
	for _, kustomization := range w.texts.of(file).list {
		for _, in := range inlineFields {
			list = append(list, items(kustomization, in.field)...)
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
	group, kind, name := scalar(target, "group"), scalar(target, "kind"), scalar(target, "name")
	plain := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
	return (group == "" || group == w.group) && (kind == "" || kind == w.kind) && (!plain || strings.Contains(w.id.name, name))
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
		if v == nil || !p.led && !w.same(p.node) {
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
