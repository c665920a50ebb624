// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTroubleOf(t *testing.T) {
	waiting := func(reason string) []corev1.ContainerStatus {
		return []corev1.ContainerStatus{{Name: "train", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}}
	}
	for name, c := range map[string]struct {
		reason string
		pod    corev1.Pod
		want   string // part of the message, "" for no trouble
	}{
		"Starting": {
			reason: "A container that is being created is on its way.",
			pod:    corev1.Pod{Status: corev1.PodStatus{ContainerStatuses: waiting("ContainerCreating")}},
		},
		"WrongImage": {
			reason: "An image that cannot be pulled does not cure itself, and the GPU is paid.",
			pod:    corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: waiting("ImagePullBackOff")}},
			want:   "train does not start (ImagePullBackOff)",
		},
		"NoPlace": {
			reason: "The scheduler's words say why a pod cannot be placed.",
			pod: corev1.Pod{Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{
				Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/2 nodes are available",
			}}}},
			want: "0/2 nodes are available",
		},
		"GoingAway": {
			reason: "What is being deleted need not start.",
			pod: corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{DeletionTimestamp: &metav1.Time{}},
				Status:     corev1.PodStatus{ContainerStatuses: waiting("CrashLoopBackOff")},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			now := metav1.Now()
			if c.pod.DeletionTimestamp != nil {
				c.pod.DeletionTimestamp = &now
			}
			got := troubleOf(&c.pod)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s\ngot %q, want %q", c.reason, got, c.want)
			}
		})
	}
}
