// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ResourceGPU is the extended resource that NVIDIA's device plugin offers.
const ResourceGPU = corev1.ResourceName(v1alpha1.ResourceGPU)

// Node is what matters of a Kubernetes node.
type Node struct {
	Name         string
	InstanceType string
	Ready        bool
	Problem      string // why it is not Ready, or which node problem was detected
	GPUs         int32  // allocatable
	Offered      int32  // capacity: more than GPUs when some are unhealthy
	Hardware     Hardware
	Created      time.Time // by the cluster's clock
	// Silent is since when the kubelet has not said that the node is Ready; zero: it
	// says so, or the node is being deleted.
	Silent time.Time
	// Kept names pods that keep the machine of a lost node; empty: none do, or nobody looked.
	Kept string
	// Held are GPUs that pods hold who are no users of the pool, and Holders who they
	// are; looked for on nodes that exist without us.
	Held    int32
	Holders string
	// Plugin is what was found of the device plugin on a node that offers no GPU;
	// empty: nobody looked.
	Plugin string
}

// Hardware is what GPU feature discovery says of the GPUs of a node; zero where
// it does not run.
type Hardware struct {
	Product   string // as NVIDIA names it, for example NVIDIA-A100-SXM4-80GB
	Count     int32  // GPUs, or slices of them
	MemoryMiB int64  // of one
	Shares    int32  // pods that share one by time slicing or MPS; 0 or 1: none do
	Driver    string // NVIDIA's, for example 580.95.05
}

// Labels of GPU feature discovery, which NVIDIA's GPU operator and device plugin
// bring.
const (
	labelProduct  = "nvidia.com/gpu.product"
	labelMemory   = "nvidia.com/gpu.memory"
	labelCount    = "nvidia.com/gpu.count"
	labelReplicas = "nvidia.com/gpu.replicas"
)

// hardwareOf reads what GPU feature discovery wrote. A label that is no number
// says nothing.
func hardwareOf(labels map[string]string) Hardware {
	number := func(key string) int64 {
		n, err := strconv.ParseInt(labels[key], 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	return Hardware{
		Product: labels[labelProduct], Count: bounded(number(labelCount)),
		MemoryMiB: number(labelMemory), Shares: bounded(number(labelReplicas)), Driver: driverOf(labels),
	}
}

// closed are taints of nodes that take no pods yet, or no more, whatever they
// tolerate of ours: the kubelet may be Ready all the same.
var closed = map[string]string{
	"karpenter.sh/unregistered":                      "Karpenter has not registered it yet",
	"karpenter.sh/disrupted":                         "Karpenter is about to remove it",
	"node.cloudprovider.kubernetes.io/uninitialized": "the cloud has not initialised it yet",
}

// NodeOf reduces a node. A node that is being deleted, or closed by whoever
// makes nodes, is not Ready.
func NodeOf(n *corev1.Node) Node { return NodeWith(n, ResourceGPU) }

// NodeWith is NodeOf where the GPUs of a pool are another resource: slices of a mixed
// node.
func NodeWith(n *corev1.Node, gpus corev1.ResourceName) Node {
	out := Node{Name: n.Name, InstanceType: n.Labels[corev1.LabelInstanceTypeStable], Hardware: hardwareOf(n.Labels), Created: n.CreationTimestamp.UTC()}
	allocatable, capacity := n.Status.Allocatable[gpus], n.Status.Capacity[gpus]
	out.GPUs, out.Offered = bounded(allocatable.Value()), bounded(capacity.Value())
	for _, c := range n.Status.Conditions {
		switch {
		case c.Type == corev1.NodeReady:
			out.Ready = c.Status == corev1.ConditionTrue && n.DeletionTimestamp == nil
			if !out.Ready {
				out.Problem = c.Reason
			}
		case c.Status == corev1.ConditionTrue && slices.Contains(gpuProblems, string(c.Type)):
			out.Problem = string(c.Type)
		}
	}
	if since, silent := silentSince(n); silent && n.DeletionTimestamp == nil {
		out.Silent = since
	}
	for _, t := range n.Spec.Taints {
		if why, is := closed[t.Key]; is && out.Ready {
			out.Ready, out.Problem = false, why
		}
	}
	return out
}

// bounded makes a number the API's type; counts of nodes and GPUs are far below
// its limit.
func bounded(n int64) int32 { return int32(min(n, math.MaxInt32)) } //nolint:gosec // bounded by min

// Bounded is a number as a status holds it: the most there, where it is more.
func Bounded(n int64) int32 { return bounded(n) }

// gpuProblems are conditions that AKS's node problem detector sets on GPU nodes.
var gpuProblems = []string{"GPUMissing", "XIDErrors", "NVLinkStatusInactive", "IBLinkFlapping", "GPUClockThrottling", "UnhealthyNvidiaDevicePlugin"}

// Count is how many nodes are how far, and the GPUs on them.
type Count struct {
	Wanted      int32 // nodes
	Joined      int32 // nodes that are Ready
	Usable      int32 // nodes that are Ready with all their GPUs
	Expected    int32 // GPUs on Wanted nodes
	Allocatable int32 // GPUs on Ready nodes that nobody else holds
	Held        int32 // GPUs on Ready nodes that somebody else holds
	Missing     int32 // GPUs of Expected that are on no node, or do not work
	Problem     string
	// Stuck is the problem of a node that has had the time to be usable.
	Stuck string
}

// count judges every node by what its size promises.
func count(f Facts) Count {
	c := Count{Wanted: f.wanted()}
	instance := Candidate(f.Pool.Status.Candidate).InstanceType
	if instance == "" && len(f.Pool.Spec.Candidates) > 0 {
		instance = f.Pool.Spec.Candidates[0].InstanceType
	}
	one := f.each(instance)
	c.Expected = c.Wanted * one
	switch {
	case f.byPods():
		c.Expected = f.expectedOn()
	case f.autoscale() != nil:
		c.Expected = max(c.Wanted, bounded(int64(len(f.Nodes)))) * one
	}
	nodes := slices.SortedFunc(slices.Values(f.Nodes), func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	var working int32
	for _, n := range nodes {
		problem := judge(n, one)
		switch {
		case f.Seen.External:
			problem = f.judgeExisting(n, instance)
		case f.byPods():
			problem = judge(n, promised(n.InstanceType, f.Catalog))
		}
		problem = cmp.Or(problem, f.judgeDriver(n))
		if n.Ready {
			c.Joined++
			held := min(n.Held, n.GPUs) // one that has failed since may still be held
			c.Allocatable, c.Held = c.Allocatable+n.GPUs-held, c.Held+held
		}
		working += f.working(n, instance, problem)
		if problem == "" {
			c.Usable++
			continue
		}
		c.Problem = cmp.Or(c.Problem, problem)
		if !n.Created.IsZero() && f.Now.Sub(n.Created) > f.Pool.Spec.Timeouts.GPUReady.Duration {
			c.Stuck = cmp.Or(c.Stuck, problem)
		}
	}
	c.Missing = max(c.Expected-working, 0)
	return c
}

// each is how many GPUs, or slices of them, a node of a size has.
func (f Facts) each(instance string) int32 {
	spec := f.Pool.Spec
	if f.Seen.External && spec.GPUsLeft() > 0 {
		return spec.GPUsLeft()
	}
	if size, ok := f.Catalog(instance); ok && spec.Slices() != "" && len(size.Slices) > 0 {
		return max(bounded(int64(size.Slices[profileOf(spec.Slices())])), 1)
	}
	return promised(instance, f.Catalog)
}

// promised is the number of GPUs of a size; a size that the catalogue does not
// know promises one, so that a node without any is never called usable.
func promised(instance string, catalog Catalog) int32 {
	if s, ok := catalog(instance); ok && s.GPUs > 0 {
		return bounded(int64(s.GPUs))
	}
	return 1
}

// memorySlack is how much less memory a GPU may report than the catalogue has of
// its kind: drivers reserve some, and error correction takes some.
const memorySlack = 0.05

// judgeExisting says why a node that exists cannot be used: beside its own
// promise, by its size or by what GPU feature discovery counted, it has to be
// what the candidate says, because the Workspace was sized for that.
func (f Facts) judgeExisting(n Node, candidate string) string {
	spec := &f.Pool.Spec
	if spec.Mixed() {
		return f.judgeMixed(n)
	}
	want, known := f.Catalog(candidate)
	if problem := judge(n, f.ownOf(n, candidate)); problem != "" {
		return problem
	}
	what := n.Hardware.Product
	if what == "" {
		what = "GPUs"
	}
	least := spec.GPUsLeft()
	if least == 0 {
		least = f.each(candidate)
	}
	switch {
	case n.Hardware.Shares > 1:
		return fmt.Sprintf("node %s lets %d pods share each GPU: the Workspace was sized for whole ones", n.Name, n.Hardware.Shares)
	case known && spec.Slices() == "" && n.Hardware.smaller(want.MemoryMiB):
		return fmt.Sprintf("node %s has %s with %.1f GiB each, and %s, which the Workspace was sized for, has %.1f GiB", n.Name, what, gib(n.Hardware.MemoryMiB), candidate, gib(want.MemoryMiB))
	case known && n.GPUs < least:
		return fmt.Sprintf("node %s has %d GPUs, and %s, which the Workspace was sized for, has %d", n.Name, n.GPUs, candidate, least)
	}
	return free(n, candidate, least)
}

// smaller says whether a GPU is known to have less memory than one of the catalogue, in
// MiB; 0: what that has is not known.
func (h Hardware) smaller(mib int64) bool {
	return mib > 0 && h.MemoryMiB > 0 && float64(h.MemoryMiB) < float64(mib)*(1-memorySlack)
}

// ownOf is how many GPUs, or slices that are GPUs, a node that exists promises itself.
func (f Facts) ownOf(n Node, candidate string) int32 {
	size, listed := f.Catalog(n.InstanceType)
	profile := f.Pool.Spec.Slices()
	switch {
	case profile != "" && n.Hardware.Count > 0:
		return n.Hardware.Count // with slices that are GPUs, discovery counts those
	case profile != "" && listed && size.Slices[profileOf(profile)] > 0:
		return bounded(int64(size.Slices[profileOf(profile)]))
	case profile != "":
		return n.GPUs // nothing is known of it
	case listed:
		return promised(n.InstanceType, f.Catalog)
	case n.Hardware.Count > 0:
		return n.Hardware.Count * max(n.Hardware.Shares, 1)
	}
	return promised(candidate, f.Catalog)
}

// judgeMixed says why a node whose GPUs are cut into slices of several sizes cannot be
// used: how many there are of one, only the node says.
func (f Facts) judgeMixed(n Node) string {
	spec := &f.Pool.Spec
	switch least := spec.GPUsLeft(); {
	case !n.Ready:
		return judge(n, 0)
	case n.Offered == 0:
		return fmt.Sprintf("node %s offers no %s: its GPUs are whole, or cut into other slices; the label nvidia.com/mig.config of the GPU operator says into which", n.Name, spec.GPUResource())
	case n.Offered > n.GPUs:
		return fmt.Sprintf("node %s has %d slices of which the device plugin calls %d healthy", n.Name, n.Offered, n.GPUs)
	case max(n.GPUs-n.Held, 0) < least && n.Held > 0:
		return fmt.Sprintf("node %s has %d of its %s of %s free, and the Workspace takes %d: the others are held by %s", n.Name, max(n.GPUs-n.Held, 0), plural(n.GPUs, "slice"), spec.Slices(), least, n.Holders)
	case n.GPUs < least:
		return fmt.Sprintf("node %s has %s of %s, and the Workspace takes %d", n.Name, plural(n.GPUs, "slice"), spec.Slices(), least)
	}
	return ""
}

// profileOf is a MIG profile as the catalogue has it: 2g.24gb is MIG2g.
func profileOf(profile string) string {
	if short, _, long := strings.Cut(profile, "."); long {
		return "MIG" + short
	}
	return profile
}

func gib(mib int64) float64 { return float64(mib) / 1024 }

// judge says why a node cannot be used; empty: it can.
func judge(n Node, want int32) string {
	switch {
	case !n.Ready && n.Problem != "":
		return fmt.Sprintf("node %s is not Ready (%s)", n.Name, n.Problem)
	case !n.Ready:
		return fmt.Sprintf("node %s is not Ready", n.Name)
	case n.GPUs == want:
		return ""
	case n.Problem != "":
		return fmt.Sprintf("node %s offers %d of %d GPUs, with the problem %s", n.Name, n.GPUs, want, n.Problem)
	case n.Offered == 0 && n.Plugin != "":
		return fmt.Sprintf("node %s offers no nvidia.com/gpu yet: %s", n.Name, n.Plugin)
	case n.Offered == 0:
		return fmt.Sprintf("node %s offers no nvidia.com/gpu yet: no device plugin has registered, or it does not tolerate the node's taints", n.Name)
	case n.Offered > n.GPUs:
		return fmt.Sprintf("node %s has %d GPUs of which the device plugin calls %d healthy", n.Name, n.Offered, n.GPUs)
	}
	return fmt.Sprintf("node %s offers %d nvidia.com/gpu where its size has %d", n.Name, n.GPUs, want)
}

// size names a candidate in a message.
func size(c v1alpha1.Candidate) string {
	s := c.InstanceType
	if priority(c) == v1alpha1.Spot {
		s += " (spot)"
	}
	if len(c.Zones) > 0 {
		s += " in zones " + strings.Join(c.Zones, ", ")
	}
	return s
}

// plural is "1 node" or "2 nodes".
func plural(n int32, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
