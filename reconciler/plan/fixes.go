// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
)

// fixes are the findings that one line mends, each line once, in the order of the
// files.
func (p Plan) fixes() []Finding {
	listed, _ := p.listed()
	listed = slices.DeleteFunc(slices.Clone(listed), func(f Finding) bool { return f.Fix == nil })
	slices.SortStableFunc(listed, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line)
	})
	return slices.CompactFunc(listed, func(a, b Finding) bool { return a.File == b.File && a.Line == b.Line })
}

// mended is the section with the lines that mend findings, folded away: one patch,
// which git apply --unidiff-zero takes. A line holds nothing that does not show.
func (p Plan) mended() section {
	fixes := p.fixes()
	s := section{name: "fixes"}
	fence, file := "```", ""
	for _, f := range fixes {
		entry := fmt.Sprintf("@@ -%d +%d @@\n-%s\n+%s\n", f.Line, f.Line, f.Fix.Old, f.Fix.New)
		if f.File != file {
			name := markdown.Clean(f.File, markdown.MaxText)
			entry = fmt.Sprintf("--- a/%s\n+++ b/%s\n%s", name, name, entry)
			file = f.File
		}
		for strings.Contains(entry, fence) {
			fence += "`"
		}
		s.entries = append(s.entries, entry)
	}
	s.before = fmt.Sprintf("\n<details><summary>%s</summary>\n\n%sdiff\n", counted(len(fixes), "finding is mended by one line", "findings are mended by one line each"), fence)
	s.after = fence + "\n\n</details>\n"
	return s
}
