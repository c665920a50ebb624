// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Fixer is a Position that has the text it points into.
type Fixer interface {
	// Fix makes of a fix of a word one of the line that it stands on: InLine of that
	// line.
	Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix
}

// Instead is a problem with the word that was meant in the place of the one that
// was written.
func (p Problem) Instead(written, meant string) Problem {
	p.Fix = v1alpha1.Fix{Old: written, New: meant}
	return p
}

// Renamed is the same of the name of a field.
func (p Problem) Renamed(written, meant string) Problem {
	p.Fix = v1alpha1.Fix{Old: written, New: meant, Key: true}
	return p
}

// FixAt is a fix of a word for a finding that was placed; none where the position has
// no text. Of a Secret there is none: a line of it may hold what nobody may read.
func FixAt(pos Position, f v1alpha1.Finding, word v1alpha1.Fix) v1alpha1.Fix {
	at, reads := pos.(Fixer)
	if word.None() || !reads || strings.HasPrefix(f.Object, "Secret/") {
		return v1alpha1.Fix{}
	}
	return at.Fix(f.File, f.Line, word)
}

// maxFixed is the longest line that is mended, in bytes: a longer one is written by
// a program, or holds a text of its own.
const maxFixed = 300

// plainWord is what can stand in YAML with quotes and without, and means the same.
var plainWord = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/:@-]*[A-Za-z0-9]$`)

// secretName is a field whose value nobody should read, with a value on its line.
var secretName = regexp.MustCompile(`(?i)(passw(or)?d|token|api[_-]?key|private[_-]?key|credentials?|\bsecret)["']?\s*[:=]\s*["']?[^\s"'{\[,}]`)

// secretValue is what tokens look like: one of a known kind, or a long run of letters
// and digits. The hash of a commit is taken for one too.
var secretValue = regexp.MustCompile(`\b(hf_|gh[a-z]_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|eyJ)[A-Za-z0-9_-]{8}|[A-Za-z0-9]{24}`)

// secretive says whether a line may hold what nobody should read.
func secretive(line string) bool {
	return strings.Contains(line, "://") || secretName.MatchString(line) || secretValue.MatchString(line)
}

// InLine puts the word that was meant into the place of the one that was written,
// where a line holds that once, and as what it is taken for, a value or the name of a
// field. Lines with an anchor or an alias stand for other places too, and some look as
// if they held a password or a token: they are left alone.
func InLine(line string, word v1alpha1.Fix) v1alpha1.Fix {
	line = strings.TrimRight(line, "\r\n")
	code := line[:comment(line)]
	switch {
	case len(line) > maxFixed || !utf8.ValidString(line) || strings.ContainsFunc(line, unprintable):
		return v1alpha1.Fix{}
	case strings.ContainsAny(code, "&*") || secretive(line):
		return v1alpha1.Fix{}
	case word.Old == "" || !plainWord.MatchString(word.New):
		return v1alpha1.Fix{}
	}
	at, once := find(code, word.Old)
	end := at + len(word.Old)
	if !once || named(code[end:]) != word.Key {
		return v1alpha1.Fix{}
	}
	mended := line[:at] + word.New + line[end:]
	if secretive(mended) { // the misspelled name of a field tells nothing
		return v1alpha1.Fix{}
	}
	return v1alpha1.Fix{Old: line, New: mended}
}

func unprintable(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }

// comment is where the comment of a line begins; its length where it has none. A sign
// within quotes is taken for one too: then the word is not found.
func comment(line string) int {
	if strings.HasPrefix(line, "#") {
		return 0
	}
	for i := 1; i < len(line); i++ {
		if line[i] == '#' && (line[i-1] == ' ' || line[i-1] == '\t') {
			return i
		}
	}
	return len(line)
}

// find returns where a word stands in a text, and whether that is once.
func find(text, word string) (at int, once bool) {
	at = -1
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return at, at >= 0
		}
		begin, end := from+i, from+i+len(word)
		if !joins(text[:begin], false) && !joins(text[end:], true) {
			if at >= 0 {
				return at, false
			}
			at = begin
		}
		from = begin + 1
	}
}

// joins says whether what stands before or after a word makes it a part of a longer
// one. A colon after it does where no space follows.
func joins(beside string, after bool) bool {
	if beside == "" {
		return false
	}
	if after && beside[0] == ':' {
		return len(beside) > 1 && !strings.ContainsRune(" \t\"'", rune(beside[1]))
	}
	r, _ := utf8.DecodeRuneInString(beside)
	if !after {
		r, _ = utf8.DecodeLastRuneInString(beside)
	}
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`_-./:@$\+%=`, r) || !after && strings.HasSuffix(beside, "${")
}

// named says whether a word that this follows is the name of a field.
func named(after string) bool {
	return strings.HasPrefix(strings.TrimLeft(after, "\"' \t"), ":")
}

// Agree drops the fixes of findings that would make different things of one line:
// which of them is right, only a person can say.
func Agree(findings []v1alpha1.Finding) {
	type place struct {
		file string
		line int
	}
	said, torn := map[place]v1alpha1.Fix{}, map[place]bool{}
	for _, f := range findings {
		at := place{f.File, f.Line}
		if before, ok := said[at]; ok && !f.Fix.None() && before != f.Fix {
			torn[at] = true
		}
		if !f.Fix.None() {
			said[at] = f.Fix
		}
	}
	for i, f := range findings {
		if torn[place{f.File, f.Line}] {
			findings[i].Fix = v1alpha1.Fix{}
		}
	}
}
