// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"strings"

	"github.com/go-git/go-git/v5/utils/diff"
	"github.com/sergi/go-diff/diffmatchpatch"
)

// Bounds of a file whose difference is looked at, in lines and bytes: a larger one is
// written by a program, and comparing it takes longer than it is worth.
const (
	maxDiffLines = 4000
	maxDiffBytes = 1 << 20
)

// diffContext is how many lines around a change forges show.
const diffContext = 3

// ShownLines are the lines of a file in head, counted from 1, that the difference from
// base shows: those that are new, and three around each change. The value is the line's
// number in base, 0 for one that is new. Of files that are too large nothing is shown.
func ShownLines(base, head []byte) map[int]int {
	if large(base) || large(head) || bytes.Equal(base, head) {
		return nil
	}
	old, changed := align(base, head)
	shown := map[int]int{}
	for at, is := range changed {
		if !is {
			continue
		}
		for i := max(at-diffContext, 0); i < min(at+diffContext, len(old)); i++ {
			shown[i+1] = old[i]
		}
	}
	for i, number := range old {
		if number == 0 {
			shown[i+1] = 0
		}
	}
	return shown
}

func large(content []byte) bool {
	return len(content) > maxDiffBytes || bytes.Count(content, []byte("\n")) > maxDiffLines
}

// align gives each line of head its number in base, 0 where it is new; and for each
// place between the lines of head whether something was changed there: changed[i] is
// before line i, counted from 0.
func align(base, head []byte) (old []int, changed []bool) {
	changed = append(changed, false)
	number := 0
	for _, part := range diff.Do(string(base), string(head)) {
		lines := strings.Count(part.Text, "\n")
		if !strings.HasSuffix(part.Text, "\n") {
			lines++ // the last of a file without an end of line
		}
		at := len(changed) - 1
		switch part.Type {
		case diffmatchpatch.DiffDelete:
			number += lines
			changed[at] = true
			continue
		case diffmatchpatch.DiffInsert:
			changed[at] = true
		}
		for range lines {
			from := 0
			if part.Type == diffmatchpatch.DiffEqual {
				number++
				from = number
			}
			old, changed = append(old, from), append(changed, part.Type == diffmatchpatch.DiffInsert)
		}
	}
	return old, changed
}
