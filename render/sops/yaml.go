// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

var errYAML = errors.New("is no YAML that sops has written: encrypt it anew")

// yamlText is YAML on its way to plain text. Values are replaced where they stand, so
// that every line stays the one that it is in Git.
type yamlText struct {
	text  []byte
	lines []int // where each line begins
	last  cursor
	file
	cuts []edit
}

// cursor is where the scalar before was found: the next is behind it. From the beginning
// of the line for each, a long line would take a time that grows with its square.
type cursor struct{ line, column, at int }

// edit puts something else in the place of a part of a text.
type edit struct {
	start, end int
	with       string
}

// readYAML takes a file of one or several documents apart. All have what SOPS keeps;
// what counts is in the first, as for SOPS itself.
func readYAML(text []byte) (*file, error) {
	docs, err := documents(text)
	if err != nil {
		return nil, err
	}
	y := &yamlText{text: text, lines: lineStarts(text)}
	for i, doc := range docs {
		if err := y.document(doc, i == 0); err != nil {
			return nil, err
		}
	}
	y.write = y.plainText
	return &y.file, nil
}

func documents(text []byte) (docs []*yaml.Node, err error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil || len(doc.Content) != 1 {
			return nil, errYAML // its own would quote the line
		}
		docs = append(docs, doc.Content[0])
	}
}

// document takes the leaves of one, and what SOPS keeps out of it.
func (y *yamlText) document(doc *yaml.Node, first bool) error {
	if doc.Kind == yaml.ScalarNode && doc.ShortTag() == "!!null" {
		return nil
	}
	if doc.Kind != yaml.MappingNode {
		return errYAML
	}
	own, err := sopsOf(doc)
	if err != nil {
		return err
	}
	if first && (own == nil || count(own.value) > maxOwn || own.value.Decode(&y.meta) != nil) {
		return errYAML
	}
	if err := y.walk(doc, nil, 0); err != nil {
		return err
	}
	return y.allow(doc, own)
}

// allow judges a document that is an object, and takes out what SOPS keeps in it.
func (y *yamlText) allow(doc *yaml.Node, own *member) error {
	object := hasKey(doc, "kind") || hasKey(doc, "apiVersion")
	if object {
		if err := mayBeEncrypted(doc); err != nil {
			return err
		}
	}
	if own == nil {
		return nil
	}
	return y.cut(own.key, object)
}

// mayBeEncrypted says the same of an object as who decodes it without a key. It has no
// alias, no key twice, and a depth.
func mayBeEncrypted(doc *yaml.Node) error {
	tree := map[string]any{}
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if key := doc.Content[i].Value; key != field { // what SOPS keeps is judged by nobody
			tree[key] = valueOf(doc.Content[i+1])
		}
	}
	problems := repolayout.EncryptedProblems(tree)
	if len(problems) == 0 {
		return nil
	}
	return &Refused{Problem: problems[0], Line: doc.Line}
}

// valueOf is what a node stands for. The library compares every key of a mapping with
// every other.
func valueOf(n *yaml.Node) (v any) {
	switch n.Kind {
	case yaml.MappingNode:
		tree := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			tree[n.Content[i].Value] = valueOf(n.Content[i+1])
		}
		return tree
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, item := range n.Content {
			list[i] = valueOf(item)
		}
		return list
	}
	if n.Decode(&v) != nil {
		return nil
	}
	return v
}

// maxOwn bounds what SOPS keeps in a file, in keys and values: for 64 recipients it has
// about 400.
const maxOwn = 4096

// count is the number of keys and values below a node, aliases not followed.
func count(n *yaml.Node) int {
	all := 1
	for _, child := range n.Content {
		all += count(child)
	}
	return all
}

// Refused is something encrypted that may not be.
type Refused struct {
	finding.Problem
	Line int // of the document
}

func (r *Refused) Error() string { return r.Sentence() }

type member struct{ key, value *yaml.Node }

// sopsOf is what SOPS keeps in a document; nil where it keeps nothing.
func sopsOf(doc *yaml.Node) (own *member, err error) {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value != field {
			continue
		}
		if own != nil || doc.Content[i+1].Kind != yaml.MappingNode {
			return nil, errYAML
		}
		own = &member{doc.Content[i], doc.Content[i+1]}
	}
	return own, nil
}

func hasKey(doc *yaml.Node, key string) bool {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value == key {
			return true
		}
	}
	return false
}

// cut empties the lines of what SOPS keeps: its key stands at the beginning of a line,
// and what is below is indented. In an object a mark stays.
func (y *yamlText) cut(key *yaml.Node, object bool) error {
	if key.Column != 1 || key.Line < 1 || key.Line > len(y.lines) {
		return errYAML
	}
	if key.Style != 0 || !bytes.HasPrefix(y.text[y.lines[key.Line-1]:], []byte(field+":")) {
		return errYAML
	}
	with := ""
	if object {
		with = field + ": " + repolayout.MarkDecrypted
	}
	for n := key.Line - 1; n < len(y.lines); n++ {
		start, end := y.line(n)
		if n >= key.Line && end > start && y.text[start] != ' ' && y.text[start] != '\t' {
			return nil
		}
		y.cuts = append(y.cuts, edit{start, end, with})
		with = ""
	}
	return nil
}

// line n, from 0, without its end.
func (y *yamlText) line(n int) (start, end int) {
	start, end = y.lines[n], len(y.text)
	if n+1 < len(y.lines) {
		end = y.lines[n+1] - 1
	}
	for end > start && y.text[end-1] == '\r' {
		end--
	}
	return start, end
}

func lineStarts(text []byte) []int {
	starts := []int{0}
	for i, b := range text {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	return starts
}

// walk adds the leaves of a node in the order of the file.
func (y *yamlText) walk(n *yaml.Node, path []string, depth int) error {
	if depth > finding.MaxDepth {
		return errYAML
	}
	switch n.Kind {
	case yaml.MappingNode:
		return y.walkMapping(n, path, depth)
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := y.walk(item, path, depth+1); err != nil {
				return err
			}
		}
		return nil
	case yaml.ScalarNode:
		return y.leaf(n, path)
	}
	return errYAML // SOPS writes no alias
}

func (y *yamlText) walkMapping(n *yaml.Node, path []string, depth int) error {
	seen := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || seen[key.Value] {
			return errYAML
		}
		seen[key.Value] = true
		if depth == 0 && key.Value == field {
			continue
		}
		if err := y.walk(n.Content[i+1], append(slices.Clip(path), key.Value), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (y *yamlText) leaf(n *yaml.Node, path []string) error {
	l := leaf{path: path}
	if n.Decode(&l.value) != nil {
		return errYAML
	}
	if text, ok := l.value.(string); ok && strings.HasPrefix(text, string(marked)) {
		if l.start, ok = y.find(n); !ok {
			return errYAML
		}
		l.end = l.start + len(text)
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			l.end += 2
		}
	}
	y.leaves = append(y.leaves, l)
	return nil
}

// find is where a scalar stands, which must be there as it is: columns count runes.
func (y *yamlText) find(n *yaml.Node) (start int, ok bool) {
	if n.Line < 1 || n.Line > len(y.lines) {
		return 0, false
	}
	if y.last.line != n.Line || y.last.column > n.Column {
		y.last = cursor{n.Line, 1, y.lines[n.Line-1]}
	}
	for ; y.last.column < n.Column; y.last.column++ {
		if y.last.at >= len(y.text) {
			return 0, false
		}
		_, size := utf8.DecodeRune(y.text[y.last.at:])
		y.last.at += size
	}
	start = y.last.at
	as := n.Value
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		as = `"` + as + `"`
	case n.Style&yaml.SingleQuotedStyle != 0:
		as = "'" + as + "'"
	case n.Style != 0:
		return 0, false
	}
	return start, bytes.HasPrefix(y.text[start:], []byte(as))
}

// plainText is the file with its values in place, read once more: it must be what
// was decrypted, whatever the text around it is.
func (y *yamlText) plainText(values []any) ([]byte, error) {
	edits := slices.Clone(y.cuts)
	for i, l := range y.leaves {
		if l.end > 0 && !reflect.DeepEqual(l.value, values[i]) {
			edits = append(edits, edit{l.start, l.end, written(values[i])})
		}
	}
	plain := replaced(y.text, edits)
	docs, err := documents(plain)
	if err != nil {
		return nil, err
	}
	again := &yamlText{text: plain, lines: lineStarts(plain)}
	for _, doc := range docs {
		if doc.Kind == yaml.ScalarNode {
			continue
		}
		if err := again.walk(doc, nil, 0); err != nil {
			return nil, err
		}
	}
	if !slices.EqualFunc(again.leaves, values, func(l leaf, value any) bool { return same(l.value, value) }) {
		return nil, errYAML
	}
	return plain, nil
}

// same compares a value with what was read of its text: of a time its text alone.
func same(read, value any) bool {
	if reflect.DeepEqual(read, value) {
		return true
	}
	one, err1 := bytesOf(read)
	other, err2 := bytesOf(value)
	return err1 == nil && err2 == nil && bytes.Equal(one, other)
}

// replaced makes edits, none of which reaches into another.
func replaced(text []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return a.start - b.start })
	var out bytes.Buffer
	last := 0
	for _, e := range edits {
		if e.start < last {
			continue
		}
		out.Write(text[last:e.start])
		out.WriteString(e.with)
		last = e.end
	}
	out.Write(text[last:])
	return out.Bytes()
}
