// SPDX-License-Identifier: Apache-2.0

package build

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestHasSecret: a file in which a Secret is written is no text that others are told by.
func TestHasSecret(t *testing.T) {
	for name, c := range map[string]struct {
		reason, text string
		want         bool
	}{
		"Secret":    {"It is one.", "kind: Secret\nstringData: {a: b}", true},
		"InList":    {"One of several.", "kind: List\nitems:\n- kind: ConfigMap\n- kind: Secret\n", true},
		"List":      {"Several.", "kind: SecretList", true},
		"Generator": {"Its literals are there.", "secretGenerator:\n- name: s\n  literals: [a=b]", true},
		"Workspace": {"It names one, and holds none.", "kind: Workspace\nspec: {inference: {preset: {pullSecrets: [a]}}}", false},
		"Scalar":    {"A word.", "Secret", false},
	} {
		t.Run(name, func(t *testing.T) {
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(c.text), &doc); err != nil {
				t.Fatal(err)
			}
			if got := hasSecret(&doc); got != c.want {
				t.Errorf("%s\n%v, want %v", c.reason, got, c.want)
			}
		})
	}
	text := []byte("kind: Secret\nmetadata: {name: one}\nstringData: {a: a text that is long enough}\n")
	for range 2 {
		if held := keep("Secret", text, false).Held(); held != len(text) {
			t.Errorf("%d bytes of a Secret of %d are held: it is told by another", held, len(text))
		}
	}
}
