// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestStatus: one line a Workspace; of a run also how far it is and what it has cost up to now.
func TestStatus(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	run := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "dolly"}}
	run.Status.Instance = "Standard_NC4as_T4_v3"
	run.Status.Spending = &v1alpha1.SpendingStatus{Run: "dolly-1", SpentUSD: "4", At: metav1.NewTime(now.Add(-time.Hour)), USDPerHour: "0.526"}
	run.Status.Tuning = &v1alpha1.TuningStatus{Run: "dolly-1", Progress: &v1alpha1.TuningProgress{
		Percent: 34, Step: 340, Steps: 1000, Loss: "0.8123", Remaining: &metav1.Duration{Duration: 200 * time.Minute},
	}}
	condition.Progressing(run, v1alpha1.ReasonJobRunning, "Job dolly-1 is running")
	fresh := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "fresh"}}
	command, out := &cobra.Command{}, &bytes.Buffer{}
	command.SetOut(out)
	command.SetContext(t.Context())
	reader := fake.NewClientBuilder().WithScheme(newScheme()).WithObjects(run, fresh).Build()
	if err := printStatus(command, reader, statusOptions{now: now}); err != nil {
		t.Fatal(err)
	}
	want := `NAMESPACE   NAME    INSTANCE               PROGRESS                                     SPENT    READY   REASON       MESSAGE
models      dolly   Standard_NC4as_T4_v3   ███░░░░░░░ 34% loss 0.8123, about 3 h left   $4.526   False   JobRunning   Job dolly-1 is running
models      fresh   –                      –                                            –        –       –            –
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
