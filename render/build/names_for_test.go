// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"strings"
	"testing"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// TestNamesFor: Kustomize is told of a field where it may be, and where what it
// names may be.
func TestNamesFor(t *testing.T) {
	const config1, secret = "spec/tuning/config", "spec/tuning/output/pushSecret"
	for name, c := range map[string]struct {
		reason, text string
		want, not    []string
		all          bool
	}{
		"Nothing":   {"neither a field nor an object", "kind: Workspace\nspec: {resource: {count: 2}}\n", nil, []string{"fieldSpecs"}, false},
		"Field":     {"the field alone: nothing of the unit has the name", "kind: Workspace\nspec: {tuning: {config: a}}\n", nil, []string{"fieldSpecs"}, false},
		"Both":      {"the field and the kind", "kind: Workspace\nspec: {tuning: {config: a}}\n---\nkind: ConfigMap\n", []string{config1}, []string{secret}, false},
		"Generated": {"a generator makes the kind", "kind: Workspace\nspec: {tuning: {config: a, output: {pushSecret: b}}}\nsecretGenerator: []\nconfigMapGenerator: []\n", []string{config1, secret}, nil, false},
		"Patch":     {"a path of a JSON patch is words too", "kind: Workspace, Secret\n- {op: add, path: /spec/tuning/output, value: {pushSecret: x}}\n", []string{secret}, nil, false},
		"Part":      {"pushSecret is not the kind Secret", "kind: Workspace\nspec: {tuning: {output: {pushSecret: b}}}\n", nil, []string{secret}, false},
		"Escaped":   {"a word that may be spelled otherwise", `kind: "Config\u004dap"`, nil, nil, true},
		"Composed":  {"a word that may be put together", "replacements: []", nil, nil, true},
		"Wide":      {"two bytes a letter", "k\x00i\x00", nil, nil, true},
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
