// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Position maps a field path of a decoded document ("spec.resource.instanceType",
// "resource.instanceType", "" = the document) to the file and line it was
// written at. Line 0: not known.
type Position = finding.Position

// Document is one document of a YAML file, with the positions of its fields.
// It is safe for concurrent use.
type Document struct {
	// Text is the document as written, with its separator line.
	Text []byte

	file  string
	first int // line of the file that Text begins at, from 1
	lead  int // lines of Text before the first that says something
	once  sync.Once
	root  *yaml.Node
}

// MaxDocuments is how many documents of one file are read: a person who asks for
// more findings than that reads none of them.
const MaxDocuments = 20_000

// byteOrderMark is what some editors of Windows put before a text.
const byteOrderMark = "\ufeff"

// Split cuts the text of a YAML file into its documents; empty ones are left
// out. A document that is no YAML is one of them: it does not hide the others.
func Split(file string, text []byte) []*Document {
	text = bytes.TrimPrefix(text, []byte(byteOrderMark))
	var docs []*Document
	start, first, line := 0, 1, 1
	cut := func(end int) {
		if d := newDocument(file, text[start:end], first); d != nil {
			docs = append(docs, d)
		}
	}
	for at := 0; at < len(text); line++ {
		end := len(text)
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if separator(text[at:end]) && !directives(text[start:at]) {
			cut(at)
			start, first = at, line
		}
		at = end
	}
	cut(len(text))
	return docs
}

// separator says whether a line begins another document.
func separator(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	return found && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// directives says whether text holds nothing but YAML directives and comments,
// which belong to the document that follows.
func directives(text []byte) bool {
	_, said := leading(text)
	return !said && (bytes.HasPrefix(text, []byte("%")) || bytes.Contains(text, []byte("\n%")))
}

// leading counts the lines before the first that says something, and says
// whether there is one.
func leading(text []byte) (lines int, said bool) {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if separator(line) {
			trimmed = bytes.TrimSpace(trimmed[3:])
		}
		if len(trimmed) > 0 && trimmed[0] != '#' && line[0] != '%' && !bytes.Equal(trimmed, []byte("...")) {
			return lines, true
		}
		lines++
	}
	return lines, false
}

// newDocument is nil for comments and blank lines only.
func newDocument(file string, text []byte, first int) *Document {
	lead, said := leading(text)
	if !said {
		return nil
	}
	return &Document{Text: text, file: file, first: first, lead: lead}
}

// FilePosition locates fields in the document of a file that has this kind and
// name. It falls back to the only document of the file, else to the file with
// line 0.
func FilePosition(file string, text []byte, kind, name string) Position {
	docs := Split(file, text)
	for _, d := range docs {
		if k, n := d.Identity(); k == kind && n == name {
			return d
		}
	}
	if len(docs) == 1 {
		return docs[0]
	}
	return fileOnly(file)
}

type fileOnly string

func (f fileOnly) At(string) (string, int) { return string(f), 0 }

// At returns the line of a field; of its nearest parent where the field is not
// written; of the document's first line where that is not written either.
func (d *Document) At(field string) (string, int) {
	if n := Line(d.node(), field); n > 0 {
		return d.file, d.DocumentLine(n)
	}
	return d.file, d.DocumentLine(d.lead + 1)
}

// Fix is of the line of a document. It implements finding.Fixer.
func (d *Document) Fix(_ string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	n := d.first
	for text := range bytes.Lines(d.Text) {
		if n == line {
			return finding.InLine(string(text), word)
		}
		n++
	}
	return v1alpha1.Fix{}
}

// Entry returns where a place in an entry of a ConfigMap is; false where the
// document has no such entry.
func (d *Document) Entry(e finding.Entry) (file string, line int, ok bool) {
	line, ok = EntryLine(d.node(), e)
	return d.file, d.DocumentLine(line), ok
}

// EntryLine returns the line, within the text that root was parsed from, of a
// place in an entry of a ConfigMap: exact where the entry is a block of lines
// (|), that of its key where it is written otherwise.
func EntryLine(root *yaml.Node, e finding.Entry) (line int, ok bool) {
	key, value := entry(child(root, "data"), e.Key)
	switch {
	case key == nil:
		return 0, false
	case value.Style&yaml.LiteralStyle != 0 && e.Line > 0:
		return value.Line + e.Line, true
	}
	return key.Line, true
}

// DocumentLine returns the file's line for a line of the document, from 1.
func (d *Document) DocumentLine(n int) int { return d.first + n - 1 }

// node is the document's mapping, nil when it is no YAML or no mapping.
func (d *Document) node() *yaml.Node {
	d.once.Do(func() {
		var n yaml.Node
		if err := yaml.Unmarshal(d.Text, &n); err == nil && len(n.Content) == 1 {
			d.root = n.Content[0]
		}
	})
	return d.root
}

// Kind is the kind that the document says it is of, "" when it says none.
func (d *Document) Kind() string {
	kind, _ := d.Identity()
	return kind
}

// APIVersion is the apiVersion that the document says, "" when it says none.
func (d *Document) APIVersion() string {
	if root := d.node(); root != nil {
		return scalarAt(root, "apiVersion")
	}
	return ""
}

// Identity is the document's kind and metadata.name, as far as they are there.
func (d *Document) Identity() (kind, name string) {
	root := d.node()
	if root == nil {
		return "", ""
	}
	return scalarAt(root, "kind"), scalarAt(child(root, "metadata"), "name")
}

func scalarAt(n *yaml.Node, key string) string {
	if v := child(n, key); v != nil && v.Kind == yaml.ScalarNode {
		return v.Value
	}
	return ""
}

// child is the value of a key of a mapping, nil when there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	if _, v := entry(n, key); v != nil {
		return v
	}
	return nil
}

func entry(n *yaml.Node, key string) (k, v *yaml.Node) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

// Line returns the line, within the text that root was parsed from, of a field
// or of its nearest parent; 0 when not even the first step of the path is
// there. root is a document or its mapping. Fields of our Workspace are found
// in documents of kaito.sh by the name they have there.
func Line(root *yaml.Node, field string) int {
	if root != nil && root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if root == nil || field == "" {
		return 0
	}
	version := scalarAt(root, "apiVersion")
	if strings.HasPrefix(version, kaito.Group+"/") {
		if line, whole := walk(root, field); whole {
			return line
		}
		field = kaito.Field(scalarAt(root, "kind"), field)
	}
	line, _ := walk(root, field)
	return line
}

// walk follows a path as far as it is written; whole says whether that was to
// its end.
func walk(n *yaml.Node, field string) (line int, whole bool) {
	k, _, whole := follow(n, field)
	if k == nil {
		return 0, whole
	}
	return k.Line, whole
}

// follow returns the last key that a path reaches and its value; for an element
// of a list both are the element.
func follow(n *yaml.Node, field string) (key, value *yaml.Node, whole bool) {
	for field != "" {
		for n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var step string
		step, field = next(field)
		k, v := element(n, step)
		if k == nil {
			return key, n, false
		}
		key, n = k, v
	}
	return key, n, true
}

// element is the entry of a mapping or the item of a list that a step names.
func element(n *yaml.Node, step string) (key, value *yaml.Node) {
	if n == nil || n.Kind != yaml.SequenceNode {
		return entry(n, step)
	}
	i, err := strconv.Atoi(step)
	if err != nil || i < 0 || i >= len(n.Content) {
		return nil, nil
	}
	return n.Content[i], n.Content[i]
}

// next cuts the first step off a path: a name, or what is in brackets.
func next(field string) (step, rest string) {
	field = strings.TrimPrefix(field, ".")
	if inner, found := strings.CutPrefix(field, "["); found {
		step, rest, _ = strings.Cut(inner, "]")
		return step, rest
	}
	if i := strings.IndexAny(field, ".["); i >= 0 {
		return field[:i], field[i:]
	}
	return field, ""
}
