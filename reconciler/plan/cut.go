// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
)

// comment is a plan in pieces that can be left out.
type comment struct {
	lead     string
	sections []section // in the order they are shown
}

// section is a list under a heading, of which the end can be left out.
type section struct {
	name    string
	before  string
	entries []string
	after   string // where there are entries
	left    int    // entries that were left out
}

// cuts are the sections in the order they are cut, and what the reader is told.
var cuts = []struct{ name, one, many string }{
	{"diffs", "rendered difference", "rendered differences"},
	{"fixes", "mended line", "mended lines"},
	{"warnings", "warning", "warnings"},
	{"rows", "changed object", "changed objects"},
	{"notes", "note", "notes"},
	{"errors", "error", "errors"},
}

// leftOutLine is the longest line that says how much was left out, in bytes.
const leftOutLine = 120

// fit leaves entries out, from the end of the least important section, until the
// comment has at most limit bytes.
func (c *comment) fit(limit int) {
	if limit <= 0 {
		return
	}
	size := c.size()
	for _, cut := range cuts {
		s := c.section(cut.name)
		for size > limit && len(s.entries) > 0 {
			last := len(s.entries) - 1
			size -= len(s.entries[last])
			if s.left == 0 {
				size += leftOutLine
			}
			if last == 0 {
				size -= len(s.before) + len(s.after)
			}
			s.entries, s.left = s.entries[:last], s.left+1
		}
	}
}

func (c *comment) section(name string) *section {
	for i := range c.sections {
		if c.sections[i].name == name {
			return &c.sections[i]
		}
	}
	return &section{}
}

func (c *comment) size() int {
	size := len(c.lead)
	for _, s := range c.sections {
		if len(s.entries) > 0 {
			size += len(s.before) + len(s.after)
		}
		for _, e := range s.entries {
			size += len(e)
		}
	}
	return size
}

// String puts the pieces together.
func (c *comment) String() string {
	var b strings.Builder
	b.WriteString(c.lead)
	for _, s := range c.sections {
		if len(s.entries) > 0 {
			b.WriteString(s.before)
		}
		for _, e := range s.entries {
			b.WriteString(e)
		}
		if len(s.entries) > 0 {
			b.WriteString(s.after)
		}
		if s.left > 0 {
			b.WriteString(s.said())
		}
	}
	return b.String()
}

// said tells how much of a section was left out.
func (s section) said() string {
	for _, cut := range cuts {
		if cut.name == s.name {
			return fmt.Sprintf("\n*%s left out for the size of this comment; `espalier plan` shows everything.*\n", counted(s.left, cut.one, cut.many))
		}
	}
	return ""
}
