// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestMemoryBeside(t *testing.T) {
	const mebi = 1 << 20
	cases := map[string]struct {
		reason      string
		controllers string
		limit, want uint64
	}{
		"Main":   {reason: "It starts no process, and a tenth is for what Go does not count.", controllers: mainControllers, limit: 1000 * mebi, want: 900 * mebi},
		"Review": {reason: "Two plans at once are left what they may take.", controllers: reviewController, limit: 2024 * mebi, want: 900 * mebi},
		"Small":  {reason: "Plans that may take all there is leave no less than a quarter.", controllers: reviewController, limit: 800 * mebi, want: (200 - 56) * mebi},
		"Lean":   {reason: "The program's pages are as many as in a large container: a tenth has no room for them.", controllers: mainControllers, limit: 300 * mebi, want: 244 * mebi},
		"Tiny":   {reason: "Where pages and Go want all, each has half.", controllers: mainControllers, limit: 80 * mebi, want: 40 * mebi},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := controllerOptions{Controllers: tc.controllers}
			o.Review.Memory.Quantity = resource.MustParse("512Mi")
			got, err := beside(o.childrenMemory(), memlimit.Limit(tc.limit))()
			if err != nil || got != tc.want {
				t.Errorf("%s\n%d bytes (%v), want %d", tc.reason, got, err, tc.want)
			}
		})
	}
}

// TestMemoryByHand: what a user has set is left alone.
func TestMemoryByHand(t *testing.T) {
	was := debug.SetMemoryLimit(3 << 30) // as the runtime has read it from GOMEMLIMIT
	t.Cleanup(func() { debug.SetMemoryLimit(was) })
	t.Setenv("GOMEMLIMIT", "3GiB")
	limitMemory(t.Context(), controllerOptions{Controllers: mainControllers}, logr.Discard())
	if got := debug.SetMemoryLimit(-1); got != 3<<30 {
		t.Errorf("the limit is %d, want that of GOMEMLIMIT", got)
	}
}

// TestMemorySaid: what is told is a limit, and no number where there is none.
func TestMemorySaid(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		limit  int64
		want   string
	}{
		"None":    {"The largest number is none that anybody has set.", math.MaxInt64, `"level"=0 "msg"="Memory is not limited"`},
		"Limited": {"Who reads the log sees what it is.", 900 << 20, `"level"=0 "msg"="Memory is collected to stay within a limit" "bytes"=943718400`},
	} {
		t.Run(name, func(t *testing.T) {
			var got string
			sayMemory(funcr.New(func(_, line string) { got = line }, funcr.Options{}), c.limit)
			if got != c.want {
				t.Errorf("%s\nsays %s\nwant %s", c.reason, got, c.want)
			}
		})
	}
}
