// SPDX-License-Identifier: Apache-2.0

package build

import (
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// fixed is one place for every field: the entry of a generator.
type fixed struct {
	file string
	line int
	name string // of the entry
	// entries of a generated ConfigMap by key: the file that holds the text, and
	// the line where that is one of the kustomization; 0: the text is the file.
	entries []entryAt
}

// entryAt is where the text of an entry is written.
type entryAt struct {
	key string
	place
}

// At returns the place, whatever the field.
func (f fixed) At(string) (string, int) { return f.file, f.line }

// Entry finds a line in the file that the generator takes.
func (f fixed) Entry(e finding.Entry) (file string, line int, ok bool) {
	i := slices.IndexFunc(f.entries, func(at entryAt) bool { return at.key == e.Key })
	if i < 0 {
		return "", 0, false
	}
	at := f.entries[i]
	if at.line > 0 {
		return at.file, at.line, true
	}
	return at.file, max(e.Line, 1), true
}

// entriesOf are the entries that a generator's entry makes of files and literals.
func entriesOf(entry *yaml.Node, file string) []entryAt {
	files, literals := items(entry, "files"), items(entry, "literals")
	entries := make([]entryAt, 0, len(files)+len(literals))
	for _, item := range files {
		key, reference, named := strings.Cut(item.Value, "=")
		if !named {
			key, reference = path.Base(item.Value), item.Value
		}
		if p, err := resolve(path.Dir(file), reference); err == nil {
			entries = setEntry(entries, entryAt{key, place{file: p}})
		}
	}
	for _, item := range literals {
		key, _, _ := strings.Cut(item.Value, "=")
		entries = setEntry(entries, entryAt{key, place{file, item.Line}})
	}
	return entries
}

// setEntry puts an entry in the place of one with its key, or adds it.
func setEntry(entries []entryAt, at entryAt) []entryAt {
	if i := slices.IndexFunc(entries, func(e entryAt) bool { return e.key == at.key }); i >= 0 {
		entries[i] = at
		return entries
	}
	return append(entries, at)
}

// items of a list.
func items(mapping *yaml.Node, field string) []*yaml.Node {
	list := yamltext.Field(mapping, field)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

// keep is the entries, without those that are not in the object as they are in their file:
// another kustomization may have replaced them.
func (f fixed) keep(files map[string][]byte, object *item) []entryAt {
	if len(f.entries) == 0 {
		return nil
	}
	var built struct {
		Data map[string]string `json:"data"`
	}
	if err := sigsyaml.Unmarshal([]byte(object.text), &built); err != nil {
		return nil
	}
	return slices.DeleteFunc(f.entries, func(at entryAt) bool {
		value, there := built.Data[at.key]
		return !there || at.line == 0 && string(files[at.file]) != value
	})
}
