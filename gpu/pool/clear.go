// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// CordonPause is how long a node is cordoned, at most, before what runs on it is
// looked at for the last time: a pod that the scheduler bound meanwhile has then
// appeared.
const CordonPause = 5 * time.Second

// NeverJoined stands, among the names of nodes that are removed, for a machine
// that has none because it never joined.
const NeverJoined = "(never joined)"

// Standing is a node as the API server knows it now, and who would lose it.
type Standing struct {
	Name     string
	Ready    bool
	Cordoned bool      // by anybody
	Ours     bool      // cordoned for this pool, by us
	Since    time.Time // when we cordoned it
	Pods     []string  // namespace/name of the work on it, whoever's it is
	Foreign  []string  // those of Pods that are not of the pool's Workspace
	Own      []string  // those of Pods that its Workspace would lose
}

// Clearing is what has to happen before nodes may be taken away: cordon some,
// give some back, wait, or nothing more. Blocked names the pods in the way.
type Clearing struct {
	Cordon, Uncordon []string // names of nodes
	Blocked          []string // namespace/name of pods
	Remove           []string // names of the nodes that may go now
	Wait             time.Duration
}

// Ready says that nothing more has to happen first.
func (c Clearing) Ready() bool {
	return len(c.Cordon)+len(c.Uncordon)+len(c.Blocked) == 0 && c.Wait == 0
}

// ClearAll clears every node of a pool that is deleted as a whole. Pods of the
// pool's own Workspace are in nobody's way; a foreign one blocks, and gives the
// nodes back that were cordoned, because they stay.
func ClearAll(nodes []Standing, pause time.Duration, now time.Time) Clearing {
	var c Clearing
	for _, n := range nodes {
		c.Blocked = append(c.Blocked, n.Foreign...)
		c.Remove = append(c.Remove, n.Name)
	}
	if len(c.Blocked) > 0 {
		return Clearing{Blocked: c.Blocked, Uncordon: cordonedByUs(nodes)}
	}
	c.Cordon, c.Wait = toCordon(nodes, pause, now)
	return c
}

// ClearSome clears a number of nodes of a pool that stays, of those on which no
// work runs at all. Fewer than that many may be empty: those that are go first.
func ClearSome(nodes []Standing, fewer int, pause time.Duration, now time.Time) Clearing {
	nodes = slices.SortedStableFunc(slices.Values(nodes), firstToGo)
	var c Clearing
	var going []Standing
	for _, n := range nodes {
		switch {
		case len(n.Pods) == 0 && len(going) < fewer:
			going = append(going, n)
			c.Remove = append(c.Remove, n.Name)
			continue
		case len(n.Pods) > 0 && len(going) < fewer:
			c.Blocked = append(c.Blocked, n.Pods...)
		}
		if n.Ours {
			c.Uncordon = append(c.Uncordon, n.Name)
		}
	}
	if len(going) > 0 {
		c.Blocked = nil
	}
	c.Cordon, c.Wait = toCordon(going, pause, now)
	return c
}

// firstToGo orders nodes: empty ones, then those that are cordoned already, then
// those that are not Ready, then the newest by name.
func firstToGo(a, b Standing) int {
	return cmp.Or(
		compare(len(a.Pods) == 0, len(b.Pods) == 0), compare(a.Ours, b.Ours), compare(a.Cordoned, b.Cordoned),
		compare(!a.Ready, !b.Ready), strings.Compare(b.Name, a.Name),
	)
}

// compare puts true before false.
func compare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// toCordon names the nodes that are not cordoned yet, and how long to wait for
// those that were a moment ago.
func toCordon(nodes []Standing, pause time.Duration, now time.Time) (cordon []string, wait time.Duration) {
	for _, n := range nodes {
		switch {
		case !n.Cordoned:
			cordon = append(cordon, n.Name)
			wait = pause
		case n.Ours:
			wait = max(wait, pause-now.Sub(n.Since))
		}
	}
	return cordon, wait
}

func cordonedByUs(nodes []Standing) []string {
	var names []string
	for _, n := range nodes {
		if n.Ours {
			names = append(names, n.Name)
		}
	}
	return names
}

// MaxBlockers bounds the pods that a message names.
const MaxBlockers = 10

// Blocked is what the decision becomes when pods run on the nodes that it would
// take away. No timeout turns this into a delete.
func Blocked(f Facts, d Decision, pods []string) Decision {
	if d.Lets {
		return inUseByPods(f, d, pods)
	}
	fewer := d.Do == ActionEnsure
	d.Do, d.Wait = ActionNone, f.Poll
	if fewer {
		message := fmt.Sprintf("%s more than wanted, and every node runs pods (%s); a node is removed when nothing runs on it", plural(d.Fewer, "node"), some(pods))
		return d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonNodesInUse, message)
	}
	message := fmt.Sprintf("Pods that are not of this pool's Workspace run on the nodes of %s: %s; move them to have the nodes released", d.Subject, some(pods))
	return d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonForeignPods, message).say(ReasonForeignPods, message)
}

// AtWork is what the decision to delete becomes while pods run on the nodes, those of
// the Workspace among them that owns the pool and has not let go of it.
func AtWork(f Facts, d Decision, workspace string, pods []string) Decision {
	d.Do, d.Wait = ActionNone, f.Poll
	message := fmt.Sprintf("The nodes of %s are deleted while Workspace %s uses them: pods %s run there; suspend or delete the Workspace to have the nodes released", d.Subject, workspace, some(pods))
	return d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonInUse, message).say(ReasonInUse, message)
}

// InUse is what the decision to delete becomes while Workspaces name the pool.
func InUse(f Facts, d Decision, workspaces []string) Decision {
	d.Do, d.Wait = ActionNone, f.Poll
	message := "Workspaces use this pool by spec.resource.nodePool: " + some(workspaces) + "; delete, move or suspend them to have the nodes released"
	return d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonInUse, message).say(ReasonInUse, message)
}

// some names the first few, in order, and counts the rest.
func some(names []string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	more := ""
	if len(names) > MaxBlockers {
		more = fmt.Sprintf(" and %d more", len(names)-MaxBlockers)
		names = names[:MaxBlockers]
	}
	return strings.Join(names, ", ") + more
}
