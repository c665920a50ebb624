// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// reasonOOM is what a kubelet says of a container that the kernel ended for memory.
const reasonOOM = "OOMKilled"

// lastEnd says why the newest attempt of a Job that failed did so, "" where none has.
func (r *Reconciler) lastEnd(ctx context.Context, p *pass, job *batchv1.Job) (string, error) {
	if job.Status.Failed == 0 {
		return "", nil
	}
	pods, err := r.allPods(ctx, p)
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.Labels[batchv1.JobNameLabel] != job.Name })
	return endAmong(pods), err
}

// endAmong is why the newest pod that has failed did so, "" where none has: pods may
// have been cleaned away. It repeats nothing that the trainer printed, and of the
// helpers what they left for just that.
func endAmong(pods []corev1.Pod) string {
	var newest *corev1.Pod
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodFailed && (newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp)) {
			newest = p
		}
	}
	if newest == nil {
		return ""
	}
	for _, c := range containersOf(newest) {
		if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
			return endOf(newest, c.Name, t)
		}
	}
	if newest.Status.Reason != "" { // Evicted, for the disk or the memory of the node
		return strings.TrimSpace(newest.Status.Reason + ": " + newest.Status.Message)
	}
	return ""
}

// endOf is one sentence on a container that failed.
func endOf(pod *corev1.Pod, name string, t *corev1.ContainerStateTerminated) string {
	one, ours := repolayout.ReadLeft(t.Message)
	switch limit := limited(pod, name); {
	case t.Reason == reasonOOM && limit != "":
		return fmt.Sprintf("container %s needed more than its limit of %s of memory (OOMKilled). That is RAM, not memory of the GPU: raise the limit that a patch has set", name, limit)
	case t.Reason == reasonOOM:
		return fmt.Sprintf("container %s was killed because the node had no memory left (OOMKilled). That is RAM, not memory of the GPU: "+
			"choose an instance type with more of it", name)
	case ours && one.Why != "" && name != trainer:
		return one.Why
	}
	return fmt.Sprintf("container %s ended with exit code %d, and kubectl logs -n %s %s -c %s has its last words", name, t.ExitCode, pod.Namespace, pod.Name, name)
}

// limited is the limit of memory that a container has, "" for none.
func limited(pod *corev1.Pod, name string) string {
	for _, all := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for _, c := range all {
			if limit, ok := c.Resources.Limits[corev1.ResourceMemory]; ok && c.Name == name {
				return limit.String()
			}
		}
	}
	return ""
}
