// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// shown maps a character to what stands for it in a block of code: control
// characters and those that turn the direction of reading are made visible.
func shown(r rune) rune {
	if r == '\t' {
		return r
	}
	if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u200b' || r == '\ufeff' || r == '\u2028' || r == '\u2029' {
		return utf8.RuneError
	}
	return r
}

// fenced puts a text into a block of code that nothing within it can end.
func fenced(language, text string) string {
	text = printable(strings.ToValidUTF8(text, string(utf8.RuneError)))
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	return fence + language + "\n" + text + fence + "\n"
}
