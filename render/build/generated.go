// SPDX-License-Identifier: Apache-2.0

package build

import (
	"path"
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
	entries map[string]place
}

// At returns the place, whatever the field.
func (f fixed) At(string) (string, int) { return f.file, f.line }

// Entry finds a line in the file that the generator takes.
func (f fixed) Entry(e finding.Entry) (file string, line int, ok bool) {
	at, ok := f.entries[e.Key]
	switch {
	case !ok:
		return "", 0, false
	case at.line > 0:
		return at.file, at.line, true
	}
	return at.file, max(e.Line, 1), true
}

// entriesOf are the entries that a generator's entry makes of files and literals.
func entriesOf(entry *yaml.Node, file string) map[string]place {
	entries := map[string]place{}
	for _, item := range items(entry, "files") {
		key, reference, named := strings.Cut(item.Value, "=")
		if !named {
			key, reference = path.Base(item.Value), item.Value
		}
		if p, err := resolve(path.Dir(file), reference); err == nil {
			entries[key] = place{file: p}
		}
	}
	for _, item := range items(entry, "literals") {
		key, _, _ := strings.Cut(item.Value, "=")
		entries[key] = place{file, item.Line}
	}
	return entries
}

// items of a list.
func items(mapping *yaml.Node, field string) []*yaml.Node {
	list := yamltext.Field(mapping, field)
	if list == nil || list.Kind != yaml.SequenceNode {
		return nil
	}
	return list.Content
}

// keep drops the entries that are not in the object as they are in their file:
// another kustomization may have replaced them.
func (f fixed) keep(files map[string][]byte, object *Object) {
	if len(f.entries) == 0 {
		return
	}
	var built struct {
		Data map[string]string `json:"data"`
	}
	if err := sigsyaml.Unmarshal(object.YAML, &built); err != nil {
		clear(f.entries)
		return
	}
	for key, at := range f.entries {
		value, there := built.Data[key]
		if !there || at.line == 0 && string(files[at.file]) != value {
			delete(f.entries, key)
		}
	}
}
