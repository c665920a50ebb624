// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// written looks fields up in the document of an object, and in patches.
type written struct {
	texts texts
	*id
	built *item // nil where nothing can have changed it
	file  string
	name  string // of the object in the file
	line  int    // of its document
}

// At prefers the place that holds the value the object has: a patch may have
// replaced what its document says.
func (w *written) At(field string) (string, int) {
	if field == "" {
		return w.file, w.line
	}
	own := w.texts.of(w.file)
	file, line := own.find(id{kind: w.kind, name: w.name}).At(field)
	if w.built == nil {
		return file, line
	}
	var built yaml.Node
	if err := yaml.Unmarshal([]byte(w.built.text), &built); err != nil || len(built.Content) == 0 {
		return file, line
	}
	want := w.value(built.Content[0], field)
	if want == nil || w.says(own.list, line, field, want) {
		return file, line
	}
	if other, at := w.elsewhere(file, field, want); other != "" {
		return other, at
	}
	return file, line
}

// Fix is of a line of the unit's files.
func (w *written) Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	known := w.texts.file(file)
	if known == nil {
		return v1alpha1.Fix{}
	}
	return finding.InLine(known.line(line), word)
}

// Entry finds a place in an entry of a ConfigMap: in its document, or in the patch
// that gave the entry its text.
func (w *written) Entry(e finding.Entry) (file string, line int, ok bool) {
	at, own := w.texts.of(w.file).find(id{kind: w.kind, name: w.name}).(inDocument)
	if w.built == nil {
		if !own {
			return "", 0, false
		}
		line, ok = repolayout.EntryLine(at.root, e)
		return w.file, line, ok
	}
	var built yaml.Node
	if err := yaml.Unmarshal([]byte(w.built.text), &built); err != nil || len(built.Content) == 0 {
		return "", 0, false
	}
	want := entryOf(built.Content[0], e.Key)
	if want == nil {
		return "", 0, false
	}
	if own {
		if v := entryOf(at.root, e.Key); sameText(v, want.Value) {
			line, ok = repolayout.EntryLine(at.root, e)
			return w.file, line, ok
		}
	}
	return w.patchedEntry(e, want.Value)
}

// patchedEntry finds the text of an entry in a patch of the unit.
func (w *written) patchedEntry(e finding.Entry, text string) (file string, line int, ok bool) {
	targets := w.targets()
	for _, file := range w.texts.names() {
		for _, p := range w.patchesIn(file, targets) {
			v := entryOf(p.node, e.Key)
			if !sameText(v, text) || !p.led && !w.same(p.node) || file == w.file && !p.inline {
				continue
			}
			line := p.line(v)
			if p.fixed == 0 && v.Style&yaml.LiteralStyle != 0 {
				line += e.Line
			}
			return file, line, true
		}
	}
	return "", 0, false
}

// sameText says whether a value is a text; Kustomize may drop the last line end.
func sameText(v *yaml.Node, text string) bool {
	return v != nil && strings.TrimRight(v.Value, "\n") == strings.TrimRight(text, "\n")
}

// entryOf is the text of an entry of a ConfigMap.
func entryOf(configMap *yaml.Node, key string) *yaml.Node {
	return yamltext.Field(yamltext.Field(configMap, "data"), key)
}

// elsewhere finds the value in another file of the unit: a patch.
func (w *written) elsewhere(file, field string, want *yaml.Node) (string, int) {
	targets := w.targets()
	for _, other := range w.texts.names() {
		for _, p := range w.patchesIn(other, targets) {
			if other == file && !p.inline {
				continue
			}
			if v := p.value(w, field); v != nil && mayBeOne(v, want) {
				return other, p.lineOf(field, v)
			}
		}
	}
	return "", 0
}

// says whether a document has the value at the field and line.
func (w *written) says(docs []*yaml.Node, line int, field string, want *yaml.Node) bool {
	return slices.ContainsFunc(docs, func(d *yaml.Node) bool {
		v := w.value(d, field)
		return v != nil && mayBeOne(v, want) && (v.Line == line || w.same(d))
	})
}

// mayBeOne says whether two values may be one: texts by what they say. Lists and
// mappings only by what they are, since a patch may have changed them within.
func mayBeOne(v, want *yaml.Node) bool {
	if want.Kind == yaml.ScalarNode {
		return v.Value == want.Value
	}
	return v.Kind == want.Kind
}

// same says whether a document may be a patch of the object: of its kind, and
// of a name that the object's name contains or that a target selects.
func (w *written) same(d *yaml.Node) bool {
	kind, name := scalar(d, "kind"), scalar(d, "metadata", "name")
	return (kind == "" || kind == w.kind) && strings.Contains(w.id.name, name)
}

// value follows a field path; documents of kaito.sh have some fields elsewhere.
func (w *written) value(d *yaml.Node, field string) *yaml.Node {
	if v := follow(d, field); v != nil {
		return v
	}
	if w.group == kaito.Group {
		return follow(d, kaito.Field(w.kind, field))
	}
	return nil
}

func follow(n *yaml.Node, field string) *yaml.Node {
	for step := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if n == nil {
			return nil
		}
		if n.Kind == yaml.SequenceNode {
			n = element(n, step)
			continue
		}
		n = yamltext.Field(n, step)
	}
	return n
}

func element(n *yaml.Node, step string) *yaml.Node {
	i := 0
	for _, r := range step {
		if r < '0' || r > '9' || i > len(n.Content) {
			return nil
		}
		i = i*10 + int(r-'0')
	}
	if i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}

func scalar(n *yaml.Node, path ...string) string {
	for _, key := range path {
		n = yamltext.Field(n, key)
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}
