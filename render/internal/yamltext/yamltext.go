// SPDX-License-Identifier: Apache-2.0

// Package yamltext checks YAML text before anything else reads it: its syntax
// and keys, with the line of a mistake, how deep it is nested, and how much its
// aliases would expand to.
//
// It decides nothing about the meaning of a document and never expands one.
package yamltext

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// ErrExpands is the cause of an Error when aliases expand to more than allowed.
var ErrExpands = errors.New("aliases expand to too much")

// Error is what is wrong with YAML text, and the line, 0 when not known.
type Error struct {
	Line int
	Err  error
}

// Error is one line without the line number, which findings carry apart.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// nodeBytes is what a node counts for beside its text: about its share of
// punctuation when it is written out.
const nodeBytes = 4

// Parse returns the root nodes of the documents of text. maxExpansion bounds
// the bytes that aliases add when they are followed: 1 KB of nested aliases can
// stand for gigabytes.
func Parse(text []byte, maxExpansion int) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		doc, err := next(text, decoder)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if err := check(doc, maxExpansion); err != nil {
			return nil, err
		}
		if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
			docs = append(docs, doc.Content[0])
		}
	}
}

// isNull says that a document holds nothing. A mapping with the tag of nothing does not:
// other readers take what is in it.
func isNull(root *yaml.Node) bool {
	return root.Kind == yaml.ScalarNode && root.ShortTag() == "!!null"
}

// next decodes one document of text. The parser is known to panic on odd bytes.
func next(text []byte, decoder *yaml.Decoder) (doc *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &Error{Err: fmt.Errorf("this is no YAML: %v", p)}
		}
	}()
	doc = &yaml.Node{}
	if err := decoder.Decode(doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		line, message := finding.Syntax(text, err)
		return nil, &Error{Line: line, Err: errors.New(message)}
	}
	return doc, nil
}

// Field returns the value node of a key of a mapping, nil when there is none.
func Field(mapping *yaml.Node, key string) *yaml.Node {
	if mapping == nil || mapping.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

// Line returns the line of the value at a path of keys and sequence indices
// below node, or that of the deepest part of the path that exists.
func Line(node *yaml.Node, path ...any) int {
	if node == nil {
		return 0
	}
	line := node.Line
	for _, step := range path {
		switch s := step.(type) {
		case string:
			node = Field(node, s)
		case int:
			if node.Kind != yaml.SequenceNode || s >= len(node.Content) {
				return line
			}
			node = node.Content[s]
		}
		if node == nil {
			return line
		}
		line = node.Line
	}
	return line
}
