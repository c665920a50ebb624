// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// failed is a pod that has failed in a container.
func failed(minute int, container string, t corev1.ContainerStateTerminated) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC))},
		Spec:       corev1.PodSpec{InitContainers: []corev1.Container{{Name: "data"}, {Name: "train"}}},
		Status: corev1.PodStatus{Phase: corev1.PodFailed, InitContainerStatuses: []corev1.ContainerStatus{
			{Name: container, State: corev1.ContainerState{Terminated: &t}},
		}},
	}
}

func TestEndAmong(t *testing.T) {
	killed := corev1.ContainerStateTerminated{ExitCode: 137, Reason: reasonOOM}
	limited := failed(3, "train", killed)
	limited.Spec.InitContainers[1].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Gi")}
	evicted := failed(4, "train", corev1.ContainerStateTerminated{})
	evicted.Status.Reason, evicted.Status.Message = "Evicted", "The node was low on resource: ephemeral-storage."
	running := failed(5, "train", killed)
	running.Status.Phase = corev1.PodRunning
	sum := fit.Report{PerGPU: fit.Memory{Budget: 15 << 30, Weights: 5 << 30, Activation: 2 << 30, Logits: 3 << 30, Total: 10 << 30}}
	short := "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB"
	for name, tc := range map[string]struct {
		reason string
		pods   []corev1.Pod
		want   string // part of it, "" for nothing
	}{
		"None":      {"What is gone says nothing.", nil, ""},
		"Running":   {"What runs has not ended.", []corev1.Pod{running}, ""},
		"OutOfRAM":  {"The sum of the fit is of the GPU, and this is another memory.", []corev1.Pod{failed(1, "train", killed)}, "instance type with more of it"},
		"OverLimit": {"A limit is somebody's, and can be raised.", []corev1.Pod{limited}, "its limit of 8Gi of memory (OOMKilled)"},
		"Helper": {
			"A helper leaves why, and the condition is where people look.",
			[]corev1.Pod{failed(1, "data", corev1.ContainerStateTerminated{ExitCode: 1, Message: `{"why":"chats.jsonl has another checksum"}`})},
			"chats.jsonl has another checksum",
		},
		"Trainer": {
			"What the trainer prints may be anything, its data too.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 1, Message: "ValueError: my secret row"})}, "container train ended with exit code 1",
		},
		"TrainerLike": {
			"It may print what a helper would leave.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 1, Message: `{"why":"my secret row"}`})}, "container train ended with exit code 1",
		},
		"OutOfGPUMemory": {
			"The numbers of PyTorch are repeated, and the part of the sum that they exceed.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: short + "\n"})},
			"2.50 GiB more were asked of one that has 15.77 GiB (CUDA out of memory). The sum was weights 5.0 + activations 2.0 + logits 3.0 = 10.0 of 15.0 GiB; what was exceeded is logits",
		},
		"OutOfGPUMemoryAndMore": {
			"Who prints the message can print more than numbers.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: short + " secret"})}, "container train ended with exit code 78",
		},
		"Evicted": {"A full disk is said by the kubelet.", []corev1.Pod{evicted}, "Evicted: The node was low on resource: ephemeral-storage."},
		"Newest": {
			"Each attempt may end in another way; the last one counts.",
			[]corev1.Pod{failed(2, "train", killed), failed(1, "data", corev1.ContainerStateTerminated{ExitCode: 2})}, reasonOOM,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := endAmong(tc.pods, sum)
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") || strings.Contains(got, "secret") {
				t.Errorf("%s\ngot %q, want %q in it", tc.reason, got, tc.want)
			}
		})
	}
}
