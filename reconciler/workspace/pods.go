// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// hopeless are the waiting reasons of a container that time alone rarely cures.
var hopeless = []string{
	"ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull",
	"CreateContainerConfigError", "CreateContainerError", "CrashLoopBackOff", "RunContainerError",
}

// podTrouble says why the pods of a Workspace do not start, "" when nothing is
// wrong: a GPU that waits for a mistyped image costs what one that works does. Pods
// are not watched, so another pass is due after a while.
func (r *Reconciler) podTrouble(ctx context.Context, p *pass) (string, error) {
	p.after = lookAgain
	pods := &corev1.PodList{}
	err := r.Reader.List(ctx, pods, client.InNamespace(p.ws.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: p.ws.Name})
	if err != nil {
		return "", fmt.Errorf("listing the pods of Workspace %s/%s: %w", p.ws.Namespace, p.ws.Name, err)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	for i := range pods.Items {
		if trouble := troubleOf(&pods.Items[i]); trouble != "" {
			return trouble, nil
		}
	}
	return "", nil
}

func troubleOf(pod *corev1.Pod) string {
	if !pod.DeletionTimestamp.IsZero() {
		return ""
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && slices.Contains(hopeless, w.Reason) {
			return fmt.Sprintf("Container %s does not start (%s): see kubectl describe pod -n %s -l %s=%s", c.Name, w.Reason, pod.Namespace,
				repolayout.LabelWorkspace, pod.Labels[repolayout.LabelWorkspace])
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return "A pod cannot be placed: " + c.Message
		}
	}
	return ""
}
