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
// the native form has the field they stand at; what has no place there is a
// warning. The text is nil when one of the findings is an error.
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
	c := commenter{from: from.Content[0], to: d.Workspace}
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
		text = plain // a comment that the encoder cannot place; the meaning comes first
	}
	return text, append(findings, c.left(&from, text, pos, identity(d))...), nil
}

func identity(d Decoded) string {
	kind, namespace, name := d.identity()
	return object(kind, namespace, name)
}

// left lists what the native form has no place for: comments, and the name of
// a tuning input, which names a container in KAITO.
func (c commenter) left(from *yaml.Node, text []byte, pos Position, object string) []v1alpha1.Finding {
	kept := map[string]int{}
	for line := range bytes.Lines(text) {
		if i := bytes.IndexByte(line, '#'); i >= 0 {
			kept[string(bytes.TrimSpace(line[i:]))]++
		}
	}
	var problems []finding.Problem
	lose := func(line int, format string, args ...any) {
		p := finding.Warningf(finding.NotConverted, "", format, args...)
		p.Line = line
		problems = append(problems, p)
	}
	eachComment(from, func(line int, comment string) {
		if kept[comment]--; kept[comment] < 0 {
			lose(line, "the comment is left out, since its field has no counterpart: %.100s", comment)
		}
	})
	if w := c.to; w != nil && w.Spec.Resource.Provider == v1alpha1.ProviderExisting && w.Spec.Resource.NodePool == "" && len(w.Spec.Resource.CandidateList()) == 0 {
		lose(0, "resource.instanceType is left to spec.defaults.instanceType of the RepoSync: add it where Flux or kubectl applies the file")
	}
	if c.kind != "" {
		if k, _, whole := follow(c.from, "tuning.input.name"); whole {
			lose(k.Line, "tuning.input.name is left out: it names a container in KAITO")
		}
	}
	return place(problems, pos, object)
}

// eachComment visits the lines of all comments below n; line is that of the
// node they stand at.
func eachComment(n *yaml.Node, visit func(line int, comment string)) {
	for _, block := range []string{n.HeadComment, n.LineComment, n.FootComment} {
		for line := range strings.Lines(block) {
			if text := strings.TrimSpace(line); text != "" {
				visit(max(n.Line, 1), text)
			}
		}
	}
	for _, child := range n.Content {
		eachComment(child, visit)
	}
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
	to   *v1alpha1.Workspace
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
