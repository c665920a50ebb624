// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// daemons are the pods that make GPUs of a node allocatable, in the order in
// which each waits for the one before, by a part of their name: those of the
// NVIDIA GPU operator, and the device plugin as it comes alone.
var daemons = []struct{ part, what string }{
	{"driver-daemonset", "which installs the driver"},
	{"container-toolkit", "which installs the container toolkit"},
	{"device-plugin", "the device plugin"},
}

// PluginOf says why a node offers no GPU, by the pods that run on it; "" where none of
// them is a device plugin: see WithoutPlugin. bare is a node that came without a driver,
// as aks.gpuDriver None asks.
func PluginOf(pods []corev1.Pod, bare bool) string {
	pods = slices.SortedFunc(slices.Values(pods), func(a, b corev1.Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	var last *corev1.Pod
	for _, d := range daemons {
		for i := range pods {
			if !strings.Contains(pods[i].Name, d.part) {
				continue
			}
			if why := notReady(&pods[i]); why != "" {
				return fmt.Sprintf("pod %s/%s, %s, %s", pods[i].Namespace, pods[i].Name, d.what, why)
			}
			if d.part == "device-plugin" {
				last = &pods[i]
			}
		}
	}
	installs := func(p corev1.Pod) bool { return strings.Contains(p.Name, daemons[0].part) }
	switch {
	case bare && !slices.ContainsFunc(pods, installs):
		return "aks.gpuDriver is None, and no pod that installs a driver runs on it; the NVIDIA GPU operator must be there and tolerate the taints sku=gpu and espalier.dev/pool"
	case last == nil:
		return ""
	}
	return fmt.Sprintf("pod %s/%s, the device plugin, runs and has found none; its log says why, most often a missing driver", last.Namespace, last.Name)
}

// WithoutPlugin says why no pod of a device plugin may be on a node, by the nodes of the
// cluster: where another one offers GPUs a plugin is there, and what keeps it away is a
// taint that the other does not have, or where its DaemonSet wants to run.
func WithoutPlugin(n *corev1.Node, cluster []corev1.Node) string {
	const none = "no pod of a device plugin runs on it, "
	var beside []string
	offered := false
	for i := range cluster {
		o := &cluster[i]
		if o.Name == n.Name || !offers(o) {
			continue
		}
		theirs := blocking(o)
		more := slices.DeleteFunc(blocking(n), func(taint string) bool { return slices.Contains(theirs, taint) })
		if !offered || len(more) < len(beside) {
			offered, beside = true, more
		}
	}
	tolerate := func(taints []string) string { return "its DaemonSet must tolerate " + strings.Join(taints, " and ") }
	switch own := blocking(n); {
	case offered && len(beside) > 0:
		return none + "and other nodes offer GPUs: " + tolerate(beside) + ", which those do not have"
	case offered:
		return none + "and nodes with the same taints offer GPUs: look at the node selector and the affinity of its DaemonSet"
	case len(own) > 0:
		return none + "and no other node offers GPUs: install NVIDIA's device plugin or GPU operator; where it is there, " + tolerate(own)
	}
	return none + "and no other node offers GPUs: install NVIDIA's device plugin or GPU operator"
}

// offers says whether a node has GPUs, or slices of some, that a plugin has told of.
func offers(n *corev1.Node) bool {
	for name, quantity := range n.Status.Capacity {
		if strings.HasPrefix(string(name), "nvidia.com/") && quantity.Sign() > 0 {
			return true
		}
	}
	return false
}

// blocking are the taints of a node that keep pods away, without those that every
// DaemonSet tolerates. Whose pool it is counts for nothing: a plugin is for all.
func blocking(n *corev1.Node) []string {
	var taints []string
	for _, t := range n.Spec.Taints {
		switch {
		case t.Effect == corev1.TaintEffectPreferNoSchedule || strings.HasPrefix(t.Key, "node.kubernetes.io/"):
		case t.Key == repolayout.LabelPool || t.Value == "":
			taints = append(taints, t.Key)
		default:
			taints = append(taints, t.Key+"="+t.Value)
		}
	}
	slices.Sort(taints)
	return slices.Compact(taints)
}

// notReady says in what way a pod does not work; empty: it does.
func notReady(p *corev1.Pod) string {
	if p.DeletionTimestamp != nil {
		return "is being deleted"
	}
	for _, c := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return fmt.Sprintf("waits: %s of container %s", w.Reason, c.Name)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
			return ""
		}
	}
	if p.Status.Phase == corev1.PodRunning {
		return "is not Ready yet"
	}
	return "is " + cmp.Or(string(p.Status.Phase), string(corev1.PodPending))
}
