// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestHasApplied: the statuses are those that kustomize-controller writes one after
// another, with `wait: true`.
func TestHasApplied(t *testing.T) {
	const before, now, later = "main@sha1:1111", "main@sha1:2222", "main@sha1:3333"
	condition := func(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
	}
	checking := condition("Healthy", metav1.ConditionUnknown, "Progressing", "Running health checks for revision "+now+" with a timeout of 5m0s")
	unhealthy := condition("Healthy", metav1.ConditionFalse, "HealthCheckFailed", "timeout waiting for: [Workspace/models/qwen]")
	cases := map[string]struct {
		reason string
		status *kustomizationStatus
		at     string // empty: now
		want   bool
	}{
		"Unknown":    {"Of one that is gone, or follows another source, nothing is known.", nil, "", true},
		"Applied":    {"It says so.", &kustomizationStatus{LastAppliedRevision: now, LastAttemptedRevision: now}, "", true},
		"NotFetched": {"It has not begun.", &kustomizationStatus{LastAppliedRevision: before, LastAttemptedRevision: before}, "", false},
		"Building":   {"It has begun, and written nothing yet.", &kustomizationStatus{before, now, []metav1.Condition{condition("Healthy", metav1.ConditionTrue, "Succeeded", "")}}, "", false},
		"Checking":   {"Everything is written, and Flux waits for us: to wait for Flux would be for ever.", &kustomizationStatus{before, now, []metav1.Condition{checking}}, "", true},
		"CheckingTheOneBefore": {
			reason: "A health check that was broken off leaves its condition while the next revision is built.",
			status: &kustomizationStatus{before, later, []metav1.Condition{checking}},
			at:     later,
		},
		"Unhealthy": {
			reason: "Everything is written, and something fails: the report must say what.",
			status: &kustomizationStatus{before, now, []metav1.Condition{unhealthy, condition("Ready", metav1.ConditionFalse, "HealthCheckFailed", "")}},
			want:   true,
		},
		"NotAppliedAfterUnhealthy": {
			reason: "The revision before was not healthy, and this one was refused.",
			status: &kustomizationStatus{before, now, []metav1.Condition{unhealthy, condition("Ready", metav1.ConditionFalse, "ReconciliationFailed", "")}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.status.hasApplied(cmp.Or(tc.at, now)); got != tc.want {
				t.Errorf("%s Got %v", tc.reason, got)
			}
		})
	}
}
