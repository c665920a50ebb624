// SPDX-License-Identifier: Apache-2.0

package main

import (
	"runtime/debug"
	"testing"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/resource"
)

func TestMemoryBeside(t *testing.T) {
	const mebi = 1 << 20
	cases := map[string]struct {
		reason      string
		controllers string
		limit, want uint64
	}{
		"Main":   {reason: "It starts no process.", controllers: mainControllers, limit: 1024 * mebi, want: 1024 * mebi},
		"Review": {reason: "Two plans at once are left what they may take.", controllers: reviewController, limit: 2048 * mebi, want: 1024 * mebi},
		"Small":  {reason: "Plans that may take all there is leave no less than a quarter.", controllers: reviewController, limit: 800 * mebi, want: 200 * mebi},
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
