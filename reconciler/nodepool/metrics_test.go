// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMetrics: what is true of a pool now, and no series of one that is gone.
func TestMetrics(t *testing.T) {
	w := newOrchard(t, ec2)
	w.plant(replicas(2), t4)
	w.drive(&life{}, w.whole)
	m := NewMetrics(w.kube)
	want := `
# HELP espalier_gpu_pool_gpus GPUs of the pool's nodes: expected by their size, allocatable, held by pods of others, and missing.
# TYPE espalier_gpu_pool_gpus gauge
espalier_gpu_pool_gpus{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",provider="karpenter",state="allocatable"} 2
espalier_gpu_pool_gpus{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",provider="karpenter",state="expected"} 2
espalier_gpu_pool_gpus{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",provider="karpenter",state="held"} 0
espalier_gpu_pool_gpus{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",provider="karpenter",state="missing"} 0
# HELP espalier_gpu_pool_ready 1 where every node's GPUs can be used, else 0.
# TYPE espalier_gpu_pool_ready gauge
espalier_gpu_pool_ready{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",phase="Ready",provider="karpenter"} 1
# HELP espalier_gpu_pool_usd_per_hour List price in USD an hour of the nodes that are provisioned; of spot nodes at most.
# TYPE espalier_gpu_pool_usd_per_hour gauge
espalier_gpu_pool_usd_per_hour{instance_type="Standard_NC4as_T4_v3",name="p",namespace="team-a",provider="karpenter"} 2.5
`
	if err := testutil.CollectAndCompare(m, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	w.must(w.kube.Delete(t.Context(), w.get()))
	w.drive(&life{}, w.gone)
	if n := testutil.CollectAndCount(m); n != 0 {
		t.Errorf("%d series of a pool that is gone", n)
	}
	if problems, err := testutil.CollectAndLint(m); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
}

// TestHappened: how long a phase took, and each candidate that was given up, once.
func TestHappened(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	at := func(phase v1alpha1.PoolPhase, ago time.Duration, skipped ...v1alpha1.SkippedCandidate) *v1alpha1.GPUNodePool {
		p := gpuPool(subject, t4)
		p.Status = v1alpha1.GPUNodePoolStatus{
			Phase: phase, Since: &metav1.Time{Time: now.Add(-ago)}, Skipped: skipped,
			Candidate:  &v1alpha1.CandidateStatus{InstanceType: t4, Priority: v1alpha1.OnDemand},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Capacity", Message: "none"}},
		}
		return p
	}
	none := v1alpha1.SkippedCandidate{InstanceType: t4, Priority: v1alpha1.OnDemand, Class: "Capacity", Until: metav1.NewTime(now.Add(time.Hour))}
	other := v1alpha1.SkippedCandidate{InstanceType: a100, Priority: v1alpha1.OnDemand, Class: "FamilyQuota", Until: metav1.NewTime(now.Add(time.Hour))}
	m := NewMetrics(nil)
	recorder := events.NewFakeRecorder(10)
	r := &Reconciler{Deps: Deps{Events: recorder}}
	for _, step := range [][2]*v1alpha1.GPUNodePool{
		{at(v1alpha1.PhaseCreating, 4*time.Minute, other), at(v1alpha1.PhaseCleaning, 0, other, none)},
		{at(v1alpha1.PhaseCleaning, time.Minute, other, none), at(v1alpha1.PhaseCleaning, time.Minute, other, none)},
		{at(v1alpha1.PhaseCleaning, time.Minute, other, none), at(v1alpha1.PhaseExhausted, 0, other, none)},
	} {
		m.happened(step[0], step[1], now)
		r.announce(step[0], step[1])
	}
	if got := testutil.ToFloat64(m.failures.WithLabelValues("aks", "Capacity")); got != 1 {
		t.Errorf("%g failures, want 1", got)
	}
	if n := testutil.CollectAndCount(m.failures) + testutil.CollectAndCount(m.seconds); n != 3 {
		t.Errorf("%d series, want the failure and two phases", n)
	}
	close(recorder.Events)
	var said []string
	for e := range recorder.Events {
		said = append(said, e)
	}
	if len(said) != 2 || !strings.HasPrefix(said[0], "Warning Capacity none") {
		t.Errorf("events: %q", said)
	}
}
