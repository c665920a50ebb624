// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSets: whatever the order of lists, and however often they have an object, Union and
// Stale say what sets say, and change none of them.
func TestSets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	list := func() []v1alpha1.InventoryEntry {
		entries := make([]v1alpha1.InventoryEntry, rng.IntN(8))
		for i := range entries {
			entries[i] = v1alpha1.InventoryEntry{ID: fmt.Sprint("id-", rng.IntN(10)), Version: fmt.Sprint("v", rng.IntN(3))}
		}
		if rng.IntN(2) == 0 {
			slices.SortStableFunc(entries, byID)
		}
		return entries
	}
	for range 2000 {
		a, b, c := list(), list(), list()
		before := [][]v1alpha1.InventoryEntry{slices.Clone(a), slices.Clone(b), slices.Clone(c)}
		var union, stale []v1alpha1.InventoryEntry
		for _, e := range slices.Concat(a, b, c) {
			if !slices.ContainsFunc(union, func(o v1alpha1.InventoryEntry) bool { return o.ID == e.ID }) {
				union = append(union, e)
			}
		}
		slices.SortFunc(union, byID)
		for _, e := range a {
			if !slices.ContainsFunc(b, func(o v1alpha1.InventoryEntry) bool { return o.ID == e.ID }) {
				stale = append(stale, e)
			}
		}
		if d := cmp.Diff(union, Union(a, b, c), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("the union of %v, %v and %v (-want +got):\n%s", a, b, c, d)
		}
		if d := cmp.Diff(stale, Stale(a, b), cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("of %v in %v (-want +got):\n%s", a, b, d)
		}
		for _, e := range union {
			if !Has(union, e.ID) || Has(union, e.ID+"!") {
				t.Fatalf("%v has %s, and nothing else", union, e.ID)
			}
		}
		if d := cmp.Diff(before, [][]v1alpha1.InventoryEntry{a, b, c}, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("a list was changed (-before +after):\n%s", d)
		}
	}
}
