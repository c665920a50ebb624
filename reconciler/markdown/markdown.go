// SPDX-License-Identifier: Apache-2.0

// Package markdown makes what somebody else wrote safe to stand in Markdown: a
// message, a name or a value shows as it was written, and can neither format,
// link, mention, end a table, nor hide anything.
//
// It knows the flavour that forges render, GitHub's, and nothing of Espalier.
package markdown

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxText bounds one message or value, in characters.
const MaxText = 600

// None is what stands where nothing exists.
const None = "–"

// Text makes what somebody else wrote safe to stand in Markdown, also within a
// table: it shows as it was written and can neither format, link, mention, close
// the table, nor hide anything.
func Text(s string) string {
	s = Clean(s, MaxText)
	var b strings.Builder
	previous := rune(0)
	for i, r := range s {
		next, _ := utf8.DecodeRuneInString(s[i+utf8.RuneLen(r):])
		if formats(s[:i], previous, r, next) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
		if mentions(r, next) || strings.ContainsRune("#!", r) && isWord(next) || address(s[:i], r, next) {
			// Forges look for mentions, references and addresses in the rendered text,
			// where an escape is gone: a character without width parts the sign from
			// the name.
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
	case strings.ContainsRune("\\`*_[]<>|~&$", r), address(before, r, next):
		return true
	}
	return false
}

// address says whether a character is where forges take a text for an address.
func address(before string, r, next rune) bool {
	return r == ':' && next == '/' || r == '.' && strings.HasSuffix(strings.ToLower(before), "www")
}

func isNumber(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// Cell is code within a table, which ends its cell at a bar even within code, and
// takes the escape away.
func Cell(s string) string { return strings.ReplaceAll(Code(s), "|", `\|`) }

// Code shows a name or value literally. Empty: a dash.
func Code(s string) string {
	s = Clean(s, MaxText)
	if s == "" {
		return None
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

// Clean makes one line of a text, without control characters and those that turn
// the direction of reading, of at most limit characters.
func Clean(s string, limit int) string {
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

// Quiet parts @ and # from a name after them: forges mail whoever a commit
// message mentions, and close the issues it names.
func Quiet(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		b.WriteRune(r)
		inWord := i > 0 && isWord(runes[i-1])
		if i+1 < len(runes) && (!inWord && mentions(r, runes[i+1]) || r == '#' && isWord(runes[i+1])) {
			b.WriteRune('\u200b')
		}
	}
	return b.String()
}

// mentions says whether a character and the next begin a mention: of a name, of a name in
// quotes, and in Bitbucket Cloud of an account in braces.
func mentions(r, next rune) bool {
	return r == '@' && next != utf8.RuneError && !unicode.IsSpace(next)
}
