// SPDX-License-Identifier: Apache-2.0

// Package strict reads one YAML document the way a reviewer does: every key
// that the type does not have, every value of the wrong kind, all of them at
// once and each by its field.
//
// Unsafe input is ordinary input: size, depth and the expansion of aliases are
// bounded. It never panics and never touches a file or the network.
package strict

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Bounds of a document.
const (
	// MaxBytes is etcd's default request limit: nothing larger can be applied.
	MaxBytes = 1536 * 1024
	// maxAliased is how many nodes may be read through aliases: enough for any
	// honest use, and a bound on documents made to explode.
	maxAliased = 10_000
)

// Parse reads one document into maps, lists, strings, bools, int64 and float64.
func Parse(doc []byte) (map[string]any, []finding.Problem) {
	if len(doc) > MaxBytes {
		return nil, []finding.Problem{finding.Errorf(finding.DocumentTooLarge, "",
			"the document has %d KiB; Kubernetes stores at most %d KiB in one object: split it", len(doc)/1024, MaxBytes/1024)}
	}
	d := yaml.NewDecoder(bytes.NewReader(doc))
	var first, second yaml.Node
	if err := d.Decode(&first); errors.Is(err, io.EOF) {
		return nil, []finding.Problem{finding.Errorf(finding.NotAnObject, "", "the document is empty")}
	} else if err != nil {
		return nil, []finding.Problem{syntax(doc, err)}
	}
	if err := d.Decode(&second); err == nil {
		p := finding.Errorf(finding.NotAnObject, "", "a second document begins here; one was expected")
		p.Line = second.Line
		return nil, []finding.Problem{p}
	} else if !errors.Is(err, io.EOF) {
		return nil, []finding.Problem{syntax(doc, err)}
	}
	if len(first.Content) != 1 || first.Content[0].Kind != yaml.MappingNode {
		return nil, []finding.Problem{finding.Errorf(finding.NotAnObject, "",
			"this is no Kubernetes object: begin with apiVersion and kind")}
	}
	r := reader{}
	tree, _ := r.value(first.Content[0], "", 0).(map[string]any)
	return tree, r.problems
}

// syntax makes a problem of yaml's own error.
func syntax(doc []byte, err error) finding.Problem {
	line, text := finding.Syntax(doc, err)
	p := finding.Errorf(finding.InvalidYAML, "", "%s", text)
	p.Line = line
	return p
}

type reader struct {
	problems  []finding.Problem
	aliased   int
	following []*yaml.Node // what the aliases that are being read stand for
	stopped   bool
}

// value turns a node into plain Go values. Problems end up in r; what has one
// is left out.
func (r *reader) value(n *yaml.Node, path string, depth int) any {
	if r.stopped {
		return nil
	}
	if depth > finding.MaxDepth {
		r.stop(n, "nested deeper than %d levels", finding.MaxDepth)
		return nil
	}
	if len(r.following) > 0 {
		if r.aliased++; r.aliased > maxAliased {
			r.stop(n, "aliases expand to more than %d values", maxAliased)
			return nil
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.alias(n, path, depth)
	case yaml.MappingNode:
		return r.mapping(n, path, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for i, item := range n.Content {
			list = append(list, r.value(item, finding.Index(path, i), depth+1))
		}
		return list
	case yaml.ScalarNode:
		return scalar(n)
	}
	return nil
}

// alias reads what an alias stands for.
func (r *reader) alias(n *yaml.Node, path string, depth int) any {
	if n.Alias == nil || slices.Contains(r.following, n.Alias) {
		r.stop(n, "alias %.40q contains itself", n.Value)
		return nil
	}
	r.following = append(r.following, n.Alias)
	v := r.value(n.Alias, path, depth+1)
	r.following = r.following[:len(r.following)-1]
	return v
}

func (r *reader) mapping(n *yaml.Node, path string, depth int) any {
	m := make(map[string]any, len(n.Content)/2)
	seen := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			r.merge(m, seen, v, path, depth)
			continue
		}
		if k.Kind != yaml.ScalarNode {
			r.add(k, "a key must be text")
			continue
		}
		if len(k.Value) > finding.MaxKey {
			r.add(k, "a key of %d bytes; at most %d are possible", len(k.Value), finding.MaxKey)
			continue
		}
		if line, twice := seen[k.Value]; twice && line > 0 {
			r.add(k, "%s is set twice, first on line %d of this document: keep one", finding.Key(path, k.Value), line)
			continue
		}
		seen[k.Value] = max(k.Line, 1)
		m[k.Value] = r.value(v, finding.Key(path, k.Value), depth+1)
	}
	return m
}

// merge adds the keys of a YAML merge (<<), which the mapping's own keys win
// over; seen holds 0 for a merged key, so that an own key may follow.
func (r *reader) merge(m map[string]any, seen map[string]int, v *yaml.Node, path string, depth int) {
	from := r.value(v, path, depth+1)
	sources, isList := from.([]any)
	if !isList {
		sources = []any{from}
	}
	for _, s := range sources {
		source, ok := s.(map[string]any)
		if !ok && !r.stopped {
			r.add(v, "<< merges mappings only")
		}
		for key, value := range source {
			if _, set := seen[key]; !set {
				m[key], seen[key] = value, 0
			}
		}
	}
}

func (r *reader) add(n *yaml.Node, format string, args ...any) {
	p := finding.Errorf(finding.InvalidYAML, "", format, args...)
	p.Line = n.Line
	r.problems = append(r.problems, p)
}

func (r *reader) stop(n *yaml.Node, format string, args ...any) {
	r.add(n, format, args...)
	r.stopped = true
}

// scalar keeps what JSON can say; a date, a binary, an infinity stay the text
// they were written as.
func scalar(n *yaml.Node) any {
	switch n.ShortTag() {
	case "!!null":
		return nil
	case "!!bool", "!!int", "!!float":
	default:
		return n.Value
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return n.Value
	}
	switch v := v.(type) {
	case bool:
		return v
	case int:
		return int64(v)
	case int64:
		return v
	case uint64:
		return float64(v)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return n.Value
		}
		return v
	}
	return n.Value
}
