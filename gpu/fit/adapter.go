// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"sort"
)

// Matrices lists the matrices of a layer by the names they have in the model:
// what an adapter may change.
func (m Model) Matrices() []string { return matrixNames(m.matrixWidths()) }

// adapterWidth is the sum of input and output widths over the matrices of one
// layer that an adapter changes: times rank and layers, its parameters. No
// names: every matrix.
func (m Model) adapterWidth(targets []string) (float64, error) {
	widths := m.matrixWidths()
	if len(targets) == 0 {
		total := 0.0
		for _, name := range matrixNames(widths) {
			total += widths[name]
		}
		return total, nil
	}
	total := 0.0
	seen := map[string]bool{}
	for _, t := range targets {
		w, ok := widths[t]
		if !ok {
			return 0, fmt.Errorf("%s has no matrix %q: %s", m.Name, t, list(matrixNames(widths)))
		}
		if !seen[t] {
			total += w
		}
		seen[t] = true
	}
	return total, nil
}

// matrixWidths is input plus output width by the name a matrix has in the model.
func (m Model) matrixWidths() map[string]float64 {
	h, q, kv, wide := float64(m.Hidden), m.queryWidth(), m.kvWidth(), float64(m.Intermediate)
	if m.FusedProjections {
		return map[string]float64{
			"qkv_proj": h + q + 2*kv, "o_proj": q + h, "gate_up_proj": h + 2*wide, "down_proj": wide + h,
		}
	}
	return map[string]float64{
		"q_proj": h + q, "k_proj": h + kv, "v_proj": h + kv, "o_proj": q + h,
		"gate_proj": h + wide, "up_proj": h + wide, "down_proj": wide + h,
	}
}

func matrixNames(widths map[string]float64) []string {
	names := make([]string, 0, len(widths))
	for n := range widths {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
