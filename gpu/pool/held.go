// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Holding counts the GPUs of a node that pods hold, without those that are users of the
// pool, and names the holders: the scheduler gives to others only what is left. Within
// a namespace only its own are named; "" is all.
func Holding(pods []corev1.Pod, users func(*corev1.Pod) bool, within string) (gpus int32, holders string) {
	return HoldingOf(ResourceGPU, pods, users, within)
}

// HoldingOf is Holding where the GPUs of a pool are another resource.
func HoldingOf(resource corev1.ResourceName, pods []corev1.Pod, users func(*corev1.Pod) bool, within string) (gpus int32, holders string) {
	var names []string
	var unnamed int32
	for i := range pods {
		p := &pods[i]
		n := requested(p, resource)
		if n == 0 || p.Spec.NodeName == "" || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed || users(p) {
			continue
		}
		gpus += n
		if within != "" && p.Namespace != within {
			unnamed += n
			continue
		}
		names = append(names, fmt.Sprintf("%s/%s (%d)", p.Namespace, p.Name, n))
	}
	if unnamed > 0 {
		names = append(names, fmt.Sprintf("pods of other namespaces (%d)", unnamed))
	}
	if len(names) == 0 {
		return 0, ""
	}
	return gpus, some(names)
}

// requested is how many GPUs a pod takes from the scheduler: what its containers
// take together, or more where an init container takes more before them.
func requested(p *corev1.Pod, resource corev1.ResourceName) int32 {
	var together, most int64
	for _, c := range p.Spec.InitContainers {
		n := gpusOf(c, resource)
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			together += n // a sidecar, which stays
		}
		most = max(most, together, n)
	}
	for _, c := range p.Spec.Containers {
		together += gpusOf(c, resource)
	}
	return bounded(max(together, most))
}

// gpusOf is what a container takes: of such a resource request and limit are one.
func gpusOf(c corev1.Container, resource corev1.ResourceName) int64 {
	limit, request := c.Resources.Limits[resource], c.Resources.Requests[resource]
	return max(limit.Value(), request.Value())
}

// free says why a node that exists has too few GPUs left; empty: it has enough.
func free(n Node, candidate string, want int32) string {
	left := max(n.GPUs-n.Held, 0)
	if n.Held == 0 || left >= want {
		return ""
	}
	return fmt.Sprintf("node %s has %d of its %s free, and %s, which the Workspace was sized for, has %d: the others are held by %s",
		n.Name, left, plural(n.GPUs, "GPU"), candidate, want, n.Holders)
}

// contested says that somebody else's pods hold GPUs of the nodes: when they go, no
// node tells.
func (f Facts) contested() bool {
	for _, n := range f.Nodes {
		if n.Held > 0 {
			return true
		}
	}
	return false
}

// HoldersOf says what is said of several nodes whose GPUs pods hold, for a pod that
// finds none; empty: nobody holds any.
func HoldersOf(nodes []Node) string {
	var said []string
	for _, n := range nodes {
		if n.Held > 0 {
			said = append(said, fmt.Sprintf("node %s has %d of its %s free, the others are held by %s", n.Name, max(n.GPUs-n.Held, 0), plural(n.GPUs, "GPU"), n.Holders))
		}
	}
	const most = 3
	if more := len(said) - most; more > 0 {
		said = append(said[:most], fmt.Sprintf("and so on for %s", plural(bounded(int64(more)), "node")))
	}
	return strings.Join(said, "; ")
}
