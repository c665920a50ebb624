// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"strings"
)

// body is a whole comment in pieces: whose it is, the Workspaces that the pull
// request changes, the plan, and once it is merged what becomes of them.
type body struct {
	mark    mark
	touched []Touched
	more    int   // further Workspaces that are not named
	asked   int64 // the newest remark that asked for the plan
	plan    string
	after   *after
}

// after is the part of a comment that speaks of the time after the merge.
type after struct {
	edits int  // how often it was written
	ended bool // nothing more will be said
	words string
}

const (
	askedFormat = "<!-- espalier-asked %d -->\n"
	afterFormat = "<!-- espalier-progress %d %t -->\n"
	planBegin   = "<details><summary>The plan, as it was before the merge</summary>\n\n"
	planEnd     = "\n</details>\n"
	planDropped = "The plan, as it was before the merge, is in the history of this comment.\n"
)

// text is the comment, of at most limit bytes: the plan goes where it has no place.
func (b body) text(limit int) string {
	head := b.mark.String() + touchedLine(b.touched, b.more)
	if b.asked > 0 {
		head += fmt.Sprintf(askedFormat, b.asked)
	}
	if b.after == nil {
		return head + b.plan
	}
	head += fmt.Sprintf(afterFormat, b.after.edits, b.after.ended) + b.after.words + "\n"
	switch whole := head + planBegin + b.plan + planEnd; {
	case b.plan == "" || len(whole) > limit:
		return head + planDropped
	default:
		return whole
	}
}

// readBody takes a comment apart; false where it is not one of this kind.
func readBody(text string) (body, bool) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	m, ok := readMark(text)
	if !ok {
		return body{}, false
	}
	b := body{mark: m}
	_, rest, _ := strings.Cut(text, "\n")
	line, rest, _ := strings.Cut(rest, "\n")
	if b.touched, b.more, ok = readTouched(line + "\n"); !ok {
		return body{}, false
	}
	line, words, _ := strings.Cut(rest, "\n")
	if n, err := fmt.Sscanf(line+"\n", askedFormat, &b.asked); err == nil && n == 1 {
		rest = words
		line, words, _ = strings.Cut(rest, "\n")
	}
	var a after
	if n, err := fmt.Sscanf(line+"\n", afterFormat, &a.edits, &a.ended); err != nil || n != 2 {
		b.plan = rest
		return b, true
	}
	b.after = &a
	// What was said after the merge holds no such line: it is escaped.
	a.words, b.plan, _ = strings.Cut(words, planBegin)
	a.words = strings.TrimSuffix(strings.TrimSuffix(a.words, planDropped), "\n")
	b.plan = strings.TrimSuffix(strings.TrimSuffix(b.plan, "\n"), strings.TrimSuffix(planEnd, "\n"))
	return b, true
}
