// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// A node that does not answer keeps its pods: Kubernetes deletes them after five
// minutes and waits for a kubelet that never says that they have ended, so that a Job
// starts no other, while the machine is paid for. Whether the machine still runs, and
// writes to a volume, nobody in the cluster knows: only deleting it makes sure. That is
// what is decided here, for nodes that were bought; see docs/design/0068.

// Census counts the nodes of the whole cluster, whoever's they are.
type Census struct{ All, NotReady int }

// CensusOf counts nodes. One that is being deleted counts as not Ready.
func CensusOf(nodes []corev1.Node) Census {
	c := Census{All: len(nodes)}
	for i := range nodes {
		if _, silent := silentSince(&nodes[i]); silent || nodes[i].DeletionTimestamp != nil {
			c.NotReady++
		}
	}
	return c
}

// silentPercent is how many nodes of a cluster may be not Ready at once for that to be
// their own fault; one always may. Karpenter's repair stops at the same share.
const silentPercent = 20

// Disturbed says that so many nodes are not Ready at once that it is no fault of theirs:
// the network, the cloud or the control plane is, and the machines may be well.
func (c Census) Disturbed() bool {
	return c.NotReady > max(1, (c.All*silentPercent+99)/100)
}

// silentSince is since when the Ready condition of a node has not been True; false: it
// is, or nobody has said anything yet.
func silentSince(n *corev1.Node) (time.Time, bool) {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return c.LastTransitionTime.UTC(), true
		}
	}
	return time.Time{}, false
}

// Lost says whether a node has not been Ready for longer than it may be; of one that is
// being deleted there is nothing to replace.
func Lost(n *corev1.Node, after time.Duration, now time.Time) bool {
	since, silent := silentSince(n)
	return silent && n.DeletionTimestamp == nil && after > 0 && now.Sub(since) >= after
}

// lostNode is the first node, by name, that has been silent for too long.
func (f Facts) lostNode() (name string, found bool) {
	for _, n := range f.Nodes {
		if f.LostAfter > 0 && !n.Silent.IsZero() && f.Now.Sub(n.Silent) >= f.LostAfter && (!found || n.Name < name) {
			name, found = n.Name, true
		}
	}
	return name, found
}

// untilLost is how long it takes until the next node has been silent for too long; 0:
// none is silent that has not been said to be lost.
func (f Facts) untilLost() (wait time.Duration) {
	for _, n := range f.Nodes {
		left := f.LostAfter - f.Now.Sub(n.Silent)
		if f.LostAfter > 0 && !n.Silent.IsZero() && left > 0 && (wait == 0 || left < wait) {
			wait = left
		}
	}
	return wait
}

// replace takes the machine of a lost node away: recorded first, ordered by the next
// decision. The number of nodes that is wanted then brings another. message says how
// many nodes can be used.
func (f Facts) replace(d Decision, node, message string) Decision {
	message = fmt.Sprintf("%s; node %s has not been Ready for longer than %s", message, node, f.LostAfter)
	settled := f.Seen.State == StateSucceeded || f.mayRetry()
	switch {
	case f.Seen.External:
		message += fmt.Sprintf(", and its pods are not replaced while they may still run: when its machine is surely off, kubectl taint nodes %s %s=nodeshutdown:NoExecute", node, corev1.TaintNodeOutOfService)
	case f.Seen.Autoscaled:
		message += ": the cluster autoscaler of AKS takes such a node away"
	case f.Cluster.Disturbed():
		message += fmt.Sprintf(", and %d of %d nodes of the cluster are not: that is no fault of a machine, and none is replaced", f.Cluster.NotReady, f.Cluster.All)
	default:
		message += ": its machine is deleted, and another one takes its place"
		if settled && d.Do == ActionNone {
			d = f.replaceNow(d, node)
		}
	}
	return d.alarm(v1alpha1.ConditionDegraded, ReasonNodeLost, message).say(ReasonNodeLost, message)
}

// replaceNow orders what was recorded, and records what was not.
func (f Facts) replaceNow(d Decision, node string) Decision {
	going := []string{node}
	if slices.Equal(f.Pool.Status.Removing, going) {
		d.Do, d.Replaces = ActionEnsure, node
	} else {
		d.Wait = Soon
	}
	d.Removing = going
	return d
}

// Occupied is what the decision to replace a node becomes while pods are on it that
// nobody has deleted, because they tolerate a node that does not answer: whose they are
// has to say that they may go.
func Occupied(f Facts, d Decision, pods []string) Decision {
	node := d.Replaces
	d.Do, d.Replaces, d.Wait = ActionNone, "", f.Poll
	message := fmt.Sprintf("Node %s has not been Ready for longer than %s, and its machine is kept for pods that are not of this pool's Workspace and tolerate that: %s; delete them to have it replaced", node, f.LostAfter, some(pods))
	for i := range d.Alarms {
		if d.Alarms[i].Reason == ReasonNodeLost {
			d.Alarms[i].Message = message
		}
	}
	d = d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonForeignPods, message)
	if d.Reason == ReasonNodeLost {
		d.Message = message
	}
	return d
}

// Spared is what the decision to replace a node becomes when a live look shows that it
// has come back, or that the trouble is not its own: it is decided anew.
func Spared(d Decision) Decision {
	d.Do, d.Replaces, d.Removing, d.Wait = ActionNone, "", nil, Soon
	return d
}
