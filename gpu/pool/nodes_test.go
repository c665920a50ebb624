// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// discovered is a Ready node as GPU feature discovery labels it.
func discovered(gpus int64, labels map[string]string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}
	n.Status.Capacity = n.Status.Allocatable
	return n
}

func TestExistingIsJudgedByWhatItIs(t *testing.T) {
	memory := func(name string) (Size, bool) {
		s, ok := map[string]Size{
			"a100": {GPUs: 1, MemoryMiB: 81920}, "four": {GPUs: 4, MemoryMiB: 81920}, "t4": {GPUs: 1, MemoryMiB: 15360}, "bare": {GPUs: 1},
		}[name]
		return s, ok
	}
	a100 := map[string]string{labelProduct: "NVIDIA-A100-SXM4-80GB", labelMemory: "81559", labelCount: "8"}
	for name, c := range map[string]struct {
		reason    string
		node      *corev1.Node
		candidate string
		want      string
	}{
		"OnPremises": {"No cloud ever named its size: GPU feature discovery says what it is.", discovered(8, a100), "a100", ""},
		"OneBroken":  {"Eight are there and seven are healthy.", discovered(7, a100), "a100", "node n1 offers 7 nvidia.com/gpu where its size has 8"},
		"TooSmall": {
			"The Workspace was sized for five times as much.",
			discovered(1, map[string]string{labelProduct: "Tesla-T4", labelMemory: "15360", labelCount: "1"}), "a100",
			"node n1 has Tesla-T4 with 15.0 GiB each, and a100, which the Workspace was sized for, has 80.0 GiB",
		},
		"Larger":    {"More memory than it was sized for is no fault.", discovered(8, a100), "t4", ""},
		"TooFew":    {"A pod that asks for four waits for ever.", discovered(1, map[string]string{labelMemory: "81559", labelCount: "1"}), "four", "node n1 has 1 GPUs, and four, which the Workspace was sized for, has 4"},
		"Shared":    {"Time slicing multiplies GPUs and divides their memory.", discovered(4, map[string]string{labelProduct: "Tesla-T4-SHARED", labelMemory: "15360", labelCount: "1", labelReplicas: "4"}), "t4", "node n1 lets 4 pods share each GPU: the Workspace was sized for whole ones"},
		"NoLabels":  {"Without GPU feature discovery the candidate is believed.", discovered(1, nil), "a100", ""},
		"Cloud":     {"A node of a known size keeps its promise.", discovered(4, map[string]string{corev1.LabelInstanceTypeStable: "four"}), "t4", ""},
		"NoMemory":  {"What the catalogue does not know is not compared.", discovered(1, map[string]string{labelMemory: "8192", labelCount: "1"}), "bare", ""},
		"BadLabels": {"A label that is no number says nothing.", discovered(1, map[string]string{labelMemory: "much", labelCount: "-1"}), "a100", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Facts{Pool: &v1alpha1.GPUNodePool{}, Catalog: memory, Seen: Observation{External: true}}.judgeExisting(NodeOf(c.node), c.candidate)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestExistingSays: the cause is what Ready says, and a later node that is right
// makes up for one that is not.
func TestExistingSays(t *testing.T) {
	f := facts("", Observation{External: true, Fresh: true})
	f.Pool.Spec.Candidates = []v1alpha1.Candidate{onDemand(t4)}
	f.Catalog = func(string) (Size, bool) { return Size{GPUs: 1, MemoryMiB: 15360}, true }
	weak := NodeOf(discovered(1, map[string]string{labelProduct: "Tesla-M60", labelMemory: "8192", labelCount: "1"}))
	f.Nodes = []Node{weak}
	if d := Decide(f); d.Phase == v1alpha1.PhaseReady || d.Message != "0 of 1 existing node can be used: node n1 has Tesla-M60 with 8.0 GiB each, and "+t4+", which the Workspace was sized for, has 15.0 GiB" {
		t.Errorf("got %s: %s", d.Phase, d.Message)
	}
	f.Nodes = []Node{weak, NodeOf(discovered(1, nil))}
	if d := Decide(f); d.Phase != v1alpha1.PhaseReady {
		t.Errorf("one of two will do: %s %s", d.Phase, d.Message)
	}
}

func TestPluginOf(t *testing.T) {
	pod := func(name string, change func(*corev1.PodStatus)) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "gpu", Name: name}}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}}
		if change != nil {
			change(&p.Status)
		}
		return p
	}
	waits := func(reason string) func(*corev1.PodStatus) {
		return func(s *corev1.PodStatus) {
			s.Conditions = nil
			s.ContainerStatuses = []corev1.ContainerStatus{{Name: "ctr", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
		}
	}
	for name, c := range map[string]struct {
		reason string
		pods   []corev1.Pod
		bare   bool
		want   string
	}{
		"NoDriver": {
			"Git has left the driver to an operator, and none of it runs here: a plugin by itself finds nothing.",
			[]corev1.Pod{pod("nvidia-device-plugin-daemonset-a", nil)}, true,
			"aks.gpuDriver is None, and no pod that installs a driver runs on it; the NVIDIA GPU operator must be there and tolerate the taints sku=gpu and espalier.dev/pool",
		},
		"Operator": {
			"The operator has installed its driver: what is missing is the plugin.",
			[]corev1.Pod{pod("nvidia-driver-daemonset-b", nil)}, true,
			"",
		},
		"None": {
			"The most frequent of all: why there is no pod, other nodes tell.",
			[]corev1.Pod{pod("kube-proxy-x", nil)}, false,
			"",
		},
		"Crashing": {
			"The plugin ends at once where there is no driver.",
			[]corev1.Pod{pod("nvidia-device-plugin-daemonset-a", waits("CrashLoopBackOff"))}, false,
			"pod gpu/nvidia-device-plugin-daemonset-a, the device plugin, waits: CrashLoopBackOff of container ctr",
		},
		"Driver": {
			"The first link of the chain that is broken is the cause.",
			[]corev1.Pod{pod("nvidia-device-plugin-daemonset-a", waits("PodInitializing")), pod("nvidia-driver-daemonset-b", waits("ImagePullBackOff"))}, false,
			"pod gpu/nvidia-driver-daemonset-b, which installs the driver, waits: ImagePullBackOff of container ctr",
		},
		"Starting": {
			"It has only just begun.",
			[]corev1.Pod{pod("nvidia-device-plugin-daemonset-a", func(s *corev1.PodStatus) { *s = corev1.PodStatus{} })}, false,
			"pod gpu/nvidia-device-plugin-daemonset-a, the device plugin, is Pending",
		},
		"Blind": {
			"It runs, and finds nothing.",
			[]corev1.Pod{pod("nvidia-device-plugin-daemonset-a", nil)}, false,
			"pod gpu/nvidia-device-plugin-daemonset-a, the device plugin, runs and has found none; its log says why, most often a missing driver",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, PluginOf(c.pods, c.bare)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestWithoutPlugin: a plugin that is missing is told from one that stays away, by what
// the other nodes of the cluster offer.
func TestWithoutPlugin(t *testing.T) {
	node := func(name string, gpus int64, taints ...corev1.Taint) corev1.Node {
		n := corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{Taints: taints}}
		if gpus > 0 {
			n.Status.Capacity = corev1.ResourceList{ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}
		}
		return n
	}
	sku := corev1.Taint{Key: "sku", Value: "gpu", Effect: corev1.TaintEffectNoSchedule}
	of := func(pool string) corev1.Taint {
		return corev1.Taint{Key: "espalier.dev/pool", Value: pool, Effect: corev1.TaintEffectNoSchedule}
	}
	sliced := node("sliced", 0)
	sliced.Status.Capacity = corev1.ResourceList{"nvidia.com/mig-1g.10gb": resource.MustParse("7")}
	ours := node("n", 0, sku, of("a.b"))
	for name, c := range map[string]struct {
		reason string
		node   corev1.Node
		others []corev1.Node
		want   string
	}{
		"Nowhere": {
			"None is there, or it tolerates nothing: that nobody can tell who sees nodes alone.", ours, []corev1.Node{node("cpu", 0)},
			"and no other node offers GPUs: install NVIDIA's device plugin or GPU operator; where it is there, its DaemonSet must tolerate espalier.dev/pool and sku=gpu",
		},
		"NowhereUntainted": {
			"On nodes of one's own are no taints of ours, and nothing is to be tolerated.", node("n", 0), nil,
			"and no other node offers GPUs: install NVIDIA's device plugin or GPU operator",
		},
		"Untolerated": {
			"It is there, and tolerates what AKS says to put on GPU nodes, but not what we do.", ours, []corev1.Node{node("gpu", 8, sku)},
			"and other nodes offer GPUs: its DaemonSet must tolerate espalier.dev/pool, which those do not have",
		},
		"Nearest": {
			"Of several nodes the one that is most alike tells most.", ours, []corev1.Node{node("a", 8), node("b", 8, sku), node("c", 8)},
			"and other nodes offer GPUs: its DaemonSet must tolerate espalier.dev/pool, which those do not have",
		},
		"Slices": {"Slices are GPUs that a plugin has told of.", ours, []corev1.Node{sliced}, "and other nodes offer GPUs: its DaemonSet must tolerate espalier.dev/pool and sku=gpu, which those do not have"},
		"OtherPool": {
			"It tolerates the taint of every pool of ours, so that its place is what keeps it away.", ours, []corev1.Node{node("m", 1, sku, of("c.d"))},
			"and nodes with the same taints offer GPUs: look at the node selector and the affinity of its DaemonSet",
		},
		"OfKubernetes": {
			"Those every DaemonSet tolerates, and a preference keeps nobody away.",
			node("n", 0, corev1.Taint{Key: "node.kubernetes.io/unschedulable", Effect: corev1.TaintEffectNoSchedule}, corev1.Taint{Key: "x", Effect: corev1.TaintEffectPreferNoSchedule}),
			[]corev1.Node{node("m", 1)},
			"and nodes with the same taints offer GPUs: look at the node selector and the affinity of its DaemonSet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := "no pod of a device plugin runs on it, " + c.want
			if diff := cmp.Diff(want, WithoutPlugin(&c.node, append(c.others, c.node))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestPartsOfExisting: of nodes that exist a Workspace may take a part, and holds them
// to no more than that.
func TestPartsOfExisting(t *testing.T) {
	catalog := func(name string) (Size, bool) {
		s, ok := map[string]Size{
			"eight": {GPUs: 8, MemoryMiB: 81920, Slices: map[string]int{"MIG2g": 24}}, "one": {GPUs: 1, MemoryMiB: 81920, Slices: map[string]int{"MIG2g": 3}},
		}[name]
		return s, ok
	}
	mixed := func(slices, healthy int64) *corev1.Node {
		n := discovered(0, nil)
		quantity := func(n int64) corev1.ResourceList {
			return corev1.ResourceList{"nvidia.com/mig-2g.24gb": *resource.NewQuantity(n, resource.DecimalSI), "nvidia.com/mig-1g.12gb": *resource.NewQuantity(4, resource.DecimalSI)}
		}
		n.Status.Allocatable, n.Status.Capacity = quantity(healthy), quantity(slices)
		return n
	}
	two, sliced, single := &v1alpha1.ExistingSpec{GPUs: 2}, &v1alpha1.ExistingSpec{MIG: "2g.24gb", GPUs: 2}, &v1alpha1.ExistingSpec{MIG: "MIG2g"}
	for name, c := range map[string]struct {
		reason    string
		part      *v1alpha1.ExistingSpec
		node      *corev1.Node
		held      int32
		candidate string
		want      string
	}{
		"TwoOfEight":    {"Others hold six, and two are left.", two, discovered(8, nil), 6, "eight", ""},
		"OneOfEight":    {"One is left of the two that it takes.", two, discovered(8, nil), 7, "eight", "node n1 has 1 of its 8 GPUs free, and eight, which the Workspace was sized for, has 2: the others are held by b/x (7)"},
		"Fewer":         {"The candidate stands for the GPU, and not for how many there are.", two, discovered(2, map[string]string{labelCount: "2"}), 0, "eight", ""},
		"Mixed":         {"How many slices of a size there are, only the node says.", sliced, mixed(3, 3), 0, "one", ""},
		"MixedHeld":     {"Others hold some of them.", sliced, mixed(3, 3), 2, "one", "node n1 has 1 of its 3 slices of 2g.24gb free, and the Workspace takes 2: the others are held by b/x (2)"},
		"MixedFew":      {"There are too few.", sliced, mixed(1, 1), 0, "one", "node n1 has 1 slice of 2g.24gb, and the Workspace takes 2"},
		"MixedBroken":   {"One of them is not healthy.", sliced, mixed(3, 2), 0, "one", "node n1 has 3 slices of which the device plugin calls 2 healthy"},
		"NotCut":        {"The GPUs are whole, or cut otherwise.", sliced, discovered(1, nil), 0, "one", "node n1 offers no nvidia.com/mig-2g.24gb: its GPUs are whole, or cut into other slices; the label nvidia.com/mig.config of the GPU operator says into which"},
		"Single":        {"Every slice is a GPU, and discovery counts those.", single, discovered(3, map[string]string{labelCount: "3", labelMemory: "22016"}), 0, "one", ""},
		"SingleUnlike":  {"They are cut into fewer than was sized for.", single, discovered(2, map[string]string{labelCount: "2", labelMemory: "40192"}), 0, "one", "node n1 has 2 GPUs, and one, which the Workspace was sized for, has 3"},
		"SingleUnknown": {"Without discovery the candidate is believed.", single, discovered(3, nil), 0, "one", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.GPUNodePool{Spec: v1alpha1.GPUNodePoolSpec{Provider: v1alpha1.ProviderExisting, Existing: c.part}}
			n := NodeWith(c.node, corev1.ResourceName(p.Spec.GPUResource()))
			if n.Held = c.held; c.held > 0 {
				n.Holders = fmt.Sprintf("b/x (%d)", c.held)
			}
			if diff := cmp.Diff(c.want, Facts{Pool: p, Catalog: catalog, Seen: Observation{External: true}}.judgeExisting(n, c.candidate)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}
