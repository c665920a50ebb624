// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// sameDocuments says whether Kustomize, which cuts a file into documents before
// it parses them, sees what the parser sees.
func sameDocuments(text []byte) bool {
	if bytes.ContainsAny(text, "\r\uFEFF") {
		return false
	}
	for line := range bytes.Lines(text) {
		switch {
		case line[0] == '%', bytes.HasPrefix(line, []byte("...")):
			return false
		case bytes.HasPrefix(line, []byte("---")) && len(bytes.TrimRight(line, " \n")) > len("---"):
			return false
		}
	}
	return true
}

// plainObject is a document as a tree; false for one that Kustomize might read
// in another way, or act on.
func plainObject(document *yaml.Node) (map[string]any, bool) {
	v, ok := plainValue(document)
	tree, isMapping := v.(map[string]any)
	return tree, ok && isMapping && plainIdentity(tree)
}

// plainValue is a value of texts, whole numbers, true, false and null, written
// such that each reader of YAML reads the same.
func plainValue(n *yaml.Node) (any, bool) {
	if n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 {
		return nil, false
	}
	switch n.Kind {
	case yaml.MappingNode:
		return plainMapping(n)
	case yaml.SequenceNode:
		return plainList(n)
	case yaml.ScalarNode:
		return plainScalar(n)
	}
	return nil, false
}

func plainMapping(n *yaml.Node) (any, bool) {
	m := make(map[string]any, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.ShortTag() != "!!str" || key.Anchor != "" || key.Style != 0 || !plainKey(key.Value) {
			return nil, false
		}
		v, ok := plainValue(n.Content[i+1])
		if !ok {
			return nil, false
		}
		m[key.Value] = v
	}
	return m, true
}

func plainList(n *yaml.Node) (any, bool) {
	list := make([]any, 0, len(n.Content))
	for _, item := range n.Content {
		v, ok := plainValue(item)
		if !ok || v == nil { // Kustomize refuses empty items
			return nil, false
		}
		list = append(list, v)
	}
	return list, true
}

// wholeNumber is one that is written as it would be written again.
var wholeNumber = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,15})$`)

func plainScalar(n *yaml.Node) (any, bool) {
	switch n.ShortTag() {
	case "!!str":
		return n.Value, plainText(n.Value)
	case "!!null":
		return nil, n.Value == "" || n.Value == "null"
	case "!!bool":
		return n.Value == "true", n.Value == "true" || n.Value == "false"
	case "!!int":
		number, err := strconv.ParseInt(n.Value, 10, 64)
		return number, err == nil && wholeNumber.MatchString(n.Value)
	}
	return nil, false
}

// plainKey says whether a key is a word that no reader takes for anything else.
func plainKey(key string) bool {
	for i, r := range key {
		letter := r < utf8.RuneSelf && unicode.IsLetter(r)
		if !letter && (i == 0 || !unicode.IsDigit(r) && !strings.ContainsRune("._-/", r)) {
			return false
		}
	}
	return len(key) <= 128 && key != ""
}

// plainText says whether a text survives being written and read again: the
// writers and readers of YAML differ on blanks at the ends of lines and on what
// is not printed.
func plainText(text string) bool {
	for _, r := range text {
		if r != '\n' && (!unicode.IsPrint(r) || r == utf8.RuneError || r > 0xD7FF) {
			return false
		}
	}
	return !strings.HasPrefix(text, " ") && !strings.HasPrefix(text, "\n") && !strings.Contains(text, " \n") &&
		!strings.HasSuffix(text, " ") && !strings.HasSuffix(text, "\n\n")
}
