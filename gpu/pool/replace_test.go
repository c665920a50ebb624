// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lostAfter is how long the nodes of these tests may be not Ready.
const lostAfter = 20 * time.Minute

// silent is a node that has not answered since now.
func silent(name string) Node {
	return Node{Name: name, Problem: "NodeStatusUnknown", GPUs: 1, Offered: 1, Silent: now}
}

// losing lets nodes be lost, in a cluster of a number of nodes of which some are not Ready.
func losing(all, notReady int) func(*Facts) {
	return func(f *Facts) { f.LostAfter, f.Cluster = lostAfter, Census{All: all, NotReady: notReady} }
}

func removing(names ...string) func(*Facts) {
	return spec(func(p *v1alpha1.GPUNodePool) { p.Status.Removing = names })
}

// TestNodeLost: a node that does not answer for too long is replaced where it was
// bought, one at a time and recorded first, and never when many are gone at once.
func TestNodeLost(t *testing.T) {
	good := Node{Name: "n0", Ready: true, GPUs: 1, Offered: 1}
	with := func(o Observation, change func(*Observation)) Observation { change(&o); return o }
	two := func(o *Observation) { o.Count = 2 }
	for name, c := range map[string]struct {
		reason   string
		in       Facts
		do       Action
		replaces string
		removing []string
		says     string // of the reason NodeLost; "": another reason
		wait     time.Duration
	}{
		"NotYet": {
			reason: "The cloud, and the node itself, have time to mend it.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 1), after(lostAfter-time.Second)),
			wait:   poll,
		},
		"RecordedFirst": {
			reason: "A cloud that says that it is deleting must not be mistaken for a pool that somebody deletes.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 1), after(lostAfter)),
			says:   "0 of 1 Standard_NC24ads_A100_v4 node can be used: node n1 is not Ready (NodeStatusUnknown); node n1 has not been Ready for longer than 20m0s: its machine is deleted, and another one takes its place",
			wait:   Soon, removing: []string{"n1"},
		},
		"Ordered": {
			reason: "What is recorded is ordered.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 1), after(lostAfter), removing("n1")),
			do:     ActionEnsure, replaces: "n1", removing: []string{"n1"}, says: "its machine is deleted", wait: poll,
		},
		"OneOfTwo": {
			reason: "The node that works is left alone, and of two lost ones the first goes first.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.Count = 3 }), replicas(3),
				nodes(silent("n2"), silent("n1"), good), losing(20, 2), after(lostAfter), removing("n1")),
			do: ActionEnsure, replaces: "n1", removing: []string{"n1"}, says: "1 of 3", wait: poll,
		},
		"BackAgain": {
			reason: "It answers before it is ordered.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), degradedBefore, nodes(good), losing(10, 0), after(lostAfter), removing("n0")),
			wait:   idle,
		},
		"Many": {
			reason: "When many nodes are gone the network or the control plane is, and their pods may be well.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 3), after(lostAfter), removing("n1")),
			says:   "3 of 10 nodes of the cluster are not, or came back less than 10 minutes ago: that is no fault of a machine, and none is replaced", wait: poll,
		},
		"Fifth": {
			reason: "As many as Karpenter's repair takes on.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 2), after(lostAfter), removing("n1")),
			do:     ActionEnsure, replaces: "n1", removing: []string{"n1"}, says: "its machine is deleted", wait: poll,
		},
		"SmallCluster": {
			reason: "One node always may: a cluster of one system node and one GPU node is helped too.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(2, 1), after(lostAfter), removing("n1")),
			do:     ActionEnsure, replaces: "n1", removing: []string{"n1"}, says: "its machine is deleted", wait: poll,
		},
		"UnderWay": {
			reason: "The machine is going: nothing more is asked for.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateDeleting), degradedBefore, nodes(silent("n1")), losing(10, 1), after(lostAfter), removing("n1")),
			says:   "its machine is deleted", removing: []string{"n1"}, wait: poll,
		},
		"NextOne": {
			reason: "It is gone, and as many as before are ordered.",
			in: facts(v1alpha1.PhaseNodesJoining, with(ours(StateSucceeded), func(o *Observation) { o.Count = 0 }), degradedBefore,
				losing(9, 0), after(lostAfter), removing("n1")),
			do: ActionEnsure, wait: poll,
		},
		"BoughtOnes": {
			reason: "Nodes that were bought may have a network of their own: the others are well, and they are cut off.",
			in: facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(100, 15), after(lostAfter), removing("n1"),
				func(f *Facts) { f.Cluster.Bought, f.Cluster.BoughtNotReady = 15, 15 }),
			says: "15 of 15 nodes that were bought are not", wait: poll,
		},
		"OneAfterTheOther": {
			reason: "Whatever makes machines fail, it takes one at a time.",
			in: facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 2), after(lostAfter),
				func(f *Facts) { f.Replacing = "pool team-b/q" }),
			says: "its machine is deleted when that of pool team-b/q is replaced", wait: poll,
		},
		"KeptPassedOver": {
			reason: "One that is kept for pods keeps no other from being replaced.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.Count = 3 }), replicas(3),
				nodes(kept(), silent("n3"), silent("n2")), losing(20, 3), after(lostAfter), removing("n2")),
			do: ActionEnsure, replaces: "n2", removing: []string{"n2"}, says: "node n2", wait: poll,
		},
		"KeptOnly": {
			reason: "Whose pods keep it is said.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(kept()), losing(10, 1), after(lostAfter), removing("n1"), owned),
			says:   "kept for pods that are not of this pool's Workspace and tolerate that: db/postgres-0; delete them", wait: poll,
		},
		"KeptDeclared": {
			reason: "A pool that no Workspace owns does not know whose pods may go.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(kept()), losing(10, 1), after(lostAfter), removing("n1")),
			says:   "this pool is no Workspace's own, so that those of its Workspaces count as well: db/postgres-0; delete them", wait: poll,
		},
		"TurnedOff": {
			reason: "--node-lost-after=0 leaves it to the cloud.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(silent("n1")), losing(10, 1), after(100*time.Hour), func(f *Facts) { f.LostAfter = 0 }),
			wait:   poll,
		},
		"NeverReady": {
			reason: "Until nodes were usable once, their own time limits hold.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), nodes(silent("n1")), losing(10, 1), after(19*time.Minute), func(f *Facts) { f.LostAfter = time.Minute }),
			wait:   poll,
		},
		"AutoscaledByAKS": {
			reason: "The autoscaler counts the machines, and takes away those that do not answer.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.Autoscaled = true }), nodes(silent("n1")),
				losing(10, 1), after(lostAfter)),
			says: "the cluster autoscaler of AKS takes such a node away", wait: poll,
		},
		"Existing": {
			reason: "Nobody here can buy another: what helps is said.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.External = true }), nodes(silent("n1")),
				losing(10, 1), after(lostAfter)),
			says: "its pods are not replaced while they may still run: when its machine is surely off, kubectl taint nodes n1 node.kubernetes.io/out-of-service=nodeshutdown:NoExecute",
		},
		"ExistingNotYet": {
			reason: "No event tells that the time is over.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.External = true }), nodes(silent("n1")),
				losing(10, 1), after(lostAfter-time.Minute)),
			wait: time.Minute,
		},
		"Shrinking": {
			reason: "Another mutation is due first: one at a time.",
			in:     facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), two), nodes(silent("n1"), silent("n2")), losing(20, 2), after(lostAfter)),
			do:     ActionEnsure, says: "its machine is deleted", wait: poll,
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.in)
			if d.Do != c.do || d.Replaces != c.replaces || d.Wait != c.wait {
				t.Errorf("%s\ngot %q of %q, look again in %s; want %q of %q, in %s", c.reason, d.Do, d.Replaces, d.Wait, c.do, c.replaces, c.wait)
			}
			if diff := cmp.Diff(c.removing, d.Removing); diff != "" {
				t.Errorf("%s\nrecorded (-want +got):\n%s", c.reason, diff)
			}
			if (d.Reason == ReasonNodeLost) != (c.says != "") || !strings.Contains(d.Message, c.says) {
				t.Errorf("%s\ngot %s: %s\nwant %q", c.reason, d.Reason, d.Message, c.says)
			}
		})
	}
}

// kept is n1, a silent node with a pod that nobody has told to go.
func kept() Node {
	n := silent("n1")
	n.Kept = "db/postgres-0"
	return n
}

// owned lets a Workspace own the pool.
func owned(f *Facts) {
	yes := true
	f.Pool.OwnerReferences = []metav1.OwnerReference{{Kind: "Workspace", Name: "w", Controller: &yes}}
}

// TestNodeKept: what is kept for somebody's pods is alarming, and both alarms name them.
func TestNodeKept(t *testing.T) {
	d := Decide(facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(kept()), losing(10, 1), after(lostAfter)))
	if strings.Contains(d.Message, "is deleted") {
		t.Errorf("got %s", d.Message)
	}
	for _, kind := range []string{v1alpha1.ConditionDegraded, v1alpha1.ConditionDeletionBlocked} {
		if !slices.ContainsFunc(d.Alarms, func(a Alarm) bool { return a.Type == kind && strings.Contains(a.Message, "db/postgres-0; delete them") }) {
			t.Errorf("%s does not name the pod: %+v", kind, d.Alarms)
		}
	}
}

// TestOnlyNodeTaken: while the only machine of a pool is taken away and replaced no node is
// left, and its candidate is not given up for that: the time for another one begins when
// it is ordered.
func TestOnlyNodeTaken(t *testing.T) {
	at := func(s State, count int32, change ...func(*Facts)) Decision {
		seen := ours(s)
		seen.Count = count
		return Decide(facts(v1alpha1.PhaseNodesJoining, seen, append(change, degradedBefore, losing(9, 0), after(22*time.Minute), removing("n1"))...))
	}
	ordered := spec(func(p *v1alpha1.GPUNodePool) { p.Status.Candidate.Accepted.Time = now.Add(21 * time.Minute) })
	for name, c := range map[string]struct {
		reason string
		got    Decision
		do     Action
		anew   bool
	}{
		"Going":     {"The cloud is deleting the machine.", at(StateDeleting, 1), ActionNone, false},
		"Gone":      {"It still works on it.", at(StateRunning, 0), ActionNone, false},
		"Ordered":   {"Another is ordered, for which time begins now.", at(StateSucceeded, 0), ActionEnsure, true},
		"Unwritten": {"It was ordered, and the order not recorded.", at(StateRunning, 1, ordered), ActionNone, false},
		"Coming":    {"It was ordered: time begins when that is seen.", at(StateSucceeded, 1, ordered), ActionNone, true},
		"Refused":   {"The cloud failed, and is asked again: that is not for ever.", at(StateFailed, 0), ActionEnsure, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.got
			if d.Phase != v1alpha1.PhaseNodesJoining || d.Do != c.do || d.Mends || d.Anew != c.anew || (len(d.Removing) == 0) != c.anew {
				t.Errorf("%s\ngot %s %q, anew %t, removing %v: %s; want %q, anew %t", c.reason, d.Phase, d.Do, d.Anew, d.Removing, d.Message, c.do, c.anew)
			}
		})
	}
	never := Decide(facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), degradedBefore, losing(9, 0), after(22*time.Minute)))
	if never.Phase != v1alpha1.PhaseCleaning {
		t.Errorf("when another one was ordered and does not come, the candidate is given up; got %s: %s", never.Phase, never.Message)
	}
}

// TestCensus: who counts as not Ready.
func TestCensus(t *testing.T) {
	const label = "example.com/pool"
	node := func(status corev1.ConditionStatus, since time.Duration, change ...func(*corev1.Node)) corev1.Node {
		n := corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: status, LastTransitionTime: metav1.NewTime(now.Add(-since))},
		}}}
		n.CreationTimestamp = metav1.NewTime(now.Add(-24 * time.Hour))
		for _, c := range change {
			c(&n)
		}
		return n
	}
	bought := func(n *corev1.Node) { n.Labels = map[string]string{label: "p"} }
	off := func(n *corev1.Node) { n.Spec.Taints = []corev1.Taint{{Key: taintShutdown}} }
	fresh := func(n *corev1.Node) { n.CreationTimestamp = metav1.NewTime(now.Add(-3 * time.Minute)) }
	for name, c := range map[string]struct {
		reason string
		in     corev1.Node
		want   Census
	}{
		"Well":           {"It has been so for long.", node(corev1.ConditionTrue, time.Hour), Census{All: 1}},
		"Silent":         {"It does not answer.", node(corev1.ConditionUnknown, time.Hour), Census{All: 1, NotReady: 1}},
		"CameBack":       {"Others are on their way as well.", node(corev1.ConditionTrue, 9*time.Minute), Census{All: 1, NotReady: 1}},
		"BackForLong":    {"Who is not back by now has a fault of its own.", node(corev1.ConditionTrue, 10*time.Minute), Census{All: 1}},
		"Joined":         {"It is new, and was never away.", node(corev1.ConditionTrue, 2*time.Minute, fresh), Census{All: 1}},
		"Off":            {"Somebody wanted it off.", node(corev1.ConditionUnknown, time.Hour, off), Census{}},
		"Bought":         {"It counts among its like as well.", node(corev1.ConditionTrue, time.Hour, bought), Census{All: 1, Bought: 1}},
		"BoughtSilent":   {"So it does when it is silent.", node(corev1.ConditionUnknown, time.Hour, bought), Census{1, 1, 1, 1}},
		"BoughtCameBack": {"And when it was.", node(corev1.ConditionTrue, time.Minute, bought), Census{1, 1, 1, 1}},
		"BoughtOff":      {"Whoever buys it does not switch it off: a cloud that does so with all of them is at fault.", node(corev1.ConditionUnknown, time.Hour, bought, off), Census{1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, CensusOf([]corev1.Node{c.in}, label, now)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// TestLostLane: of nodes that Karpenter fills, one that does not answer goes as well.
func TestLostLane(t *testing.T) {
	at := func(change ...func(*Facts)) Decision {
		f := filled(lane(a100, 4, 1), lane(t4, 0, 0))
		for _, c := range append([]func(*Facts){losing(10, 1), after(lostAfter), nodes(silent("n1"))}, change...) {
			c(&f)
		}
		return Decide(f)
	}
	first := at()
	if first.Do != ActionNone || first.Wait != Soon || len(first.Removing) != 1 {
		t.Errorf("first: %+v", first)
	}
	second := at(removing("n1"))
	if second.Do != ActionEnsure || second.Replaces != "n1" || second.Phase != v1alpha1.PhaseReady || len(second.Alarms) != 1 || second.Alarms[0].Reason != ReasonNodeLost {
		t.Errorf("then: %+v", second)
	}
}

// TestSilence: what a Node says of itself.
func TestSilence(t *testing.T) {
	node := func(status corev1.ConditionStatus, change ...func(*corev1.Node)) *corev1.Node {
		n := &corev1.Node{Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionUnknown, LastTransitionTime: metav1.NewTime(now.Add(-time.Hour))},
			{Type: corev1.NodeReady, Status: status, Reason: "Some", LastTransitionTime: metav1.NewTime(now)},
		}}}
		for _, c := range change {
			c(n)
		}
		return n
	}
	going := func(n *corev1.Node) { n.DeletionTimestamp = &metav1.Time{Time: now} }
	bare := func(n *corev1.Node) { n.Status.Conditions = nil }
	for name, c := range map[string]struct {
		reason string
		in     *corev1.Node
		since  time.Time
		lost   bool // after lostAfter
		counts bool // as not Ready
	}{
		"Ready":   {"It answers.", node(corev1.ConditionTrue), time.Time{}, false, false},
		"Unknown": {"Nothing has come from it.", node(corev1.ConditionUnknown), now, true, true},
		"False":   {"It says itself that it cannot run pods.", node(corev1.ConditionFalse), now, true, true},
		"Going":   {"Somebody is taking it away.", node(corev1.ConditionUnknown, going), time.Time{}, false, true},
		"New":     {"It has said nothing yet: whoever waits for it has a limit.", node(corev1.ConditionTrue, bare), time.Time{}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := NodeOf(c.in).Silent; !got.Equal(c.since) {
				t.Errorf("%s silent since %s, want %s", c.reason, got, c.since)
			}
			for wait, want := range map[time.Duration]bool{lostAfter: c.lost, lostAfter - time.Second: false} {
				if got := Lost(c.in, lostAfter, now.Add(wait)); got != want {
					t.Errorf("%s lost after %s: %t, want %t", c.reason, wait, got, want)
				}
			}
			if got := CensusOf([]corev1.Node{*c.in}, "example.com/pool", now.Add(time.Hour)); got.All != 1 || (got.NotReady == 1) != c.counts {
				t.Errorf("%s counts %+v", c.reason, got)
			}
		})
	}
}
