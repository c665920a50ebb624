// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// daemons are the pods that make GPUs of a node allocatable, in the order in
// which each waits for the one before, by a part of their name: those of the
// NVIDIA GPU operator, and the device plugin as it comes alone.
var daemons = []struct{ part, what string }{
	{"driver-daemonset", "which installs the driver"},
	{"container-toolkit", "which installs the container toolkit"},
	{"device-plugin", "the device plugin"},
}

// PluginOf says why a node offers no GPU, by the pods that run on it; bare is a node
// that came without a driver, as aks.gpuDriver None asks.
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
		return "no pod of a device plugin runs on it; its DaemonSet must tolerate the taints sku=gpu and espalier.dev/pool"
	}
	return fmt.Sprintf("pod %s/%s, the device plugin, runs and has found none; its log says why, most often a missing driver", last.Namespace, last.Name)
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
