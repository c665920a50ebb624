// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// deleting takes an object down that is being deleted. The observation must be
// fresh: only a live look may say that nothing is left.
func deleting(f Facts, d Decision) Decision {
	d.Phase, d.Wait, d.Skipped = v1alpha1.PhaseDeleting, f.Poll, nil
	switch {
	case f.Seen.External:
		d.Gone = true
		return d.say(v1alpha1.ReasonReleased, "The nodes are not ours and stay")
	case f.Pool.Spec.DeletionPolicy == v1alpha1.Orphan:
		return orphaning(f, d)
	case f.Seen.Exists && !f.Seen.Owned:
		d = lost(f, d, f.Seen.NotOwned)
		d.Message += "; set deletionPolicy to Orphan to let the object go"
		return d
	case len(f.Seen.Leftovers) > 0:
		d = clean(f, d, f.Seen.Leftovers[0])
		return d.say(v1alpha1.ReasonDeleting, d.Message)
	case !f.Seen.Exists && f.Seen.Fresh:
		d.Gone = true
		return d.say(v1alpha1.ReasonDeleting, "The nodes are gone")
	case !f.Seen.Exists:
		return d.say(v1alpha1.ReasonDeleting, "Looking whether the nodes are gone")
	case f.closeFirst():
		d.Do = ActionEnsure
		return d.say(v1alpha1.ReasonDeleting, "Karpenter is kept from adding nodes before those that are there go")
	case f.Seen.State != StateDeleting:
		d.Do, d.Shrinks = ActionDelete, true
	}
	return d.say(v1alpha1.ReasonDeleting, f.deletingMessage(d.PoolName))
}

func (f Facts) deletingMessage(name string) string {
	message := fmt.Sprintf("Deleting node pool %s", name)
	if f.Seen.State == StateFailed && f.Seen.Failure != nil && f.Pool.Status.Phase == v1alpha1.PhaseDeleting {
		message += "; the cloud's last try failed: " + f.Seen.Failure.Text
	}
	return f.detailed(message)
}

// orphaning leaves the nodes to themselves, once nothing of them is held by us.
func orphaning(f Facts, d Decision) Decision {
	if f.closeFirst() {
		d.Do = ActionEnsure
		return d.say(ReasonOrphaned, "Karpenter is kept from adding nodes that nobody would answer for; those that are there stay while pods run on them")
	}
	if f.Seen.Held {
		d.Do = ActionDelete // which deletes nothing with Target.Orphan
		return d.say(ReasonOrphaned, "Letting the nodes go, which stay in the cloud as deletionPolicy says")
	}
	d.Gone = true
	return d.say(ReasonOrphaned, "The nodes stay in the cloud, as deletionPolicy says")
}
