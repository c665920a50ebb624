// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"testing"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestOldList: an operation of somebody else has begun since the pools were listed. A
// decision that rests on the list finds nothing to do, and the next one on a new list.
func TestOldList(t *testing.T) {
	for name, tc := range map[string]struct {
		state string
		wants func(w *world)
	}{
		"Scale":  {"Updating", func(w *world) { w.edit(scaledTo(2)) }},
		"Delete": {"Deleting", func(w *world) { w.delete() }},
		"Replace": {"Deleting", func(w *world) {
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = gpuPool(subject, a100).Spec.Candidates })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := readyWorld(t, 1)
			w.others("foreign-a", "foreign-b")
			r, _ := w.controller(&life{})
			w.once(r, subject) // lists
			w.arm.SetState(w.get(subject).Status.PoolName, tc.state)
			tc.wants(w)
			before, until := w.arm.Counts(), w.arm.Now().Add(10*time.Second)
			for w.arm.Now().Before(until) {
				w.arm.Advance(max(w.once(r, subject).RequeueAfter, behindAgain))
			}
			after := w.arm.Counts()
			gets, lists := after["GET"]-before["GET"], after["LIST"]-before["LIST"]
			if gets > 3 || lists > 3 || after["PUT"] != before["PUT"] || after["DELETE"] != 0 {
				t.Errorf("%d GETs and %d LISTs in ten seconds, %v; want at most three of each and no change", gets, lists, after)
			}
		})
	}
}
