// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"strings"
	"testing"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// TestNamesFor: Kustomize is told of a field where it may be.
func TestNamesFor(t *testing.T) {
	const config1, secret = "spec/tuning/config", "spec/tuning/output/pushSecret"
	for name, c := range map[string]struct {
		reason, text string
		want, not    []string
		all          bool
	}{
		"Nothing":  {"no field that names anything", "kind: Workspace\nspec: {resource: {count: 2}}\n", nil, []string{"fieldSpecs"}, false},
		"Field":    {"the field, also where nothing has the name: one of another form is refused", "kind: Workspace\nspec: {tuning: {config: a}}\n", []string{config1}, []string{secret}, false},
		"Patch":    {"a path of a JSON patch is words too", "kind: Workspace\n- {op: add, path: /spec/tuning/output, value: {pushSecret: x}}\n", []string{secret}, nil, false},
		"Part":     {"pushSecretary is not pushSecret", "kind: Workspace\nspec: {tuning: {output: {pushSecretary: b}}}\n", nil, []string{secret}, false},
		"Escaped":  {"a word that may be spelled otherwise", `"con\u0066ig": a`, nil, nil, true},
		"Composed": {"a word that may be put together", "replacements: []", nil, nil, true},
		"Wide":     {"two bytes a letter", "k\x00i\x00", nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := namesFor(map[string][]byte{"a.yaml": []byte(c.text)})
			if err != nil {
				t.Fatal(err)
			}
			if all := bytes.Equal(got, config.Names()); all != c.all {
				t.Errorf("%s: all of it: %t, want %t", c.reason, all, c.all)
			}
			for _, want := range c.want {
				if !strings.Contains(string(got), want) {
					t.Errorf("%s: %s is not in %q", c.reason, want, got)
				}
			}
			for _, not := range c.not {
				if strings.Contains(string(got), not) {
					t.Errorf("%s: %s is in %q", c.reason, not, got)
				}
			}
		})
	}
}
