// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"fmt"
	"math"
	"path"
	"sort"
	"strings"

	"github.com/espalier-dev/espalier/gpu/sku"
)

// Unknown says, in one sentence, that no model of the catalogue has a name: the
// nearest names, and the way to use a model outside it.
func Unknown(name string) string {
	hint := "`espalier presets` lists it, and any"
	if near := Suggest(name); len(near) > 0 {
		hint = "did you mean " + strings.Join(near, " or ") + "? Any"
	}
	id := "OWNER/NAME"
	if path.Dir(name) != "." && validID.MatchString(name) {
		id = name
	}
	return fmt.Sprintf("%.100q is not in the catalogue: %s other model needs a lock file, "+
		"which `espalier presets lock %s --from config.json` writes, and says what to do with it", name, hint, id)
}

// suggestions is how many names Suggest returns at most.
const suggestions = 3

// leastPart is the length from which a part of a name stands for it: a letter
// is in all of them.
const leastPart = 3

// Suggest returns the names nearest to one that Lookup does not know, for
// messages; nothing when none is near.
func Suggest(name string) []string {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return nil
	}
	type near struct {
		name     string
		distance int
	}
	var all []near
	for _, p := range catalogue() {
		best := math.MaxInt
		for _, n := range p.names() {
			best = min(best, sku.Distance(name, n))
			if len(name) >= leastPart && strings.Contains(n, name) {
				best = min(best, 1)
			}
		}
		// More than a third of the letters wrong is another name.
		if best <= max(2, len(name)/3) {
			all = append(all, near{p.Name(), best})
		}
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].distance < all[b].distance })
	var names []string
	for _, n := range all[:min(suggestions, len(all))] {
		names = append(names, n.name)
	}
	return names
}
