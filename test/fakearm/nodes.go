// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/retry"
)

// NodeSink is the cluster that the machines of agent pools join.
type NodeSink interface {
	// Create adds a node with its status; one that is there already is no error.
	Create(ctx context.Context, n *corev1.Node) error
	// SetGPUs sets the node's capacity and allocatable GPUs.
	SetGPUs(ctx context.Context, name string, gpus int) error
	// Delete removes a node; one that is gone already is no error.
	Delete(ctx context.Context, name string) error
}

// sinkTimeout bounds one call of the cluster.
const sinkTimeout = 10 * time.Second

const resourceGPU = corev1.ResourceName("nvidia.com/gpu")

// KubeSink is a NodeSink over an API server.
type KubeSink struct{ Client kubernetes.Interface }

// Create adds a node.
func (k KubeSink) Create(ctx context.Context, n *corev1.Node) error {
	_, err := k.Client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// SetGPUs sets the node's GPUs, against the heartbeats of kwok.
func (k KubeSink) SetGPUs(ctx context.Context, name string, gpus int) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		n, err := k.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		SetGPUs(n, gpus)
		_, err = k.Client.CoreV1().Nodes().UpdateStatus(ctx, n, metav1.UpdateOptions{})
		return err
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// Delete removes a node.
func (k KubeSink) Delete(ctx context.Context, name string) error {
	err := k.Client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// slicesOf is how many slices of a MIG profile a GPU has, and so how many GPUs a
// device plugin of the strategy "single" offers for each.
var slicesOf = map[string]int{"MIG1g": 7, "MIG2g": 3, "MIG3g": 2, "MIG4g": 1, "MIG7g": 1}

// fill brings a pool up to its count of machines.
func (s *Server) fill(p *agentPool, joins, gpus bool) error {
	hw, _ := s.opt.Sizes(p.view().VMSize)
	if n := slicesOf[fmt.Sprint(p.props["gpuInstanceProfile"])]; n > 0 {
		hw.GPUs *= n
	}
	for len(p.machines) < p.count() {
		n := s.node(p, p.serial, hw)
		if joins {
			if err := s.join(n, hw, gpus); err != nil {
				return err
			}
		}
		p.machines = append(p.machines, machine{n.Name})
		p.serial++
	}
	return nil
}

// join makes a machine a node; its GPUs may come later.
func (s *Server) join(n *corev1.Node, hw Hardware, gpus bool) error {
	delayed := gpus && s.opt.GPUDelay > 0
	if gpus && !delayed {
		SetGPUs(n, hw.GPUs)
	}
	if err := s.addNode(n); err != nil {
		return err
	}
	if delayed {
		s.after(s.opt.GPUDelay, func() error { return s.setNodeGPUs(n.Name, hw.GPUs) })
	}
	return nil
}

// node is a machine of a pool as AKS's kubelet registers it.
func (s *Server) node(p *agentPool, i int, hw Hardware) *corev1.Node {
	v := p.view()
	h := fnv.New32a()
	_, _ = h.Write([]byte(p.name)) // a hash does not fail
	id := h.Sum32() % 100_000_000
	n := &corev1.Node{}
	n.Name = fmt.Sprintf("aks-%s-%08d-vmss%06d", p.name, id, i)
	n.CreationTimestamp = metav1.NewTime(s.now())
	n.Annotations = map[string]string{"kwok.x-k8s.io/node": "fake"}
	n.Labels = map[string]string{
		"agentpool": p.name, "kubernetes.azure.com/agentpool": p.name, "kubernetes.azure.com/mode": "user",
		"kubernetes.azure.com/cluster": ResourceGroup, corev1.LabelInstanceTypeStable: v.VMSize, corev1.LabelTopologyRegion: Location,
		corev1.LabelHostname: n.Name, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
	}
	taints := v.Taints
	if v.Priority == "Spot" {
		n.Labels["kubernetes.azure.com/scalesetpriority"] = "spot"
		taints = append(taints, "kubernetes.azure.com/scalesetpriority=spot:NoSchedule")
	}
	for k, l := range v.Labels {
		n.Labels[k] = l
	}
	for _, t := range taints {
		key, rest, _ := strings.Cut(t, "=")
		value, effect, _ := strings.Cut(rest, ":")
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffect(effect)})
	}
	n.Spec.ProviderID = fmt.Sprintf("azure:///subscriptions/%s/resourceGroups/mc_%s_%s_%s/providers/Microsoft.Compute/virtualMachineScaleSets/aks-%s-%08d-vmss/virtualMachines/%d",
		Subscription, ResourceGroup, Cluster, Location, p.name, id, i)
	n.Status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewQuantity(int64(hw.VCPUs), resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(int64(hw.MemoryGiB*(1<<30)), resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(diskGiB(p)<<30, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(110, resource.DecimalSI),
	}
	n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	if s.opt.NodesReady {
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
	}
	return n
}

func diskGiB(p *agentPool) int64 {
	if v, ok := p.props["osDiskSizeGB"].(float64); ok && v > 0 {
		return int64(v)
	}
	return 128 // the server's default
}

// SetGPUs sets the GPUs that a node offers.
func SetGPUs(n *corev1.Node, gpus int) {
	q := *resource.NewQuantity(int64(gpus), resource.DecimalSI)
	for _, l := range []*corev1.ResourceList{&n.Status.Capacity, &n.Status.Allocatable} {
		if *l == nil {
			*l = corev1.ResourceList{}
		}
		(*l)[resourceGPU] = q
	}
}

func (s *Server) addNode(n *corev1.Node) error {
	return s.sink(func(ctx context.Context, k NodeSink) error { return k.Create(ctx, n) })
}

func (s *Server) setNodeGPUs(name string, gpus int) error {
	return s.sink(func(ctx context.Context, k NodeSink) error { return k.SetGPUs(ctx, name, gpus) })
}

func (s *Server) removeNode(name string) error {
	return s.sink(func(ctx context.Context, k NodeSink) error { return k.Delete(ctx, name) })
}

// removeNodes takes a pool's nodes out of the cluster, now or when it can.
func (s *Server) removeNodes(p *agentPool) {
	for _, name := range p.names() {
		s.after(0, func() error { return s.removeNode(name) })
	}
	p.machines = nil
	s.settle()
}

func (s *Server) sink(do func(context.Context, NodeSink) error) error {
	if s.opt.Nodes == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sinkTimeout)
	defer cancel()
	return do(ctx, s.opt.Nodes)
}
