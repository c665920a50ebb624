// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// barWidth is the number of columns that the larger of budget and total takes.
const barWidth = 56

// letters mark the parts of a sum in a bar.
var letters = map[string]string{
	"weights": "W", "adapter": "A", "optimizer": "O", "KV cache": "K", "activations": "X", "logits": "L", "overhead": "R",
}

// bar draws the memory of one GPU: a letter a part, dots for what is free, a
// stroke where the budget ends, and the sum beside it.
func bar(m fit.Memory) string {
	scale := float64(max(m.Budget, m.Total, 1))
	parts := m.Parts()
	var line string
	for n, width := range widths(parts, scale) {
		line += strings.Repeat(letters[parts[n].Name], width)
	}
	if end := int(float64(m.Budget) / scale * barWidth); m.Total > m.Budget {
		line = line[:min(end, len(line))] + "|" + line[min(end, len(line)):]
	} else {
		line += strings.Repeat("·", max(0, barWidth-len(line))) + "|"
	}
	var legend strings.Builder
	for n, gib := range fit.Rounded(parts) {
		fmt.Fprintf(&legend, "  %s %-12s %6s\n", letters[parts[n].Name], parts[n].Name, gib)
	}
	return fmt.Sprintf("  [%s]  %s of %s GiB on each GPU\n%s", line, fit.GiB(m.Total), fit.GiB(m.Budget), legend.String())
}

// widths are the columns of each part, at least one; the widest gives way where
// they would be too many.
func widths(parts []fit.Part, scale float64) []int {
	columns := make([]int, len(parts))
	total := 0
	for n, p := range parts {
		columns[n] = max(1, int(math.Round(float64(p.Bytes)/scale*barWidth)))
		total += columns[n]
	}
	for ; total > barWidth; total-- {
		widest := 0
		for n := range columns {
			if columns[n] > columns[widest] {
				widest = n
			}
		}
		columns[widest]--
	}
	return columns
}
