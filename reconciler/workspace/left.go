// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxLeft is the longest termination message that Kubernetes keeps, in bytes.
const maxLeft = 4096

// left is what the containers of a run have left in their termination messages.
type left struct {
	// Adapter is the pushed one, by digest.
	Adapter string `json:"adapter"`
	// Evaluation is what was measured.
	Evaluation *v1alpha1.EvaluationStatus `json:"evaluation"`
	// Why says what made a container fail.
	Why string `json:"why"`
}

// leftBy reads what the pods of a Job have left, the newest pod first; what none
// says stays empty.
func (r *Reconciler) leftBy(ctx context.Context, job *batchv1.Job) (left, error) {
	pods := &corev1.PodList{}
	err := r.Reader.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	if err != nil {
		return left{}, fmt.Errorf("listing the pods of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	var all left
	for i := range pods.Items {
		for _, c := range containersOf(&pods.Items[i]) {
			all.add(c.State.Terminated)
		}
	}
	return all, nil
}

// record keeps what was read: pods that are gone meanwhile take nothing back.
func (l left) record(t *v1alpha1.TuningStatus) {
	if l.Adapter != "" {
		t.Adapter = l.Adapter
	}
	if l.Evaluation != nil {
		t.Evaluation = l.Evaluation
	}
}

// add takes what was not said yet.
func (l *left) add(ended *corev1.ContainerStateTerminated) {
	var one left
	if ended == nil || json.Unmarshal([]byte(ended.Message), &one) != nil {
		return
	}
	if l.Adapter == "" {
		l.Adapter = one.Adapter
	}
	if l.Evaluation == nil {
		l.Evaluation = one.Evaluation
	}
	if l.Why == "" {
		l.Why = one.Why
	}
}
