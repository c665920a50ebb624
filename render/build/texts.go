// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"sync"
	"weak"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// texts are the YAML files of a unit, by path.
type texts map[string]*text

// text is a file that is parsed when somebody asks for a field, and again when
// the memory was needed meanwhile: most are never asked.
type text struct {
	file    string
	content []byte

	mu     sync.Mutex
	parsed weak.Pointer[documents]

	index sync.Once
	ends  []int // of the lines of content, once somebody has asked for one
}

// line is a line of the file, from 1; "" for one that is not there.
func (t *text) line(n int) string {
	t.index.Do(func() {
		for line := range bytes.Lines(t.content) {
			t.ends = append(t.ends, len(line))
			if last := len(t.ends) - 1; last > 0 {
				t.ends[last] += t.ends[last-1]
			}
		}
	})
	switch {
	case n < 1 || n > len(t.ends):
		return ""
	case n == 1:
		return string(t.content[:t.ends[0]])
	}
	return string(t.content[t.ends[n-2]:t.ends[n-1]])
}

// documents of a file. They are not changed once made.
type documents struct {
	file string
	list []*yaml.Node
}

func newTexts(files map[string][]byte, docs map[string][]*yaml.Node) texts {
	t := make(texts, len(docs))
	for name := range docs {
		t[name] = &text{file: name, content: files[name]}
	}
	return t
}

// of returns the documents of a file, none of one that is not there.
func (t texts) of(file string) *documents {
	known, ok := t[file]
	if !ok {
		return &documents{file: file}
	}
	return known.parse()
}

// names of the files in order.
func (t texts) names() []string { return slices.Sorted(maps.Keys(t)) }

func (t *text) parse() *documents {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.parsed.Value(); known != nil {
		return known
	}
	d := &documents{file: t.file}
	d.list, _ = yamltext.Parse(t.content, math.MaxInt32) // the scan has parsed and bounded it
	t.parsed = weak.Make(d)
	return d
}

// find returns where the document of a kind and name is; else the only document,
// else the file.
func (d *documents) find(document id) repolayout.Position {
	for _, n := range d.list {
		if scalar(n, "kind") == document.kind && scalar(n, "metadata", "name") == document.name {
			return inDocument{d.file, n}
		}
	}
	if len(d.list) == 1 {
		return inDocument{d.file, d.list[0]}
	}
	return fixed{file: d.file}
}

// inDocument finds fields in a document of a file.
type inDocument struct {
	file string
	root *yaml.Node
}

// At returns the line of a field; of its nearest parent where the field is not
// written; else that of the document.
func (d inDocument) At(field string) (string, int) {
	if line := repolayout.Line(d.root, field); line > 0 {
		return d.file, line
	}
	return d.file, d.root.Line
}
