// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"fmt"
	"slices"
	"strings"
)

// Advice says which of the known names was probably meant, or lists them.
func Advice(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	slices.Sort(known)
	switch {
	case len(known) == 0:
		return "remove it"
	case len(known) > 12:
		return fmt.Sprintf("remove it; known are %s and %d more", strings.Join(known[:12], ", "), len(known)-12)
	}
	return "known are " + strings.Join(known, ", ")
}

// Nearest returns the known name closest to name, "" when none is close: the
// same but for case, the longest that contains it or is contained in it, or a
// few letters away.
func Nearest(name string, known []string) string {
	lower := strings.ToLower(name)
	slices.Sort(known)
	best, contained := "", ""
	bestDistance := max(1, len(name)/3) + 1
	if len(name) > 4 {
		bestDistance = max(bestDistance, 3) // two letters swapped are two changes
	}
	for _, k := range known {
		l := strings.ToLower(k)
		if l == lower {
			return k
		}
		if shares(lower, l) && len(k) > len(contained) {
			contained = k
		}
		if d := distance(lower, l, bestDistance); d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best != "" {
		return best
	}
	return contained
}

// Meant returns the known name that was certainly meant: the same but for case, or
// one slip of the keyboard away (a letter changed, missing, too many, or two swapped)
// and no other name as near. "" where that is not certain.
func Meant(name string, known []string) string {
	lower, meant := strings.ToLower(name), ""
	for _, k := range known {
		l := strings.ToLower(k)
		if l == lower {
			return k
		}
		if len(name) < leastMeant || !slip(lower, l) {
			continue
		}
		if meant != "" {
			return ""
		}
		meant = k
	}
	return meant
}

// leastMeant is the length from which a slip leaves a name what it is: of three
// letters it makes another word.
const leastMeant = 4

// slip says whether one letter changed, added or dropped, or two that were swapped,
// make one name of another.
func slip(a, b string) bool {
	if distance(a, b, 2) < 2 {
		return true
	}
	if len(a) != len(b) {
		return false
	}
	i := 0
	for a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// shares says whether one name, of four letters or more, is part of the other:
// volume of volumeSource, pushSecret of imagePushSecret.
func shares(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return len(a) >= 4 && strings.Contains(b, a)
}

// distance is the number of letters to change, add or drop between two names,
// or limit as soon as it is certain to reach it.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
