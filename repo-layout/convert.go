// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Convert writes a document in its native form and keeps its comments where
// the native form has the field they stand at. The text is nil when one of the
// findings is an error.
func Convert(doc []byte, pos Position) ([]byte, []v1alpha1.Finding, error) {
	d, findings := Decode(doc, pos)
	if finding.Refused(findings) {
		return nil, findings, nil
	}
	plain, err := Encode(d)
	if err != nil {
		return nil, findings, err
	}
	var from, to yaml.Node
	if err := yaml.Unmarshal(doc, &from); err != nil {
		return nil, findings, fmt.Errorf("reading comments: %w", err)
	}
	if err := yaml.Unmarshal(plain, &to); err != nil {
		return nil, findings, fmt.Errorf("reading the native form: %w", err)
	}
	c := commenter{from: from.Content[0]}
	if strings.HasPrefix(scalarAt(c.from, "apiVersion"), kaito.Group+"/") {
		c.kind = scalarAt(c.from, "kind")
	}
	to.HeadComment, to.FootComment = from.HeadComment, from.FootComment
	c.copy(to.Content[0], "")
	text, err := write(&to)
	if err != nil {
		return nil, findings, err
	}
	if !same(text, plain) {
		return plain, findings, nil // a comment that the encoder cannot place; the meaning comes first
	}
	return text, findings, nil
}

// same says whether a text means what the plain native form means.
func same(text, plain []byte) bool {
	d, findings := Decode(text, nil)
	if finding.Refused(findings) {
		return false
	}
	again, err := Encode(d)
	return err == nil && bytes.Equal(again, plain)
}

func write(n *yaml.Node) ([]byte, error) {
	var out bytes.Buffer
	e := yaml.NewEncoder(&out)
	e.SetIndent(2)
	e.CompactSeqIndent()
	if err := e.Encode(n); err != nil {
		return nil, fmt.Errorf("writing the native form: %w", err)
	}
	return out.Bytes(), nil
}

// commenter carries comments over, field by field.
type commenter struct {
	from *yaml.Node
	kind string // of the kaito.sh document, "" for our own
}

// copy walks the native form n at path.
func (c commenter) copy(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			at := finding.Key(path, n.Content[i].Value)
			if k, v := c.written(at); k != nil {
				comments(n.Content[i], k)
				comments(n.Content[i+1], v)
			}
			c.copy(n.Content[i+1], at)
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			at := finding.Index(path, i)
			if _, v := c.written(at); v != nil {
				comments(item, v)
			}
			c.copy(item, at)
		}
	}
}

// written finds the key and value that a native field was written as.
func (c commenter) written(path string) (k, v *yaml.Node) {
	if c.kind != "" {
		path = kaito.Field(c.kind, path)
	}
	if path == "" {
		return nil, nil
	}
	k, v, whole := follow(c.from, path)
	if !whole {
		return nil, nil
	}
	return k, v
}

func comments(to, from *yaml.Node) {
	to.HeadComment, to.LineComment, to.FootComment = from.HeadComment, from.LineComment, from.FootComment
}
