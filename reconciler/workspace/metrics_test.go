// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMetrics: what is spent now is told, although the record stands still.
func TestMetrics(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	spends := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "tune"}}
	spends.Status.Spending = &v1alpha1.SpendingStatus{Run: "tune-1", SpentUSD: "4", At: metav1.NewTime(noon.Add(-30 * time.Minute)), USDPerHour: "6"}
	spends.Status.Tuning = &v1alpha1.TuningStatus{Run: "tune-1", Progress: &v1alpha1.TuningProgress{
		Percent: 34, Loss: "NaN", Remaining: &metav1.Duration{Duration: time.Hour},
	}}
	idle := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "serve"}}
	c := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(spends, idle).Build()
	err := testutil.CollectAndCompare(NewMetrics(c, func() time.Time { return noon }), strings.NewReader(`
# HELP espalier_tuning_loss Loss that the trainer of a tuning run logged last, while it trains.
# TYPE espalier_tuning_loss gauge
espalier_tuning_loss{name="tune",namespace="n",run="tune-1"} NaN
# HELP espalier_tuning_progress_percent Steps of a tuning run that are done, 0 to 100, while it trains.
# TYPE espalier_tuning_progress_percent gauge
espalier_tuning_progress_percent{name="tune",namespace="n",run="tune-1"} 34
# HELP espalier_tuning_remaining_seconds How long the steps that are left of a tuning run take, while it trains.
# TYPE espalier_tuning_remaining_seconds gauge
espalier_tuning_remaining_seconds{name="tune",namespace="n",run="tune-1"} 3600
# HELP espalier_tuning_spent_usd What a tuning run has cost by list prices, in USD, over all of its pods.
# TYPE espalier_tuning_spent_usd gauge
espalier_tuning_spent_usd{name="tune",namespace="n",run="tune-1"} 7
`))
	if err != nil {
		t.Error(err)
	}
}
