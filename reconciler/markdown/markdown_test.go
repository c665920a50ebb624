// SPDX-License-Identifier: Apache-2.0

package markdown

import (
	"strings"
	"testing"
)

// FuzzText feeds the escaping: one line comes out, nothing grows out of bounds,
// and nothing is left that opens HTML, a link, code or a cell.
func FuzzText(f *testing.F) {
	f.Add("a | b `c` <!-- x --> [l](u) @me @{5:x}")
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
		for _, after := range strings.Split(out, "@")[1:] {
			if after != "" && !strings.HasPrefix(after, "\u200b") && !strings.HasPrefix(after, " ") && !strings.HasPrefix(after, "\ufffd") {
				t.Errorf("%q: %q mentions somebody", s, out)
			}
		}
		if c := Code(s); strings.ContainsAny(c, "\n\r") {
			t.Errorf("%q: code of more than one line: %q", s, c)
		}
	})
}

// TestMentions: each forge has a way of its own to name somebody.
func TestMentions(t *testing.T) {
	for _, name := range []string{"@me", "@{557058:a-b}", `@"a b"`, "@_x", "@.x", "@-x"} {
		for what, got := range map[string]string{"text": Text("see " + name), "quiet": Quiet("see " + name)} {
			if !strings.Contains(got, "@\u200b") {
				t.Errorf("%s: %q mentions somebody", what, got)
			}
		}
	}
	if got := Quiet("a@b.example.com, x @ y, @"); got != "a@b.example.com, x @ y, @" {
		t.Errorf("%q", got)
	}
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
