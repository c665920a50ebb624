// SPDX-License-Identifier: Apache-2.0

package markdown

import (
	"strings"
	"testing"
)

// FuzzText feeds the escaping: one line comes out, nothing grows out of bounds,
// and nothing is left that opens HTML, a link, code or a cell.
func FuzzText(f *testing.F) {
	f.Add("a | b `c` <!-- x --> [l](u) @me")
	f.Add("\\| \\` \xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		out := Text(s)
		if strings.ContainsAny(out, "\n\r") {
			t.Errorf("%q: more than one line: %q", s, out)
		}
		escaped := false
		for _, r := range out {
			if !escaped && strings.ContainsRune("|`<[", r) {
				t.Errorf("%q: %q is not escaped in %q", s, r, out)
			}
			escaped = r == '\\' && !escaped
		}
		if c := Code(s); strings.ContainsAny(c, "\n\r") {
			t.Errorf("%q: code of more than one line: %q", s, c)
		}
	})
}

// TestAddresses: Gitea links what looks like an address in the rendered text,
// where an escape is gone.
func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"see https://evil.example.com": "see https\\:\u200b//evil.example.com",
		"WWW.evil.example.com":         "WWW\\.\u200bevil.example.com",
		"a: b/c, x.y":                  "a: b/c, x.y",
	} {
		if got := Text(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
