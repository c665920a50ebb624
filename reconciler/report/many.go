// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
)

// Bounds of the README, which forges show up to half a MiB of.
const (
	maxRows     = 1_000
	maxReasons  = 200
	reasonsSize = 128 << 10 // bytes of all of them
)

// states in the order in which they are counted.
var states = []State{Ready, Progressing, Suspended, Refused, Failed, Deleting}

// listed are the places of the Workspaces that the table has, in their order: all, or
// those that are not ready and then as many as it takes.
func (d *Draft) listed() []int {
	unready := 0
	for _, known := range d.files {
		if known.says.state != Ready {
			unready++
		}
	}
	some := make([]int, 0, min(len(d.files), maxRows))
	ready := max(0, maxRows-unready)
	for i, known := range d.files {
		isReady := known.says.state == Ready
		if len(some) == maxRows || isReady && ready == 0 {
			known.row = "" // nobody asks for it
			continue
		}
		if isReady {
			ready--
		}
		some = append(some, i)
	}
	return some
}

// counted says how many there are of each state, where the table has not all of them.
func (d *Draft) counted() string {
	if len(d.files) <= maxRows {
		return ""
	}
	n := map[State]int{}
	for _, known := range d.files {
		n[known.says.state]++
	}
	var parts []string
	for _, s := range states {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d %s", glyphs[s], n[s], s))
		}
	}
	left := fmt.Sprint(len(d.files) - maxRows)
	if len(d.files)-n[Ready] <= maxRows {
		left += " that are ready"
	}
	return fmt.Sprintf("**%d Workspaces:** %s. The table leaves out %s; each has its file under [`workspaces/`](workspaces).\n\n",
		len(d.files), strings.Join(parts, " · "), left)
}

// reasons are the lines that say why what is not ready is not, the first of them.
func (d *Draft) reasons() []string {
	var lines []string
	more, size := 0, 0
	for i, w := range d.of.Workspaces {
		switch {
		case d.files[i].says.state == Ready, !hasReason(w):
		case len(lines) == maxReasons || size > reasonsSize:
			more++
		default:
			line := fmt.Sprintf("- %s %s: %s", glyphs[d.files[i].says.state], markdown.Code(nameIn(d.of, w)), reason(w))
			lines, size = append(lines, line), size+len(line)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", more))
	}
	return lines
}
