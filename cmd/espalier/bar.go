// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
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
	scale := max(m.Budget, m.Total)
	columns := func(b int64) int { return int((float64(b)/float64(scale))*barWidth + 0.5) }
	parts := m.Parts()
	var drawn strings.Builder
	var sum int64
	for _, p := range parts {
		sum += p.Bytes
		// Each part has a letter at least, and ends where the sum so far ends.
		n := max(1, columns(sum)-drawn.Len())
		drawn.WriteString(strings.Repeat(letters[p.Name], n))
	}
	line := drawn.String()
	if len(line) > barWidth {
		line = line[:barWidth]
	}
	end := columns(m.Budget)
	line += strings.Repeat("·", max(0, end-len(line)))
	if m.Total > m.Budget {
		line = line[:end] + "|" + line[end:]
	} else {
		line += "|"
	}
	var legend []string
	for n, gib := range fit.Rounded(parts) {
		legend = append(legend, fmt.Sprintf("  %s %-12s %6s\n", letters[parts[n].Name], parts[n].Name, gib))
	}
	return fmt.Sprintf("  [%s]  %s of %s GiB on each GPU\n%s", line, fit.GiB(m.Total), fit.GiB(m.Budget), strings.Join(legend, ""))
}
