// SPDX-License-Identifier: Apache-2.0

package lru

import (
	"math/rand/v2"
	"slices"
	"testing"
)

type entry struct {
	Links[*entry]
	n int
}

// TestOrder compares with a slice over a random history.
func TestOrder(t *testing.T) {
	random, order, list := rand.New(rand.NewPCG(1, 2)), Order[*entry]{}, []*entry(nil) // the newest first
	without := func(e *entry) []*entry {
		return slices.DeleteFunc(list, func(other *entry) bool { return other == e })
	}
	for step := range 2_000 {
		switch {
		case len(list) == 0 || random.IntN(3) == 0:
			e := &entry{n: step}
			order.Add(e)
			list = slices.Insert(list, 0, e)
		case random.IntN(2) == 0:
			e := list[random.IntN(len(list))]
			order.Touch(e)
			list = slices.Insert(without(e), 0, e)
		default:
			e := list[random.IntN(len(list))]
			if random.IntN(4) == 0 {
				e = order.Oldest()
			}
			order.Remove(e)
			list = without(e)
			if e.Links != (Links[*entry]{}) {
				t.Fatalf("step %d: what was removed holds %+v", step, e.Links)
			}
		}
		var back []*entry
		for e := order.oldest; e != nil; e = e.newer {
			back = append(back, e)
		}
		slices.Reverse(back)
		if got := slices.Collect(order.All()); !slices.Equal(got, list) || !slices.Equal(back, list) {
			t.Fatalf("step %d: %d entries from the newest, %d from the oldest, want %d in their order", step, len(got), len(back), len(list))
		}
		if oldest := order.Oldest(); len(list) > 0 && oldest != list[len(list)-1] || len(list) == 0 && oldest != nil {
			t.Fatalf("step %d: the oldest is %+v", step, oldest)
		}
	}
}
