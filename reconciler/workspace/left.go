// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// trainer is the container that runs code and data of others. What it leaves is no
// word of a helper, whatever it looks like.
const trainer = "train"

// enders are the helpers that end a run and say what came of it.
var enders = []string{"publish", "judge"}

// leftBy reads what the helpers of a Job's pods have left of its result, the newest
// pod first; what none says stays empty.
func (r *Reconciler) leftBy(ctx context.Context, job *batchv1.Job) (repolayout.Left, error) {
	pods := &corev1.PodList{}
	err := r.Reader.List(ctx, pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name})
	if err != nil {
		return repolayout.Left{}, fmt.Errorf("listing the pods of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	slices.SortFunc(pods.Items, func(a, b corev1.Pod) int { return b.CreationTimestamp.Compare(a.CreationTimestamp.Time) })
	var all repolayout.Left
	for i := range pods.Items {
		for _, c := range containersOf(&pods.Items[i]) {
			if t := c.State.Terminated; t != nil && slices.Contains(enders, c.Name) {
				add(&all, t.Message)
			}
		}
	}
	return all, nil
}

// add takes what was not said yet.
func add(all *repolayout.Left, message string) {
	one, ok := repolayout.ReadLeft(message)
	if !ok {
		return
	}
	if all.Adapter == "" {
		all.Adapter = one.Adapter
	}
	if all.Evaluation == nil {
		all.Evaluation = one.Evaluation
	}
}

// record keeps what was read: pods that are gone meanwhile take nothing back.
func record(t *v1alpha1.TuningStatus, l repolayout.Left) {
	if l.Adapter != "" {
		t.Adapter = l.Adapter
	}
	if l.Evaluation != nil {
		t.Evaluation = l.Evaluation
	}
}
