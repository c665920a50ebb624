// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Metrics are what Prometheus is told of node pools; docs/metrics.md explains
// each. What is true now is read from the cache when it is asked for, so that a
// pool that is gone has no series; what happened is counted as it happens.
type Metrics struct {
	read     client.Reader
	gpus     *prometheus.Desc
	usd      *prometheus.Desc
	ready    *prometheus.Desc
	seconds  *prometheus.HistogramVec
	failures *prometheus.CounterVec

	orphans, orphanUSD *prometheus.GaugeVec // as OrphanWatch last saw them
}

// phaseBuckets are in seconds: nodes take minutes, GPUs seconds to minutes.
var phaseBuckets = []float64{1, 5, 15, 60, 120, 300, 600, 900, 1200, 1800, 3600}

// NewMetrics returns metrics over the pools that a reader, a cache, has.
func NewMetrics(read client.Reader) *Metrics {
	of := []string{"namespace", "name", "provider", "instance_type"}
	return &Metrics{
		read:  read,
		gpus:  prometheus.NewDesc("espalier_gpu_pool_gpus", "GPUs of the pool's nodes: expected by their size, allocatable, held by pods of others, and missing.", append(of, "state"), nil),
		usd:   prometheus.NewDesc("espalier_gpu_pool_usd_per_hour", "List price in USD an hour of the nodes that are provisioned; of spot nodes at most.", of, nil),
		ready: prometheus.NewDesc("espalier_gpu_pool_ready", "1 where every node's GPUs can be used, else 0.", append(of, "phase"), nil),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "espalier_gpu_pool_phase_seconds", Help: "How long pools stayed in a phase that they have left.", Buckets: phaseBuckets,
		}, []string{"provider", "phase"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "espalier_gpu_pool_failures_total", Help: "Candidates given up, by the class of the failure.",
		}, []string{"provider", "class"}),
		orphans:   newOrphanGauge("espalier_gpu_pool_orphan_nodes", "Nodes of node pools in the cloud that no GPUNodePool answers for."),
		orphanUSD: newOrphanGauge("espalier_gpu_pool_orphan_usd_per_hour", "List price in USD an hour of node pools in the cloud that no GPUNodePool answers for."),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	out <- m.gpus
	out <- m.usd
	out <- m.ready
	m.seconds.Describe(out)
	m.failures.Describe(out)
	m.orphans.Describe(out)
	m.orphanUSD.Describe(out)
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	m.seconds.Collect(out)
	m.failures.Collect(out)
	m.orphans.Collect(out)
	m.orphanUSD.Collect(out)
	var pools v1alpha1.GPUNodePoolList
	if err := m.read.List(context.Background(), &pools, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return // the cache has not started: there is nothing to tell yet
	}
	shared := sharedLabels{}
	for i := range pools.Items {
		m.collect(&pools.Items[i], shared, out)
	}
}

func (m *Metrics) collect(p *v1alpha1.GPUNodePool, shared sharedLabels, out chan<- prometheus.Metric) {
	of := shared.of(p)
	ready := 0.0
	if meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) {
		ready = 1
	}
	out <- &series{m.ready, and(of, shared.pair("phase", string(p.Status.Phase))), ready}
	if g := p.Status.GPUs; g != nil {
		for state, count := range map[string]int32{"expected": g.Expected, "allocatable": g.Allocatable, "held": g.Held, "missing": g.Missing} {
			out <- &series{m.gpus, and(of, shared.pair("state", state)), float64(count)}
		}
	}
	if usd, err := strconv.ParseFloat(p.Status.USDPerHour, 64); err == nil {
		out <- &series{m.usd, of, usd}
	}
}

// happened counts what a written status has that the one before had not.
func (m *Metrics) happened(before, after *v1alpha1.GPUNodePool, now time.Time) {
	if m == nil {
		return
	}
	provider := string(after.Spec.Provider)
	if since := before.Status.Since; before.Status.Phase != after.Status.Phase && before.Status.Phase != "" && since != nil {
		m.seconds.WithLabelValues(provider, string(before.Status.Phase)).Observe(now.Sub(since.Time).Seconds())
	}
	if class := gaveUp(before, after); class != "" {
		m.failures.WithLabelValues(provider, class).Inc()
	}
	for _, s := range foreseen(before, after) {
		m.failures.WithLabelValues(provider, s.Class).Inc()
	}
}

// foreseen are the candidates that were skipped before the cloud was asked: those
// that a choice has just passed over.
func foreseen(before, after *v1alpha1.GPUNodePool) []v1alpha1.SkippedCandidate {
	if gaveUp(before, after) != "" || after.Status.Phase != v1alpha1.PhaseClaiming && after.Status.Phase != v1alpha1.PhaseExhausted {
		return nil // what goes with a failure that the cloud reported is no forecast
	}
	var out []v1alpha1.SkippedCandidate
	for _, s := range after.Status.Skipped {
		known := func(o v1alpha1.SkippedCandidate) bool {
			return o.InstanceType == s.InstanceType && o.Priority == s.Priority && zonesOf(o.Zones) == zonesOf(s.Zones) && o.Until.Equal(&s.Until)
		}
		if !slices.ContainsFunc(before.Status.Skipped, known) {
			out = append(out, s)
		}
	}
	return out
}

// gaveUp is the class of the failure for which the candidate in use was given
// up just now; empty: it was not.
func gaveUp(before, after *v1alpha1.GPUNodePool) string {
	c := after.Status.Candidate
	if c == nil {
		return ""
	}
	find := func(p *v1alpha1.GPUNodePool) *v1alpha1.SkippedCandidate {
		for i, s := range p.Status.Skipped {
			if s.InstanceType == c.InstanceType && s.Priority == c.Priority && zonesOf(s.Zones) == zonesOf(c.Zones) {
				return &p.Status.Skipped[i]
			}
		}
		return nil
	}
	is, was := find(after), find(before)
	if is == nil || was != nil && was.Until.Equal(&is.Until) {
		return ""
	}
	return is.Class
}

func zonesOf(zones []string) string {
	all := ""
	for _, z := range zones {
		all += z + " "
	}
	return all
}

// announce emits an event where a pool comes into another phase, where a candidate
// is given up, where a deletion begins to wait for a person, and where a node is lost.
func (r *Reconciler) announce(before, after *v1alpha1.GPUNodePool) {
	if r.Deps.Events == nil {
		return
	}
	for _, s := range foreseen(before, after) {
		r.Deps.Events.Eventf(after, nil, corev1.EventTypeWarning, s.Class, "Foreseen", "%s is passed over: %s", s.InstanceType, s.Message)
	}
	if lost := loses(before, after); lost != nil {
		r.Deps.Events.Eventf(after, nil, corev1.EventTypeWarning, lost.Reason, "Replace", "%s", lost.Message)
	}
	held := holds(before, after)
	if held != nil {
		r.Deps.Events.Eventf(after, nil, corev1.EventTypeWarning, held.Reason, "Hold", "%s", held.Message)
	}
	ready := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionReady)
	given := gaveUp(before, after)
	if ready == nil || ready.Message == "" || before.Status.Phase == after.Status.Phase && given == "" {
		return
	}
	if held != nil && held.Reason == ready.Reason {
		return // said
	}
	r.Deps.Events.Eventf(after, nil, gravity(after, given), ready.Reason, string(after.Status.Phase), "%s", ready.Message)
}

// gravity is the type of the event of a phase.
func gravity(after *v1alpha1.GPUNodePool, given string) string {
	stalled := meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionStalled)
	degraded := meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionDegraded)
	if given != "" || stalled || degraded {
		return corev1.EventTypeWarning
	}
	return corev1.EventTypeNormal
}

// holds is the condition that holds the deletion of a pool, where it did not hold it
// before, or for another reason. Nodes that are too many wait by themselves.
func holds(before, after *v1alpha1.GPUNodePool) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if is == nil || is.Reason == pool.ReasonNodesInUse || was != nil && was.Reason == is.Reason {
		return nil
	}
	return is
}
