// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// A node that does not answer keeps its pods: Kubernetes deletes them after five
// minutes and waits for a kubelet that never says that they have ended, so that a Job
// starts no other, while the machine is paid for. Whether the machine still runs, and
// writes to a volume, nobody in the cluster knows: only deleting it makes sure. That is
// what is decided here, for nodes that were bought; see docs/design/0068.

// Census counts the nodes of the whole cluster, whoever's they are, and those among them
// that were bought for pools: these may have a network, or drivers, of their own.
type Census struct {
	All, NotReady          int
	Bought, BoughtNotReady int
}

// CensusOf counts nodes; label is what those that were bought have. One that is being
// deleted counts as not Ready, and one that came back counts so for a while longer: others
// may be on their way. Nodes of others that somebody has switched off are not counted.
func CensusOf(nodes []corev1.Node, label string, now time.Time) (c Census) {
	for i := range nodes {
		n := &nodes[i]
		_, bought := n.Labels[label]
		_, silent := silentSince(n)
		silent = silent || n.DeletionTimestamp != nil || cameBack(n, now)
		if !bought && switchedOff(n) {
			continue
		}
		c.All++
		if silent {
			c.NotReady++
		}
		if bought {
			c.Bought++
		}
		if bought && silent {
			c.BoughtNotReady++
		}
	}
	return c
}

// returning is how long after one node came back others are waited for: they do not start
// at the same speed. It is also how old a node is that did not just join.
const returning = 10 * time.Minute

// cameBack says whether a node that is not new has been Ready for a short time only.
func cameBack(n *corev1.Node, now time.Time) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
			at := c.LastTransitionTime.Time
			return now.Sub(at) < returning && at.Sub(n.CreationTimestamp.Time) >= returning
		}
	}
	return false
}

// switchedOff says whether the cloud says that a node's machine is off: it does not
// answer because somebody wanted so.
func switchedOff(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintShutdown })
}

// taintShutdown is what the cloud's controller puts on the node of a machine that is off.
const taintShutdown = "node.cloudprovider.kubernetes.io/shutdown"

// silentPercent is how many nodes may be not Ready at once for that to be their own
// fault; one always may. Karpenter's repair stops at the same share.
const silentPercent = 20

// Disturbed says that so many nodes are not Ready at once that it is no fault of theirs:
// the network, the cloud or the control plane is, and the machines may be well.
func (c Census) Disturbed() bool {
	return tooMany(c.NotReady, c.All) || tooMany(c.BoughtNotReady, c.Bought)
}

// words say of what too many are not Ready.
func (c Census) words() string {
	if tooMany(c.NotReady, c.All) {
		return fmt.Sprintf("%d of %d nodes of the cluster", c.NotReady, c.All)
	}
	return fmt.Sprintf("%d of %d nodes that were bought", c.BoughtNotReady, c.Bought)
}

func tooMany(silent, all int) bool {
	return silent > max(1, (all*silentPercent+99)/100)
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

// Keeping names the pods that keep the machine of a lost node, by what it is called: work
// that nobody has deleted, because it tolerates a node that does not answer.
func Keeping(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return some(names)
}

// Replaces says whether the machine of a lost node of a pool is being replaced: from when
// that is recorded until another one is ordered.
func Replaces(p *v1alpha1.GPUNodePool) bool {
	return len(p.Status.Removing) > 0 && p.DeletionTimestamp == nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionDegraded)
}

// Lost says whether a node has not been Ready for longer than it may be; of one that is
// being deleted there is nothing to replace.
func Lost(n *corev1.Node, after time.Duration, now time.Time) bool {
	since, silent := silentSince(n)
	return silent && n.DeletionTimestamp == nil && after > 0 && now.Sub(since) >= after
}

// lostNode is the first node, by name, that has been silent for too long; one that is kept
// for pods comes last.
func (f Facts) lostNode() (lost Node, found bool) {
	for _, n := range f.Nodes {
		switch {
		case f.LostAfter <= 0 || n.Silent.IsZero() || f.Now.Sub(n.Silent) < f.LostAfter:
		case !found, n.Kept == "" && lost.Kept != "", (n.Kept == "") == (lost.Kept == "") && n.Name < lost.Name:
			lost, found = n, true
		}
	}
	return lost, found
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
func (f Facts) replace(d Decision, node Node, message string) Decision {
	message = fmt.Sprintf("%s; node %s has not been Ready for longer than %s", message, node.Name, f.LostAfter)
	settled := f.Seen.State == StateSucceeded || f.mayRetry()
	switch {
	case f.Seen.External:
		message += fmt.Sprintf(", and its pods are not replaced while they may still run: when its machine is surely off, kubectl taint nodes %s %s=nodeshutdown:NoExecute", node.Name, corev1.TaintNodeOutOfService)
	case f.Seen.Autoscaled:
		message += ": the cluster autoscaler of AKS takes such a node away"
	case f.Cluster.Disturbed():
		message += fmt.Sprintf(", and %s are not, or came back less than %.0f minutes ago: that is no fault of a machine, and none is replaced", f.Cluster.words(), returning.Minutes())
	case node.Kept != "":
		message += f.keptWords(node)
		d = d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonForeignPods, message)
	case f.Replacing != "":
		message += fmt.Sprintf(": its machine is deleted when that of %s is replaced, one after the other", f.Replacing)
	default:
		message += ": its machine is deleted, and another one takes its place"
		if settled && d.Do == ActionNone {
			d = f.replaceNow(d, node.Name)
		}
	}
	return d.alarm(v1alpha1.ConditionDegraded, ReasonNodeLost, message).say(ReasonNodeLost, message)
}

// keptWords say for whose pods the machine of a node is kept.
func (f Facts) keptWords(node Node) string {
	whose := "tolerate that, and this pool is no Workspace's own, so that those of its Workspaces count as well"
	if owner := metav1.GetControllerOf(f.Pool); owner != nil && owner.Kind == "Workspace" {
		whose = "are not of this pool's Workspace and tolerate that"
	}
	return fmt.Sprintf(", and its machine is kept for pods that %s: %s; delete them to have it replaced", whose, node.Kept)
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

// Spared is what the decision to replace a node becomes when a live look shows that it
// has come back, that the trouble is not its own, that a pod keeps it or that another
// pool's goes first: it is decided anew.
func Spared(d Decision) Decision {
	d.Do, d.Replaces, d.Removing, d.Wait = ActionNone, "", nil, Soon
	return d
}
