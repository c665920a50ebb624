// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/gpu/fit"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// reasonOOM is what a kubelet says of a container that the kernel ended for memory.
const reasonOOM = "OOMKilled"

// lacked is what the script around the trainer keeps of PyTorch's message, which
// is all numbers: what was asked for, and the memory of the GPU.
var lacked = regexp.MustCompile(`^CUDA out of memory\. Tried to allocate ([0-9.]{1,12} [KMG]iB)\. GPU [0-9]{1,3} has a total capacity of ([0-9.]{1,12} GiB)$`)

// full is what that script keeps of a disk that is full.
var full = regexp.MustCompile(`^No space left on device: ([0-9]{1,15}|\?) KiB are free where the checkpoints are$`)

// lastEnd says why the newest attempt of a Job that failed did so, "" where none has.
func (r *Reconciler) lastEnd(ctx context.Context, p *pass, job *batchv1.Job) (string, error) {
	if job.Status.Failed == 0 {
		return "", nil
	}
	pods, err := r.allPods(ctx, p)
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.Labels[batchv1.JobNameLabel] != job.Name })
	return endAmong(pods, counted{p.candidate.Fit, p.disk(), p.ram()}), err
}

// counted is what a run was given: the sum for each of its GPUs; in words, the claim that its
// checkpoints are on, and the RAM of a node, "" where that is not known.
type counted struct {
	sum  fit.Report
	disk string
	ram  string
}

// ram is how much of it the size of the nodes has, and what it is for: the sum counts none
// of it.
func (p *pass) ram() string {
	i := p.candidate.Instance
	if i.RAMGiB <= 0 {
		return ""
	}
	return fmt.Sprintf(": %s has %.0f GiB, for the weights while they are loaded, the rows that are prepared and the 8Gi of /dev/shm", i.Name, i.RAMGiB)
}

// disk is the claim of the checkpoints, how large it is and what makes it larger.
func (p *pass) disk() string {
	fewer := ""
	if p.ws.Spec.Resumes() { // else there are no checkpoints to keep fewer of
		fewer = ", or keep fewer of them (checkpoints.keep)"
	}
	if claim := p.ws.Spec.Tuning.Output.Claim; claim != "" {
		return fmt.Sprintf("claim %s of spec.tuning.output.claim: make it larger%s", claim, fewer)
	}
	name, size := repolayout.WorkClaimName(p.ws.Name), ""
	if p.claim != nil {
		has := p.claim.Status.Capacity[corev1.ResourceStorage]
		if has.IsZero() {
			has = p.claim.Spec.Resources.Requests[corev1.ResourceStorage]
		}
		size = ", which has " + has.String()
	}
	return fmt.Sprintf("claim %s%s: raise spec.tuning.checkpoints.size%s", name, size, fewer)
}

// endAmong is why the newest pod that has failed did so, "" where none has: pods may
// have been cleaned away. It repeats nothing that the trainer printed but
// numbers, and of the helpers what they left for just that.
func endAmong(pods []corev1.Pod, given counted) string {
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
			return endOf(newest, c.Name, t, given)
		}
	}
	if newest.Status.Reason != "" { // Evicted, for the disk or the memory of the node
		return strings.TrimSpace(newest.Status.Reason + ": " + newest.Status.Message)
	}
	return ""
}

// endOf is one sentence on a container that failed.
func endOf(pod *corev1.Pod, name string, t *corev1.ContainerStateTerminated, given counted) string {
	one, ours := repolayout.ReadLeft(t.Message)
	switch limit := limited(pod, name); {
	case t.Reason == reasonOOM && limit != "":
		return fmt.Sprintf("container %s needed more than its limit of %s of memory (OOMKilled). That is RAM, not memory of the GPU: raise the limit that a patch has set", name, limit)
	case t.Reason == reasonOOM:
		return fmt.Sprintf("container %s was killed because the node had no memory left (OOMKilled). That is RAM, not memory of the GPU%s; "+
			"choose an instance type with more of it", name, given.ram)
	case ours && one.Why != "" && name != trainer:
		return one.Why
	case name == trainer && lacked.MatchString(strings.TrimSpace(t.Message)):
		said := lacked.FindStringSubmatch(strings.TrimSpace(t.Message))
		return exceeded(said[1], said[2], given.sum)
	case name == trainer && full.MatchString(strings.TrimSpace(t.Message)):
		return filled(full.FindStringSubmatch(strings.TrimSpace(t.Message))[1], given.disk)
	}
	return fmt.Sprintf("container %s ended with exit code %d, and kubectl logs -n %s %s -c %s has its last words", name, t.ExitCode, pod.Namespace, pod.Name, name)
}

// roomLeft is how much is free on a disk that another checkpoint did not fit on, at
// most, in KiB: more than that, and it was another disk.
const roomLeft = 1 << 20

// filled says which disk of the trainer is full.
func filled(free, disk string) string {
	const said = "a disk of container train is full (No space left on device): "
	kib, err := strconv.ParseInt(free, 10, 64)
	if err != nil {
		return said + "if it is that of the checkpoints, it is " + disk
	}
	mib := kib >> 10
	if kib > roomLeft {
		return fmt.Sprintf(said+"that of the checkpoints has %d MiB free, so that it is the node's own, or the 8Gi of /dev/shm; the log of the container names the file. "+
			"Choose an instance type with a larger disk", mib)
	}
	return fmt.Sprintf(said+"%d MiB are left for checkpoints, the model and the prepared data on %s", mib, disk)
}

// exceeded says which part of the sum was too small: of the parts, weights, adapter
// and optimizer are known from the shape of the model, activations and logits are
// estimated from the tokens of a batch.
func exceeded(asked, capacity string, sum fit.Report) string {
	text := fmt.Sprintf("the GPU ran out of memory: %s more were asked of one that has %s (CUDA out of memory). ", asked, capacity)
	if s := sum.Sum(); s != "" {
		part := "activations"
		if sum.PerGPU.Logits > sum.PerGPU.Activation {
			part = "logits"
		}
		text += fmt.Sprintf("The sum was %s; what was exceeded is %s, the part that grows with the tokens of a batch. ", s, part)
	}
	return text + "Lower sequence_len or micro_batch_size in the ConfigMap of spec.tuning.config (of KAITO's trainer max_length or per_device_train_batch_size), or choose an instance type with a larger GPU"
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
