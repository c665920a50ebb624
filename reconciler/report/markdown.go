// SPDX-License-Identifier: Apache-2.0

package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds one message in the README, in characters.
const maxText = 600

// maxPlain bounds one value in a file for programs, in characters.
const maxPlain = 8192

// none is what stands where nothing exists.
const none = "–"

// text makes what somebody else wrote safe to stand in Markdown, also within a
// table: it shows as it was written and can neither format, link, mention, close
// the table, nor hide anything.
func text(s string) string {
	s = clean(s, maxText)
	var b strings.Builder
	previous := rune(0)
	for i, r := range s {
		next, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		if formats(s[:i], previous, r, next) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		if strings.ContainsRune("@#!", r) && isWord(next) {
			// Forges look for mentions and references in the rendered text, where an
			// escape is gone: a character without width parts the sign from the name.
			b.WriteRune('\u200b')
		}
		previous = r
	}
	return b.String()
}

// formats says whether a character would format or link where it stands: after
// before, which ends in previous, and before next.
func formats(before string, previous, r, next rune) bool {
	switch {
	case before == "" && strings.ContainsRune("#+-=", r), isNumber(before) && (r == '.' || r == ')'):
		return true // at the beginning of a line these make headings and lists
	case r == '_' && isWord(previous) && isWord(next):
		return false // within a word it formats nothing, and Standard_NC6s_v3 stays readable
	case strings.ContainsRune("\\`*_[]<>|~&$", r),
		r == ':' && next == '/',
		r == '.' && isWord(next) && strings.HasSuffix(strings.ToLower(before), "www"):
		return true
	}
	return false
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// cell is code within a table, which ends its cell at a bar even within code, and
// takes the escape away.
func cell(s string) string { return strings.ReplaceAll(code(s), "|", `\|`) }

// code shows a name or value literally. Empty: a dash.
func code(s string) string {
	s = clean(s, maxText)
	if s == "" {
		return none
	}
	fence := "`"
	for strings.Contains(s, fence) {
		fence += "`"
	}
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}

// clean makes one line of a text, without control characters and those that turn
// the direction of reading, of at most limit characters.
func clean(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u200b', r == '\ufeff':
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > limit {
		return string(runes[:limit]) + "…"
	}
	return s
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
