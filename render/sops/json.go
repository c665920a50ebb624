// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

var errJSON = errors.New("is no JSON that sops has written: encrypt it anew")

// jsonText is a JSON object on its way to plain text.
type jsonText struct {
	text    []byte
	decoder *json.Decoder
	leaves  []leaf
	members []jsonMember // of the object itself
	sops    json.RawMessage
}

// jsonMember is a key and its value, from the quote of the one to the end of the other.
type jsonMember struct {
	key        string
	start, end int
}

// parseJSON takes the leaves of an object, and finds what SOPS keeps in it.
func parseJSON(text []byte) (*jsonText, error) {
	j := &jsonText{text: text, decoder: json.NewDecoder(bytes.NewReader(text))}
	j.decoder.UseNumber()
	if token, err := j.decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errJSON
	}
	if err := j.object(nil, 0); err != nil {
		return nil, err
	}
	if j.decoder.More() {
		return nil, errJSON
	}
	return j, nil
}

// onlyData says that the object holds one value, which is a file.
func (j *jsonText) onlyData() bool {
	return len(j.members) == 2 && len(j.leaves) == 1 && slices.Equal(j.leaves[0].path, []string{"data"})
}

func (j *jsonText) object(path []string, depth int) error {
	seen := map[string]bool{}
	for j.decoder.More() {
		before := int(j.decoder.InputOffset())
		token, err := j.decoder.Token()
		key, ok := token.(string)
		if err != nil || !ok || seen[key] {
			return errJSON
		}
		seen[key] = true
		m := jsonMember{key: key, start: before + bytes.IndexByte(j.text[before:], '"')}
		if depth == 0 && key == field {
			err = j.decoder.Decode(&j.sops)
		} else {
			err = j.value(append(slices.Clip(path), key), depth+1)
		}
		if err != nil {
			return errJSON
		}
		if m.end = int(j.decoder.InputOffset()); depth == 0 {
			j.members = append(j.members, m)
		}
	}
	return j.closing()
}

func (j *jsonText) closing() error {
	if _, err := j.decoder.Token(); err != nil {
		return errJSON
	}
	return nil
}

func (j *jsonText) value(path []string, depth int) error {
	if depth > finding.MaxDepth {
		return errJSON
	}
	before := int(j.decoder.InputOffset())
	token, err := j.decoder.Token()
	if err != nil {
		return errJSON
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return j.object(path, depth)
		}
		for j.decoder.More() {
			if err := j.value(path, depth+1); err != nil {
				return err
			}
		}
		return j.closing()
	case json.Number:
		number, err := numberOf(t)
		if err != nil {
			return err
		}
		j.leaves = append(j.leaves, leaf{path: path, value: number})
	case string:
		j.leaves = append(j.leaves, leaf{path: path, value: t, start: before + bytes.IndexByte(j.text[before:], '"'), end: int(j.decoder.InputOffset())})
	default:
		j.leaves = append(j.leaves, leaf{path: path, value: t})
	}
	return nil
}

// numberOf is a whole number where there is one.
func numberOf(n json.Number) (any, error) {
	if whole, err := n.Int64(); err == nil {
		return int(whole), nil
	}
	number, err := n.Float64()
	if err != nil {
		return nil, errJSON
	}
	return number, nil
}

// meta reads what SOPS keeps.
func (j *jsonText) meta() (metadata, error) {
	var m metadata
	if json.Unmarshal(j.sops, &m) != nil {
		return m, errJSON
	}
	return m, nil
}

func readJSON(text []byte) (*file, error) {
	j, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	m, err := j.meta()
	if err != nil {
		return nil, err
	}
	object := false
	for _, member := range j.members {
		object = object || member.key == "kind" || member.key == "apiVersion"
	}
	if object {
		var doc yaml.Node
		if yaml.Unmarshal(untabbed(text), &doc) != nil || len(doc.Content) != 1 {
			return nil, errJSON
		}
		if err := mayBeEncrypted(doc.Content[0]); err != nil {
			return nil, err
		}
	}
	return &file{leaves: j.leaves, meta: m, write: func(values []any) ([]byte, error) { return j.plainText(values, object) }}, nil
}

// untabbed replaces what YAML does not take for a space. No text of JSON holds a tab.
func untabbed(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\t"), []byte(" ")) }

// plainText is the object with its values in place and without what SOPS keeps, of
// which a mark stays in a Kubernetes object.
func (j *jsonText) plainText(values []any, object bool) ([]byte, error) {
	edits := []edit{j.cut(object)}
	for i, l := range j.leaves {
		if text, ok := l.value.(string); ok && values[i] != any(text) {
			edits = append(edits, edit{l.start, l.end, inJSON(values[i])})
		}
	}
	plain := replaced(j.text, edits)
	again, err := parseJSON(plain)
	if err != nil {
		return nil, err
	}
	leaves := again.leaves
	if object {
		leaves = slices.DeleteFunc(leaves, func(l leaf) bool { return len(l.path) == 1 && l.path[0] == field })
	}
	if !slices.EqualFunc(leaves, values, func(l leaf, value any) bool { return same(l.value, value) }) {
		return nil, errJSON
	}
	return plain, nil
}

// inJSON is a value as JSON has it, which knows no times.
func inJSON(value any) string {
	if t, ok := value.(time.Time); ok {
		return quote(t.Format(time.RFC3339Nano))
	}
	return written(value)
}

// cut takes the member out with the comma before it, or after it where it is the first.
func (j *jsonText) cut(object bool) edit {
	i := slices.IndexFunc(j.members, func(m jsonMember) bool { return m.key == field })
	own := j.members[i]
	switch {
	case object:
		return edit{own.start, own.end, quote(field) + ": " + quote(repolayout.MarkDecrypted)}
	case i > 0:
		return edit{j.members[i-1].end, own.end, ""}
	case len(j.members) > 1:
		return edit{own.start, j.members[1].start, ""}
	}
	return edit{own.start, own.end, ""}
}

// readBinary reads a file of any kind, which SOPS writes as the one value of an object.
func readBinary(text []byte) (*file, error) {
	j, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	m, err := j.meta()
	if err != nil {
		return nil, err
	}
	return &file{leaves: j.leaves, meta: m, write: func(values []any) ([]byte, error) {
		if content, ok := values[0].(string); ok {
			return []byte(content), nil
		}
		return nil, errJSON
	}}, nil
}
