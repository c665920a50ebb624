// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

func TestSyntax(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		line         int
		want         string
	}{
		"Key":       {"the parser counts from 0", "a:\n  b: 1\n c: 2\n", 3, "did not find expected key"},
		"FirstLine": {"the parser leaves line 0 out", "[1}\n", 1, "did not find expected ',' or ']'"},
		"List":      {"the line where the list begins", "a:\n- 1\n- 2\n  b\nc: [1\n", 5, "did not find expected ',' or ']'"},
		"Tag":       {"a message that names no expectation", "a: 1\nb: 2\nc: !x!y 3\n", 3, "found undefined tag handle"},
		"Directive": {"a directive has the line of its own", "%YAML 1.1\n%YAML 1.1\n---\na: 1\n", 2, "found duplicate %YAML directive"},
		"Scanner":   {"the scanner counts from 1", "a: 1\nb:\n\tc: 1\n", 3, "found character that cannot start any token"},
		"End":       {"what is missing at the end is missing on the last line", "a: 1\nb: \"\n\n\n", 2, "found unexpected end of stream"},
		"Character": {"the reader knows no lines: the first such character is looked for", "a: 1\nb: \x00\n", 2, "control characters are not allowed"},
		"NoUTF8":    {"and the first byte that is no UTF-8", "a: ä\nb: \xff\n", 2, "invalid leading UTF-8 octet"},
	} {
		t.Run(name, func(t *testing.T) {
			err := yaml.Unmarshal([]byte(c.text), &yaml.Node{})
			if err == nil {
				t.Fatalf("%s: the text parses", c.reason)
			}
			line, message := finding.Syntax([]byte(c.text), err)
			if line != c.line || !strings.HasPrefix(message, "this is no YAML: "+c.want) {
				t.Errorf("%s: got line %d and %q, want line %d and %q", c.reason, line, message, c.line, c.want)
			}
		})
	}
}
