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
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
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
		"OutOfRAM":  {"The sum of the fit is of the GPU, and this is another memory.", []corev1.Pod{failed(1, "train", killed)}, "That is RAM, not memory of the GPU: Standard_NC4as_T4_v3 has 28 GiB; choose an instance type with more of it"},
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
		"FullClaim": {
			"Which claim, how large it is, and what makes it larger.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: "No space left on device: 2048 KiB are free where the checkpoints are\n"})},
			"2 MiB are left for checkpoints, the model and the prepared data on claim run-work, which has 32Gi",
		},
		"FullNode": {
			"A claim with room is not the one.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: "No space left on device: 9437184 KiB are free where the checkpoints are\n"})},
			"that of the checkpoints has 9216 MiB free, so that it is the node's own",
		},
		"FullUnknown": {
			"An image without df.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: "No space left on device: ? KiB are free where the checkpoints are\n"})},
			"if it is that of the checkpoints, it is claim run-work",
		},
		"FullAndMore": {
			"Who prints the message can print more than a number.",
			[]corev1.Pod{failed(1, "train", corev1.ContainerStateTerminated{ExitCode: 78, Message: "No space left on device: secret KiB are free where the checkpoints are"})}, "container train ended with exit code 78",
		},
		"Evicted": {"A full disk is said by the kubelet.", []corev1.Pod{evicted}, "Evicted: The node was low on resource: ephemeral-storage."},
		"Newest": {
			"Each attempt may end in another way; the last one counts.",
			[]corev1.Pod{failed(2, "train", killed), failed(1, "data", corev1.ContainerStateTerminated{ExitCode: 2})}, reasonOOM,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := endAmong(tc.pods, counted{sum, "claim run-work, which has 32Gi", ": Standard_NC4as_T4_v3 has 28 GiB"})
			if !strings.Contains(got, tc.want) || (got == "") != (tc.want == "") || strings.Contains(got, "secret") {
				t.Errorf("%s\ngot %q, want %q in it", tc.reason, got, tc.want)
			}
		})
	}
}

// TestExceeded: of the terms of the sum, the one that was estimated and is larger is named;
// the others are known from the shape of the model.
func TestExceeded(t *testing.T) {
	sum := func(activations, logits int64) fit.Report {
		return fit.Report{PerGPU: fit.Memory{Budget: 15 << 30, Weights: 5 << 30, Activation: activations << 30, Logits: logits << 30, Total: (5 + activations + logits) << 30}}
	}
	for name, tc := range map[string]struct {
		reason      string
		sum         fit.Report
		want, never string
	}{
		"Activations": {"Long sequences of a small vocabulary.", sum(4, 1), "The sum was weights 5.0 + activations 4.0 + logits 1.0 = 10.0 of 15.0 GiB; what was exceeded is activations", "exceeded is logits"},
		"Logits":      {"A large vocabulary.", sum(1, 4), "what was exceeded is logits, the part that grows with the tokens of a batch", "exceeded is activations"},
		"NoSum":       {"Nothing was counted for a pod of the user's own.", fit.Report{}, "Lower sequence_len or micro_batch_size", "The sum was"},
	} {
		t.Run(name, func(t *testing.T) {
			got := exceeded("2.50 GiB", "15.77 GiB", tc.sum)
			if !strings.Contains(got, tc.want) || strings.Contains(got, tc.never) || !strings.Contains(got, "2.50 GiB more were asked of one that has 15.77 GiB") {
				t.Errorf("%s\ngot %q", tc.reason, got)
			}
		})
	}
}

// TestRAM: the catalogue knows how much the nodes have.
func TestRAM(t *testing.T) {
	p := &pass{}
	if got := p.ram(); got != "" {
		t.Errorf("of an unknown size it says %q", got)
	}
	p.candidate.Instance = sku.Instance{Name: "Standard_NC4as_T4_v3", RAMGiB: 28}
	if got := p.ram(); !strings.HasPrefix(got, ": Standard_NC4as_T4_v3 has 28 GiB, for the weights") {
		t.Errorf("it says %q", got)
	}
}

// TestDisk: the condition names what is set in Git.
func TestDisk(t *testing.T) {
	claim := &corev1.PersistentVolumeClaim{
		Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("32Gi")}}},
	}
	grown := claim.DeepCopy()
	grown.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Gi")}
	for name, tc := range map[string]struct {
		reason string
		output v1alpha1.DataDestination
		claim  *corev1.PersistentVolumeClaim
		want   string
		kaito  bool // its trainer keeps no checkpoints
	}{
		"Asked":       {"What was asked for, before it is there.", v1alpha1.DataDestination{Image: "i"}, claim, "claim run-work, which has 32Gi: raise spec.tuning.checkpoints.size, or keep fewer of them (checkpoints.keep)", false},
		"Has":         {"What it has may be more.", v1alpha1.DataDestination{Image: "i"}, grown, "claim run-work, which has 64Gi: raise spec.tuning.checkpoints.size, or keep fewer of them (checkpoints.keep)", false},
		"Unknown":     {"It may be gone by then.", v1alpha1.DataDestination{Image: "i"}, nil, "claim run-work: raise spec.tuning.checkpoints.size, or keep fewer of them (checkpoints.keep)", false},
		"Output":      {"A run may write to a claim of somebody's.", v1alpha1.DataDestination{Claim: "theirs"}, claim, "claim theirs of spec.tuning.output.claim: make it larger, or keep fewer of them (checkpoints.keep)", false},
		"KAITO":       {"Its trainer keeps none, and the field is refused there.", v1alpha1.DataDestination{Image: "i"}, claim, "claim run-work, which has 32Gi: raise spec.tuning.checkpoints.size", true},
		"KAITOOutput": {"Nor on a claim of somebody's.", v1alpha1.DataDestination{Claim: "theirs"}, claim, "claim theirs of spec.tuning.output.claim: make it larger", true},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Name: "run"}, Spec: v1alpha1.WorkspaceSpec{Tuning: &v1alpha1.TuningSpec{Output: tc.output}}}
			if tc.kaito {
				ws.Spec.Runtime = &v1alpha1.RuntimeSpec{Name: v1alpha1.RuntimeKAITO}
			}
			if got := (&pass{ws: ws, claim: tc.claim}).disk(); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
