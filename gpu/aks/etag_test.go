// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// TestNoETag: a pool that the cloud tells without its ETag is not changed. A write
// without one would go over whatever somebody else changed since it was read.
func TestNoETag(t *testing.T) {
	type call func(*Provider, context.Context, pool.Target) (pool.Step, error)
	cases := map[string]struct {
		reason string
		change func(*pool.Target)
		do     call
		step   pool.Step // once there is an ETag
	}{
		"Scale": {
			reason: "More nodes are a write of the whole pool.",
			change: func(t *pool.Target) { t.Replicas = 2 },
			do:     (*Provider).Ensure,
			step:   pool.StepScaled,
		},
		"ScaleToNone": {
			reason: "Without nodes that joined nothing but the ETag guards the count.",
			change: func(t *pool.Target) { t.Replicas, t.Shrink = 0, true },
			do:     (*Provider).Ensure,
			step:   pool.StepScaled,
		},
		"Mend": {
			reason: "The same count once more is a write too.",
			change: func(t *pool.Target) { t.Mend = true },
			do:     (*Provider).Ensure,
			step:   pool.StepScaled,
		},
		"Tune": {
			reason: "So is a label.",
			change: func(t *pool.Target) { t.NodeLabels = map[string]string{"team": "b"} },
			do:     (*Provider).Ensure,
			step:   pool.StepUpdated,
		},
		"Settled": {
			reason: "Where nothing differs nothing is written, and nothing is wrong.",
			change: func(*pool.Target) {},
			do:     (*Provider).Ensure,
			step:   pool.StepNone,
		},
		"Delete": {
			reason: "What was judged to be ours is what has to go.",
			change: func(*pool.Target) {},
			do:     (*Provider).Delete,
			step:   pool.StepDeleted,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(time.Hour)
			tc.change(&tgt)
			before := arm.Pools()
			arm.SendETags(false)
			step, err := tc.do(p, t.Context(), tgt)
			arm.SendETags(true)
			refused := classOfErr(err) == pool.ClassTransient && strings.Contains(err.Error(), "ETag")
			if step != pool.StepNone || refused != (tc.step != pool.StepNone) {
				t.Errorf("%s\nstep %q, error %v", tc.reason, step, err)
			}
			if diff := cmp.Diff(before, arm.Pools()); diff != "" {
				t.Errorf("%s\nchanged all the same: -before +after\n%s", tc.reason, diff)
			}
			if step := must[pool.Step](t)(tc.do(p, t.Context(), tgt)); step != tc.step {
				t.Errorf("%s\nwith an ETag: step %q, want %q", tc.reason, step, tc.step)
			}
		})
	}
}
