// SPDX-License-Identifier: Apache-2.0

package yamltext

import (
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// check refuses what a later reader would choke on: keys that are set twice,
// deep nesting, for which Kustomize indents every level again, and aliases that
// expand to more than limit bytes.
func check(doc *yaml.Node, limit int) error {
	c := counter{sizes: map[*yaml.Node]int{}, limit: limit}
	if _, err := c.expanded(doc, 0); err != nil {
		return err
	}
	if c.added > limit {
		return at(c.line, "%w: more than %d bytes", ErrExpands, limit)
	}
	return nil
}

func at(line int, format string, args ...any) error {
	return &Error{Line: line, Err: fmt.Errorf(format, args...)}
}

// counter walks a document once; sizes holds, for each node, the bytes it
// expands to, and inProgress while the node is being counted.
type counter struct {
	sizes map[*yaml.Node]int
	limit int
	added int // bytes that aliases add
	line  int // of the first alias that went over the limit
}

const inProgress = -1

func (c *counter) expanded(n *yaml.Node, depth int) (int, error) {
	if n.Kind == yaml.AliasNode {
		return c.alias(n)
	}
	if size, ok := c.sizes[n]; ok {
		return size, nil
	}
	if depth > finding.MaxDepth {
		return 0, at(n.Line, "nested deeper than %d levels", finding.MaxDepth)
	}
	if err := keys(n); err != nil {
		return 0, err
	}
	c.sizes[n] = inProgress
	size := min(nodeBytes+len(n.Value), c.limit+1)
	for _, child := range n.Content {
		s, err := c.expanded(child, depth+1)
		if err != nil {
			return 0, err
		}
		size = min(size+s, c.limit+1) // saturates: the real number may not fit an int
	}
	c.sizes[n] = size
	return size, nil
}

func (c *counter) alias(n *yaml.Node) (int, error) {
	size, ok := c.sizes[n.Alias]
	if !ok || size == inProgress {
		return 0, at(n.Line, "alias %.40q contains itself", n.Value)
	}
	c.added = min(c.added+size, c.limit+1)
	if c.added > c.limit && c.line == 0 {
		c.line = n.Line
	}
	return size, nil
}

// keys refuses keys of a mapping that are too long or set twice, as strict
// decoding does later, without the line.
func keys(n *yaml.Node) error {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if k.Kind != yaml.ScalarNode || k.ShortTag() == "!!merge" {
			continue
		}
		if len(k.Value) > finding.MaxKey {
			return at(k.Line, "a key of %d bytes; at most %d are possible", len(k.Value), finding.MaxKey)
		}
		if line, twice := lines[k.Value]; twice {
			return at(k.Line, "%s is set twice, first on line %d: keep one", k.Value, line)
		}
		lines[k.Value] = k.Line
	}
	return nil
}
