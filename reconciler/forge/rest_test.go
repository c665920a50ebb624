// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"strconv"
	"testing"
)

// TestRemember: a controller runs for months, and each push brings another commit.
func TestRemember(t *testing.T) {
	seen := map[string]int{}
	for i := range 3 * mostSeen {
		remember(seen, strconv.Itoa(i), i)
		if got, ok := seen[strconv.Itoa(i)]; !ok || got != i || len(seen) > mostSeen {
			t.Fatalf("%d: %d of %d", i, got, len(seen))
		}
	}
	before := len(seen)
	remember(seen, strconv.Itoa(3*mostSeen-1), 1)
	if len(seen) != before || seen[strconv.Itoa(3*mostSeen-1)] != 1 {
		t.Error("what is known takes no place")
	}
}
