// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// hopeless are the waiting reasons of a container that time alone rarely cures.
var hopeless = []string{
	"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull",
	"CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff", "RunContainerError",
}

// trouble is why pods do not start; without a message nothing is wrong.
type trouble struct{ reason, message string }

// podTrouble says why the pods of a Workspace do not start: a GPU that waits for a
// mistyped image costs what one that works does. Pods are not watched, so another
// pass is due after a while.
func (r *Reconciler) podTrouble(ctx context.Context, p *pass) (trouble, error) {
	p.lookAfter(lookAgain)
	if p.rolled {
		return trouble{}, nil // they were asked for just now
	}
	pods, err := r.podsOf(ctx, p)
	if err != nil {
		return trouble{}, err
	}
	return r.troubleWith(ctx, p, pods)
}

// troubleWith is podTrouble of pods that were listed.
func (r *Reconciler) troubleWith(ctx context.Context, p *pass, pods []corev1.Pod) (trouble, error) {
	p.lookAfter(lookAgain)
	message := troubleAmong(pods)
	if message == "" {
		return trouble{}, nil
	}
	if strings.HasPrefix(message, cannotBePlaced) {
		holders, err := r.holders(ctx, p)
		if err != nil {
			return trouble{}, err
		}
		message += holders
	}
	return placing(p.pool, message), nil
}

// cannotBePlaced begins what is said of a pod that no node has room for.
const cannotBePlaced = "A pod cannot be placed: "

// placing says what a pod without a place waits for: on a pool that an autoscaler
// fills, for a node that it adds as long as it may.
func placing(pool *v1alpha1.GPUNodePool, message string) trouble {
	said, waits := strings.CutPrefix(message, cannotBePlaced)
	switch {
	case !waits || pool == nil || pool.Status.Candidate == nil:
		return trouble{v1alpha1.ReasonPodsCannotStart, message}
	case pool.Spec.Autoscale() == nil:
		return trouble{v1alpha1.ReasonPodsCannotStart, message + taken(pool, said)}
	}
	most, size, who := pool.Spec.Autoscale().Max, pool.Status.Candidate.InstanceType, pool.Spec.Autoscaler()
	if pool.Status.ReadyNodes >= most {
		return trouble{v1alpha1.ReasonPodsCannotStart, fmt.Sprintf(
			"A pod finds no place, and node pool %s has its most nodes already, %d of %s: raise its %s, or wait for another to go: %s", pool.Name, most, size, pool.Spec.MostField(), said)}
	}
	return trouble{v1alpha1.ReasonWaitingForNodes, fmt.Sprintf(
		"A pod waits for a node: %s adds %s to node pool %s, which has %d of at most %d%s: %s", who, size, pool.Name, pool.Status.ReadyNodes, most, passedOver(pool), said)}
}

// taken says of a shared pool whose GPUs are taken how many it has: the scheduler names
// nothing of it. Of nodes that exist it was said who holds them.
func taken(pool *v1alpha1.GPUNodePool, said string) string {
	gpus := pool.Status.GPUs
	if gpus == nil || metav1.GetControllerOf(pool) != nil || pool.Spec.Provider == v1alpha1.ProviderExisting || !strings.Contains(said, "Insufficient "+pool.Spec.GPUResource()) {
		return ""
	}
	return fmt.Sprintf("; node pool %s has %d of the %d GPUs that its %s asks for, and every Workspace that names it takes of them: raise it, or wait for pods of others to end",
		pool.Name, gpus.Allocatable, gpus.Expected, pool.Spec.MostField())
}

// passedOver is what a pool of several sizes says of those that cannot be had; empty:
// nothing.
func passedOver(pool *v1alpha1.GPUNodePool) string {
	c := condition.Get(pool, v1alpha1.ConditionCapacityNotFound)
	if c == nil {
		return ""
	}
	return ". " + c.Message
}

// podsOf lists the pods of a Workspace that have neither ended nor are about to,
// by name.
func (r *Reconciler) podsOf(ctx context.Context, p *pass) ([]corev1.Pod, error) {
	pods, err := r.allPods(ctx, p)
	pods = slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return !pod.DeletionTimestamp.IsZero() || hasEnded(pod) })
	slices.SortFunc(pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return pods, err
}

// allPods lists the pods of a Workspace.
func (r *Reconciler) allPods(ctx context.Context, p *pass) ([]corev1.Pod, error) {
	list := &corev1.PodList{}
	err := r.Reader.List(ctx, list, client.InNamespace(p.ws.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: p.ws.Name})
	if err != nil {
		return nil, fmt.Errorf("listing the pods of Workspace %s/%s: %w", p.ws.Namespace, p.ws.Name, err)
	}
	return list.Items, nil
}

func hasEnded(pod corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// boundAmong are the pods that hold what they ask for on a node, also while they
// are about to go.
func boundAmong(pods []corev1.Pod) []corev1.Pod {
	return slices.DeleteFunc(pods, func(pod corev1.Pod) bool { return pod.Spec.NodeName == "" || hasEnded(pod) })
}

// boundAt is when a pod was given its place; zero where nobody has noted it.
func boundAt(pod *corev1.Pod) time.Time {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionTrue {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// troubleAmong is the first trouble of several pods.
func troubleAmong(pods []corev1.Pod) string {
	for i := range pods {
		if trouble := troubleOf(&pods[i]); trouble != "" {
			return trouble
		}
	}
	return ""
}

func containersOf(pod *corev1.Pod) []corev1.ContainerStatus {
	return slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
}

func troubleOf(pod *corev1.Pod) string {
	if !pod.DeletionTimestamp.IsZero() {
		return ""
	}
	for _, c := range containersOf(pod) {
		if w := c.State.Waiting; w != nil && slices.Contains(hopeless, w.Reason) {
			return fmt.Sprintf("Container %s does not start (%s): see kubectl describe pod -n %s -l %s=%s", c.Name, w.Reason, pod.Namespace,
				repolayout.LabelWorkspace, pod.Labels[repolayout.LabelWorkspace])
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return cannotBePlaced + c.Message
		}
	}
	return ""
}
