// SPDX-License-Identifier: Apache-2.0

package sku

import (
	"sort"
	"strings"
)

// suggestions is how many names Suggest returns at most.
const suggestions = 3

// leastPart is the length from which a part of a name stands for it: a letter
// is in all of them.
const leastPart = 3

// Suggest returns the names nearest to one that Lookup does not know, for
// messages; nothing when none is near.
func Suggest(name string) []string {
	name = strings.ToLower(strings.TrimSpace(name))
	type near struct {
		name     string
		distance int
	}
	var all []near
	for _, i := range catalogue().all {
		known := strings.ToLower(i.Name)
		d := Distance(name, known)
		if len(name) >= leastPart && strings.Contains(known, name) {
			d = min(d, 1)
		}
		// More than a third of the letters wrong is another name.
		if d <= max(2, len(name)/3) {
			all = append(all, near{i.Name, d})
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].distance < all[b].distance })
	var names []string
	for _, n := range all[:min(suggestions, len(all))] {
		names = append(names, n.name)
	}
	return names
}

// Distance is the number of letters to insert, delete or change to turn one
// name into another (Levenshtein).
func Distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost = 1 + min(diagonal, row[j], row[j-1])
			}
			diagonal, row[j] = row[j], cost
		}
	}
	return row[len(b)]
}
