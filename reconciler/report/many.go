// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of the README, which forges show up to half a MiB of.
const (
	maxRows     = 1_000
	maxReasons  = 200
	reasonsSize = 128 << 10 // bytes of all of them
)

// states in the order in which they are counted.
var states = []State{Ready, Progressing, Suspended, Refused, Failed, Deleting}

// listed are the Workspaces that the table has, in their order: all, or those that are
// not ready and then as many as it takes.
func listed(all []v1alpha1.Workspace) []*v1alpha1.Workspace {
	unready := 0
	for i := range all {
		if StateOf(&all[i]) != Ready {
			unready++
		}
	}
	some := make([]*v1alpha1.Workspace, 0, min(len(all), maxRows))
	ready := max(0, maxRows-unready)
	for i := range all {
		isReady := StateOf(&all[i]) == Ready
		if isReady && ready == 0 {
			continue
		}
		if isReady {
			ready--
		}
		if some = append(some, &all[i]); len(some) == maxRows {
			break
		}
	}
	return some
}

// counted says how many there are of each state, where the table has not all of them.
func counted(all []v1alpha1.Workspace) string {
	if len(all) <= maxRows {
		return ""
	}
	n := map[State]int{}
	for i := range all {
		n[StateOf(&all[i])]++
	}
	var parts []string
	for _, s := range states {
		if n[s] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d %s", glyphs[s], n[s], s))
		}
	}
	left := fmt.Sprint(len(all) - maxRows)
	if len(all)-n[Ready] <= maxRows {
		left += " that are ready"
	}
	return fmt.Sprintf("**%d Workspaces:** %s. The table leaves out %s; each has its file under [`workspaces/`](workspaces).\n\n",
		len(all), strings.Join(parts, " · "), left)
}

// reasons are the lines that say why what is not ready is not, the first of them.
func reasons(s Snapshot) []string {
	var lines []string
	more, size := 0, 0
	for i := range s.Workspaces {
		w := &s.Workspaces[i]
		switch {
		case !hasReason(w):
		case len(lines) == maxReasons || size > reasonsSize:
			more++
		default:
			line := fmt.Sprintf("- %s %s: %s", glyphs[StateOf(w)], markdown.Code(nameIn(s, w)), reason(w))
			lines, size = append(lines, line), size+len(line)
		}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("- and %d more", more))
	}
	return lines
}
