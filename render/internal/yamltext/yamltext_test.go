// SPDX-License-Identifier: Apache-2.0

package yamltext

import (
	"errors"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, text string
		limit        int
		docs, line   int
		err          string
	}{
		"Documents":     {reason: "empty documents are none", text: "a: 1\n---\n---\nb: 2\n", docs: 2, limit: 100},
		"Line":          {reason: "the line of a mistake", text: "a: 1\nb: [\nc: 2\n", line: 2, err: "no YAML", limit: 100},
		"LineOfSecond":  {reason: "counted from the first document", text: "a: 1\n---\nb:\n\tc: 1\n", line: 4, err: "no YAML", limit: 100},
		"FewAliases":    {reason: "aliases have their uses", text: "a: &a [1, 2]\nb: *a\n", docs: 1, limit: 100},
		"LongText":      {reason: "one long text, many times", text: "a: &a " + strings.Repeat("x", 90) + "\nb: *a\nc: *a\n", line: 3, err: "expand", limit: 100},
		"InItself":      {reason: "an alias within what it names", text: "a: &a {b: *a}\n", line: 1, err: "contains itself", limit: 100},
		"MergeKeyBomb":  {reason: "merge keys are aliases", text: "a: &a {x: " + strings.Repeat("y", 80) + "}\nb: {<<: *a}\nc: {<<: *a}\n", line: 3, err: "expand", limit: 120},
		"WithoutLimits": {reason: "what is written out is not counted", text: "a: " + strings.Repeat("x", 1000), docs: 1, limit: 1},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := Parse([]byte(tc.text), tc.limit)
			if tc.err == "" {
				if err != nil || len(docs) != tc.docs {
					t.Errorf("%s: %d documents, %v", tc.reason, len(docs), err)
				}
				return
			}
			var bad *Error
			if !errors.As(err, &bad) || bad.Line != tc.line || !strings.Contains(bad.Error(), tc.err) {
				t.Errorf("%s: got %+v, want line %d and %q", tc.reason, err, tc.line, tc.err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("a: &a [*a]"))
	f.Add([]byte("a: &a {b: 1}\nc: {<<: *a}\n---\n- x"))
	f.Fuzz(func(_ *testing.T, text []byte) {
		docs, err := Parse(text, 1000)
		if err != nil {
			return
		}
		for _, d := range docs {
			Line(d, "a", 0, "b")
		}
	})
}

// What Kustomize or a strict decoder would choke on later is refused here, where
// the line is known: 27 KB of nested mappings take Kustomize minutes and 26 GB.
func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		line         int
		err          string
	}{
		"Deep":       {"indentation grows with every level", "a:\n  " + strings.Repeat("{a: ", 9000) + "1" + strings.Repeat("}", 9000), 2, "nested deeper than 100 levels"},
		"DeepList":   {"lists are levels too", strings.Repeat("- ", 200) + "1\n", 1, "nested deeper"},
		"Twice":      {"the later reader knows no line", "a: 1\nb:\n  c: 1\n  c: 2\n", 4, "c is set twice, first on line 3: keep one"},
		"LongKey":    {"Kustomize writes it in a form that it cannot read", "a: 1\n? " + strings.Repeat("k", 2000) + "\n: 1\n", 2, "a key of 2000 bytes; at most 1024 are possible"},
		"InItsValue": {"a long value is none", "a: " + strings.Repeat("k", 2000) + "\n", 0, ""},
		"Merged":     {"merge keys may be several", "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse([]byte(c.text), 1<<20)
			if c.err == "" {
				if err != nil {
					t.Errorf("%s: %v", c.reason, err)
				}
				return
			}
			var bad *Error
			if !errors.As(err, &bad) || bad.Line != c.line || !strings.Contains(bad.Error(), c.err) {
				t.Errorf("%s: got %+v, want line %d and %q", c.reason, err, c.line, c.err)
			}
		})
	}
}
