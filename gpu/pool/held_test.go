// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// holding is a pod that runs on a node and takes GPUs.
func holding(namespace, name string, gpus int64, change ...func(*corev1.Pod)) corev1.Pod {
	p := corev1.Pod{}
	p.Namespace, p.Name, p.Spec.NodeName, p.Status.Phase = namespace, name, "n1", corev1.PodRunning
	p.Spec.Containers = []corev1.Container{takes(gpus)}
	for _, c := range change {
		c(&p)
	}
	return p
}

func takes(gpus int64) corev1.Container {
	return corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}}}
}

func TestHolding(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	begins := func(c ...corev1.Container) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.InitContainers = c }
	}
	phase := func(is corev1.PodPhase) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.Phase = is } }
	sidecar := takes(1)
	sidecar.RestartPolicy = &always
	for name, c := range map[string]struct {
		reason string
		pods   []corev1.Pod
		gpus   int32
		who    string
	}{
		"None":     {"Nobody asks for a GPU.", []corev1.Pod{holding("kube-system", "dns", 0)}, 0, ""},
		"Foreign":  {"Two of others, in order.", []corev1.Pod{holding("b", "y", 1), holding("a", "x", 4)}, 5, "a/x (4), b/y (1)"},
		"Users":    {"What the pool is for holds nothing against it.", []corev1.Pod{holding("team-a", "ours", 4)}, 0, ""},
		"Done":     {"A pod that is over has given its GPUs back.", []corev1.Pod{holding("a", "x", 4, phase(corev1.PodSucceeded)), holding("a", "y", 4, phase(corev1.PodFailed))}, 0, ""},
		"Starting": {"Placed and not running yet: the scheduler has given them away.", []corev1.Pod{holding("a", "x", 4, phase(corev1.PodPending))}, 4, "a/x (4)"},
		"Unplaced": {"A pod that waits holds nothing.", []corev1.Pod{holding("a", "x", 4, func(p *corev1.Pod) { p.Spec.NodeName = "" })}, 0, ""},
		"Init":     {"The greater of what runs first and what runs then, as the scheduler counts.", []corev1.Pod{holding("a", "x", 1, begins(takes(2)))}, 2, "a/x (2)"},
		"Sidecar":  {"A sidecar stays beside the others.", []corev1.Pod{holding("a", "x", 1, begins(sidecar))}, 2, "a/x (2)"},
	} {
		t.Run(name, func(t *testing.T) {
			gpus, who := Holding(c.pods, func(p *corev1.Pod) bool { return p.Namespace == "team-a" }, "")
			if gpus != c.gpus || who != c.who {
				t.Errorf("%s\n%d by %q, want %d by %q", c.reason, gpus, who, c.gpus, c.who)
			}
		})
	}
}

// TestHoldingWithin: where teams are kept apart, one is told how much others hold, and
// not what they run.
func TestHoldingWithin(t *testing.T) {
	pods := []corev1.Pod{holding("b", "y", 1), holding("team-a", "x", 2), holding("c", "z", 4)}
	nobody := func(*corev1.Pod) bool { return false }
	const want = "pods of other namespaces (5), team-a/x (2)"
	if gpus, who := Holding(pods, nobody, "team-a"); gpus != 7 || who != want {
		t.Errorf("%d by %q, want 7 by %q", gpus, who, want)
	}
}

// TestOccupied: a node that exists is as much as others leave of it.
func TestOccupied(t *testing.T) {
	const nc96 = "Standard_NC96ads_A100_v4"
	sizes := func(name string) (Size, bool) {
		s, ok := map[string]Size{a100: {GPUs: 1}, nc96: {GPUs: 4}}[name]
		return s, ok
	}
	node := func(name string, gpus, held int32) Node {
		n := Node{Name: name, Ready: true, GPUs: gpus, Offered: gpus, Held: held, Hardware: Hardware{Count: gpus}}
		if held > 0 {
			n.Holders = fmt.Sprintf("b/train (%d)", held)
		}
		return n
	}
	for name, c := range map[string]struct {
		reason    string
		candidate string
		phase     v1alpha1.PoolPhase
		wanted    int32
		nodes     []Node
		ready     bool
		free      int32
		says      string
		looks     bool // again, without an event
	}{
		"Free":       {reason: "Nobody else is there.", candidate: nc96, wanted: 1, nodes: []Node{node("n1", 8, 0)}, ready: true, free: 8},
		"HalfFree":   {reason: "Four of eight are as good as a node of four.", candidate: nc96, wanted: 1, nodes: []Node{node("n1", 8, 4)}, ready: true, free: 4},
		"OneForMany": {reason: "For one GPU one is enough.", candidate: a100, wanted: 1, nodes: []Node{node("n1", 8, 7)}, ready: true, free: 1},
		"TooFew": {
			reason: "Three of four would leave the pod without a place; who holds them can be asked.", candidate: nc96, wanted: 1, nodes: []Node{node("n1", 8, 5)}, free: 3,
			says:  "0 of 1 existing node can be used: node n1 has 3 of its 8 GPUs free, and Standard_NC96ads_A100_v4, which the Workspace was sized for, has 4: the others are held by b/train (5)",
			looks: true,
		},
		"Full": {
			reason: "Nothing is left.", candidate: a100, wanted: 1, nodes: []Node{node("n1", 1, 1)},
			says: "node n1 has 0 of its 1 GPU free", looks: true,
		},
		"Another":  {reason: "A node that is free makes up for one that is not.", candidate: nc96, wanted: 1, nodes: []Node{node("n1", 8, 8), node("n2", 8, 0)}, ready: true, free: 8},
		"OneOfTwo": {reason: "Both are wanted.", candidate: nc96, wanted: 2, nodes: []Node{node("n1", 8, 8), node("n2", 8, 0)}, free: 8, says: "1 of 2 existing nodes can be used", looks: true},
		"TakenMeanwhile": {
			reason: "It was Ready, and others took what it needs.", candidate: nc96, phase: v1alpha1.PhaseReady, wanted: 1, nodes: []Node{node("n1", 8, 8)},
			says: "0 of 1 existing node can be used: node n1 has 0 of its 8 GPUs free", looks: true,
		},
		"Broken": {
			reason: "The GPU that the plugin calls unhealthy is the first thing to know, and a node event tells when it is mended.", candidate: nc96, wanted: 1,
			nodes: []Node{{Name: "n1", Ready: true, GPUs: 3, Offered: 4, Hardware: Hardware{Count: 4}}}, free: 3, says: "of which the device plugin calls 3 healthy",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts(c.phase, Observation{External: true, Fresh: true}, replicas(c.wanted), nodes(c.nodes...))
			f.Pool.Spec.Candidates, f.Catalog = []v1alpha1.Candidate{onDemand(c.candidate)}, sizes
			d := Decide(f)
			if ready := d.Phase == v1alpha1.PhaseReady; ready != c.ready || d.Count.Allocatable != c.free || (d.Wait > 0) != c.looks || d.Do != ActionNone {
				t.Errorf("%s\nready %t, %d free, looks again in %s: %s", c.reason, ready, d.Count.Allocatable, d.Wait, d.Message)
			}
			if !strings.Contains(d.Message, c.says) {
				t.Errorf("%s\nsays %q\nwant %q", c.reason, d.Message, c.says)
			}
		})
	}
}

// TestCountsHeld: what others hold is counted apart from what does not work, so that
// an alert on the latter is none on the former.
func TestCountsHeld(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		node       Node
		free, held int32
	}{
		"Free":   {"All of it is the pool's.", Node{Ready: true, GPUs: 8, Offered: 8}, 8, 0},
		"Held":   {"Five are in use, and none is broken.", Node{Ready: true, GPUs: 8, Offered: 8, Held: 5}, 3, 5},
		"Broken": {"One of eight is broken, and five of the others are in use.", Node{Ready: true, GPUs: 7, Offered: 8, Held: 5}, 2, 5},
		"Failed": {"All were given away before one broke, and who holds that one has none that works.", Node{Ready: true, GPUs: 7, Offered: 8, Held: 8}, 0, 7},
		"Away":   {"A node that does not answer has none for anybody.", Node{GPUs: 8, Offered: 8, Held: 5}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.node.Name = "n1"
			got := Decide(facts("", Observation{External: true, Fresh: true}, replicas(1), nodes(c.node))).Count
			if got.Allocatable != c.free || got.Held != c.held {
				t.Errorf("%s\n%d free and %d held, want %d and %d", c.reason, got.Allocatable, got.Held, c.free, c.held)
			}
		})
	}
}

// TestCountsMissing: of a node counts what is wanted of it, so that the GPUs that one has
// to spare hide none of another.
func TestCountsMissing(t *testing.T) {
	const eight = "eight"
	sizes := func(name string) (Size, bool) { return Size{GPUs: 8}, name == eight }
	node := func(name string, works, held int32) Node {
		n := Node{Name: name, InstanceType: eight, Ready: true, GPUs: works, Offered: 8, Held: held, Hardware: Hardware{Count: 8}}
		if held > 0 {
			n.Holders = "b/train"
		}
		return n
	}
	away := Node{Name: "n2", InstanceType: eight, GPUs: 8, Offered: 8}
	for name, c := range map[string]struct {
		reason string
		gpus   int32 // wanted of each node; 0: all
		wanted int32 // nodes
		nodes  []Node
		want   int32
	}{
		"Part":    {"Two are wanted of each, and one node is not Ready, whatever the other has.", 2, 2, []Node{node("n1", 8, 0), away}, 2},
		"Shared":  {"What others hold of the node that works is not of the one that does not.", 2, 2, []Node{node("n1", 8, 6), away}, 2},
		"Held":    {"One is left of two that are wanted: it works.", 2, 1, []Node{node("n1", 8, 7)}, 0},
		"Broken":  {"A node that lacks one is not used, though it has more than are wanted.", 2, 1, []Node{node("n1", 7, 0)}, 1},
		"Bare":    {"All that are wanted are broken, and no more than that is missing.", 2, 1, []Node{node("n1", 0, 0)}, 2},
		"Absent":  {"A node that is not there has none.", 2, 2, []Node{node("n1", 8, 0)}, 2},
		"Spare":   {"A third node stands in for the one that is lost.", 2, 2, []Node{node("n1", 8, 0), away, node("n3", 8, 0)}, 0},
		"Whole":   {"Of eight one is broken, and five of the others are in use.", 0, 1, []Node{node("n1", 7, 5)}, 1},
		"AllAway": {"A node that does not answer has none that works.", 0, 2, []Node{node("n1", 8, 8), away}, 8},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts("", Observation{External: true, Fresh: true}, replicas(c.wanted), nodes(c.nodes...))
			f.Pool.Spec.Candidates, f.Catalog = []v1alpha1.Candidate{onDemand(eight)}, sizes
			f.Pool.Spec.Existing = &v1alpha1.ExistingSpec{GPUs: c.gpus}
			if got := Decide(f).Count.Missing; got != c.want {
				t.Errorf("%s\n%d are missing, want %d", c.reason, got, c.want)
			}
		})
	}
}

// TestMissingOfBought: nodes that are bought are wanted as a whole.
func TestMissingOfBought(t *testing.T) {
	n := func(name string, ready bool, gpus int32) Node {
		return Node{Name: name, InstanceType: a100, Ready: ready, GPUs: gpus, Offered: gpus}
	}
	for name, c := range map[string]struct {
		reason string
		nodes  []Node
		want   int32
	}{
		"None":  {"All are on their way.", nil, 2},
		"One":   {"One has come.", []Node{n("n1", true, 1)}, 1},
		"Bare":  {"Its device plugin offers none yet.", []Node{n("n1", true, 1), n("n2", true, 0)}, 1},
		"Lost":  {"One does not answer.", []Node{n("n1", true, 1), n("n2", false, 1)}, 1},
		"Ready": {"All of them work.", []Node{n("n1", true, 1), n("n2", true, 1)}, 0},
		"Other": {"A third came for the one that does not answer.", []Node{n("n1", true, 1), n("n2", false, 1), n("n3", true, 1)}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts(v1alpha1.PhaseGPUWaiting, Observation{}, replicas(2), nodes(c.nodes...))
			if got := count(f).Missing; got != c.want {
				t.Errorf("%s\n%d are missing, want %d", c.reason, got, c.want)
			}
		})
	}
}

func TestHoldersOf(t *testing.T) {
	held := func(name string) Node { return Node{Name: name, GPUs: 8, Held: 4, Holders: "b/x (4)"} }
	for name, c := range map[string]struct {
		reason string
		nodes  []Node
		want   string
	}{
		"Nobody": {"The reason is another.", []Node{{Name: "a", GPUs: 8}}, ""},
		"One":    {"Who to ask.", []Node{{Name: "z", GPUs: 8}, held("a")}, "node a has 4 of its 8 GPUs free, the others are held by b/x (4)"},
		"Many": {
			"A sentence, not a list.", []Node{held("a"), held("b"), held("c"), held("d"), held("e")},
			"node a has 4 of its 8 GPUs free, the others are held by b/x (4); node b has 4 of its 8 GPUs free, the others are held by b/x (4); " +
				"node c has 4 of its 8 GPUs free, the others are held by b/x (4); and so on for 2 nodes",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := HoldersOf(c.nodes); got != c.want {
				t.Errorf("%s\ngot  %q\nwant %q", c.reason, got, c.want)
			}
		})
	}
}
