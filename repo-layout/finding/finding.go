// SPDX-License-Identifier: Apache-2.0

// Package finding is how everything in the repository's contract says what is
// wrong with a document: a stable code, the field, and a sentence with the
// remedy in it.
//
// It decides nothing: it holds the codes, and turns a field of a document into
// a file and a line. A message never repeats the content of a Secret.
package finding

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Values of v1alpha1.Finding.Severity. An error is what the controller
// refuses; a warning is what it applies all the same.
const (
	Error   = "error"
	Warning = "warning"
)

// Position maps a field of a decoded document to where it was written.
type Position interface {
	// At returns file and line of a field such as "spec.tuning.input.urls[0]";
	// "" is the document itself. Line 0: not known.
	At(field string) (file string, line int)
}

// Problem is a finding that knows its field but not yet its line.
type Problem struct {
	Severity string
	Code     string
	// Field is the path as the document spells it, "" for the whole document.
	Field string
	// Line within the document, from 1, where there is no field to name: the
	// text did not parse. 0 otherwise.
	Line int
	// Entry of the ConfigMap that Field names, where the mistake is in there.
	Entry   Entry
	Message string
	// Fix is the word that was written, and the one that was meant; empty where that
	// is not certain.
	Fix v1alpha1.Fix
}

// Entry is a place in a text that a ConfigMap holds.
type Entry struct {
	// Key of the ConfigMap, "" for none.
	Key string
	// Line within the text, from 1; 0 for the text as a whole.
	Line int
}

// EntryPosition is a Position that knows where entries of the ConfigMap that a
// field names were written.
type EntryPosition interface {
	// AtEntry returns false where it is not known.
	AtEntry(field string, e Entry) (file string, line int, ok bool)
}

// In says where in a ConfigMap a problem is.
func (p Problem) In(e Entry) Problem {
	p.Entry = e
	return p
}

// Sentence is the message with the entry of the ConfigMap that it is about.
func (p Problem) Sentence() string {
	switch {
	case p.Entry.Key == "":
		return p.Message
	case p.Entry.Line == 0:
		return p.Entry.Key + ": " + p.Message
	}
	return fmt.Sprintf("%s: line %d: %s", p.Entry.Key, p.Entry.Line, p.Message)
}

// Errorf is a problem for which the document is refused.
func Errorf(code, field, format string, args ...any) Problem {
	return Problem{Severity: Error, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Warningf is a problem with which the document is accepted.
func Warningf(code, field, format string, args ...any) Problem {
	return Problem{Severity: Warning, Code: code, Field: field, Message: fmt.Sprintf(format, args...)}
}

// At places a problem in a file. The message leads with the field, since a
// line may hold several.
func (p Problem) At(pos Position, object string) v1alpha1.Finding {
	f := v1alpha1.Finding{Severity: p.Severity, Code: p.Code, Object: object, Message: p.Sentence()}
	entries, knows := pos.(EntryPosition)
	if p.Entry.Key != "" && knows {
		if file, line, ok := entries.AtEntry(p.Field, p.Entry); ok {
			f.File, f.Line = file, line
			f.Fix = FixAt(pos, f, p.Fix)
			f.Message = shorten(p.Entry.Key+" of "+object+": "+p.Message, maxMessage)
			return f
		}
	}
	if p.Field != "" {
		f.Message = shorten(p.Field, maxField) + ": " + f.Message
	}
	f.Message = shorten(f.Message, maxMessage)
	if pos == nil {
		return f
	}
	f.File, f.Line = pos.At(p.Field)
	if p.Line > 0 {
		f.Line = p.Line
		if d, ok := pos.(interface{ DocumentLine(int) int }); ok {
			f.Line = d.DocumentLine(p.Line)
		}
	}
	f.Fix = FixAt(pos, f, p.Fix)
	return f
}

// maxMessage and maxField bound a message, and the field within it, in bytes: a
// field's name may be as long as its author likes, and findings are kept in a
// status. What is said of a size, with the sum of the one that works, takes 700.
const (
	maxMessage = 1200
	maxField   = 160
)

func shorten(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	head := s[:limit]
	for len(head) > 0 && !utf8.ValidString(head) {
		head = head[:len(head)-1]
	}
	return head + "…"
}

// Refused says whether one of the findings is an error.
func Refused(findings []v1alpha1.Finding) bool {
	return slices.ContainsFunc(findings, func(f v1alpha1.Finding) bool { return f.Severity == Error })
}

// HasError says whether one of the problems is an error.
func HasError(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == Error })
}

// Sort orders findings by file, line, severity (errors first) and text, so that
// the same document always yields the same report.
func Sort(findings []v1alpha1.Finding) { slices.SortStableFunc(findings, Compare) }

// Compare is the order of Sort.
func Compare(a, b v1alpha1.Finding) int {
	return cmp.Or(
		strings.Compare(a.File, b.File),
		cmp.Compare(a.Line, b.Line),
		strings.Compare(a.Severity, b.Severity),
		strings.Compare(a.Message, b.Message),
	)
}

// Key appends a map key to a path: dotted where it reads as a field name, in
// brackets otherwise (metadata.annotations[kaito.sh/runtime]).
func Key(path, key string) string {
	plain := key != "" && !strings.ContainsFunc(key, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
	switch {
	case !plain:
		return path + "[" + key + "]"
	case path == "":
		return key
	}
	return path + "." + key
}

// Index appends a list index to a path.
func Index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// Location is file:line, without the line where it is not known.
func Location(file string, line int) string {
	if line == 0 {
		return file
	}
	return fmt.Sprintf("%s:%d", file, line)
}
