// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
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

// TestPlacing: on a pool that an autoscaler fills, a pod without a place is how a
// node is asked for.
func TestPlacing(t *testing.T) {
	pool := func(ready, most int32) *v1alpha1.GPUNodePool {
		p := &v1alpha1.GPUNodePool{}
		p.Name = "shared"
		p.Status.Candidate, p.Status.ReadyNodes = &v1alpha1.CandidateStatus{InstanceType: "Standard_NC4as_T4_v3"}, ready
		if most > 0 {
			p.Spec.AKS = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Max: most}}
		}
		return p
	}
	filled := func() *v1alpha1.GPUNodePool {
		p := pool(0, 0)
		p.Spec.Provider, p.Spec.Karpenter = v1alpha1.ProviderKarpenter, &v1alpha1.KarpenterSpec{Mode: v1alpha1.KarpenterNodePools, MaxNodes: 2}
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionCapacityNotFound, Status: metav1.ConditionTrue, Message: "Passed over for now: A: sold out"}}
		return p
	}
	counted := func(change func(*v1alpha1.GPUNodePool)) *v1alpha1.GPUNodePool {
		p := pool(1, 0)
		p.Status.GPUs = &v1alpha1.GPUCount{Expected: 2, Allocatable: 1}
		change(p)
		return p
	}
	const noPlace = cannotBePlaced + "0/2 nodes are available"
	const noGPU = noPlace + ": 1 Insufficient nvidia.com/gpu"
	for name, c := range map[string]struct {
		reason  string
		pool    *v1alpha1.GPUNodePool
		message string
		want    trouble
	}{
		"NoPool":  {"Nobody adds a node.", nil, noPlace, trouble{v1alpha1.ReasonPodsCannotStart, noPlace}},
		"Counted": {"Likewise: the nodes that are declared are there.", pool(1, 0), noPlace, trouble{v1alpha1.ReasonPodsCannotStart, noPlace}},
		"Shared": {"The scheduler says neither which pool it is nor what it has.", counted(func(*v1alpha1.GPUNodePool) {}), noGPU, trouble{
			v1alpha1.ReasonPodsCannotStart, noGPU + "; node pool shared has 1 of the 2 GPUs that its spec.replicas asks for, and every Workspace that names it takes of them: raise it, or wait for pods of others to end",
		}},
		"SharedTaint": {"More GPUs would not help.", counted(func(*v1alpha1.GPUNodePool) {}), noPlace, trouble{v1alpha1.ReasonPodsCannotStart, noPlace}},
		"Own": {"Nobody else is on it.", counted(func(p *v1alpha1.GPUNodePool) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: v1alpha1.WorkspaceKind, Controller: new(true)}}
		}), noGPU, trouble{v1alpha1.ReasonPodsCannotStart, noGPU}},
		"SharedExisting": {"Who holds their GPUs is said before.", counted(func(p *v1alpha1.GPUNodePool) { p.Spec.Provider = v1alpha1.ProviderExisting }), noGPU, trouble{v1alpha1.ReasonPodsCannotStart, noGPU}},
		"Added": {"A node is on its way.", pool(1, 4), noPlace, trouble{
			v1alpha1.ReasonWaitingForNodes, "A pod waits for a node: the cluster autoscaler of AKS adds Standard_NC4as_T4_v3 to node pool shared, which has 1 of at most 4: 0/2 nodes are available",
		}},
		"Most": {"Only a person raises the limit.", pool(4, 4), noPlace, trouble{
			v1alpha1.ReasonPodsCannotStart, "A pod finds no place, and node pool shared has its most nodes already, 4 of Standard_NC4as_T4_v3: raise its spec.aks.autoscale.max, or wait for another to go: 0/2 nodes are available",
		}},
		"Filled": {"Karpenter makes it, and says of which size it cannot.", filled(), noPlace, trouble{
			v1alpha1.ReasonWaitingForNodes, "A pod waits for a node: Karpenter adds Standard_NC4as_T4_v3 to node pool shared, which has 0 of at most 2. Passed over for now: A: sold out: 0/2 nodes are available",
		}},
		"Image": {"No node mends an image.", pool(1, 4), "Container a does not start", trouble{v1alpha1.ReasonPodsCannotStart, "Container a does not start"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := placing(c.pool, c.message); got != c.want {
				t.Errorf("%s\ngot  %+v\nwant %+v", c.reason, got, c.want)
			}
		})
	}
}
