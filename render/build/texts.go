// SPDX-License-Identifier: Apache-2.0

package build

import (
	"maps"
	"math"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"weak"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// texts are the YAML files of a unit, in the order of their paths.
type texts []*text

// text is a file that is parsed when somebody asks for a field, and again when
// the memory was needed meanwhile: most are never asked.
type text struct {
	path    string
	content string
	asked   atomic.Pointer[asked] // nil: never
}

// asked is what was made of a text for those who asked.
type asked struct {
	mu     sync.Mutex
	parsed weak.Pointer[documents]

	index sync.Once
	ends  []int // of the lines of content, once somebody has asked for one
}

func (t *text) ask() *asked {
	if known := t.asked.Load(); known != nil {
		return known
	}
	t.asked.CompareAndSwap(nil, &asked{})
	return t.asked.Load()
}

// line is a line of the file, from 1; "" for one that is not there.
func (t *text) line(n int) string {
	a := t.ask()
	a.index.Do(func() {
		for line := range strings.Lines(t.content) {
			a.ends = append(a.ends, len(line))
			if last := len(a.ends) - 1; last > 0 {
				a.ends[last] += a.ends[last-1]
			}
		}
	})
	if n < 1 || n > len(a.ends) {
		return ""
	}
	start := 0
	if n > 1 {
		start = a.ends[n-2]
	}
	return strings.Clone(t.content[start:a.ends[n-1]]) // who is told of it shall not hold all
}

// documents of a file. They are not changed once made.
type documents struct {
	file string
	list []*yaml.Node
}

func newTexts(files map[string][]byte, docs map[string][]*yaml.Node) texts {
	t := make(texts, 0, len(docs))
	for _, name := range slices.Sorted(maps.Keys(docs)) {
		t = append(t, &text{path: name, content: string(files[name])})
	}
	return t
}

func (t texts) sort() {
	slices.SortFunc(t, func(a, b *text) int { return strings.Compare(a.path, b.path) })
}

// hasSecret says that what a Secret holds may be written somewhere in a document, in plain text.
func hasSecret(n *yaml.Node) bool {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			key, value := n.Content[i].Value, n.Content[i+1].Value
			if key == "secretGenerator" || key == "kind" && strings.HasPrefix(value, "Secret") {
				return true
			}
		}
	}
	return slices.ContainsFunc(n.Content, hasSecret)
}

// file is one of them, nil where there is none.
func (t texts) file(path string) *text {
	i, ok := sort.Find(len(t), func(i int) int { return strings.Compare(path, t[i].path) })
	if !ok {
		return nil
	}
	return t[i]
}

// path is the path of a file as it is held with the text.
func (t texts) path(file string) string {
	if known := t.file(file); known != nil {
		return known.path
	}
	return file
}

// of returns the documents of a file, none of one that is not there.
func (t texts) of(file string) *documents {
	known := t.file(file)
	if known == nil {
		return &documents{file: file}
	}
	return known.parse()
}

// names of the files in order.
func (t texts) names() []string {
	names := make([]string, len(t))
	for i := range t {
		names[i] = t[i].path
	}
	return names
}

func (t *text) parse() *documents {
	a := t.ask()
	a.mu.Lock()
	defer a.mu.Unlock()
	if known := a.parsed.Value(); known != nil {
		return known
	}
	d := &documents{file: t.path}
	d.list, _ = yamltext.Parse([]byte(t.content), math.MaxInt32) // the scan has parsed and bounded it
	a.parsed = weak.Make(d)
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
