// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Metrics are what Prometheus is told of Workspaces; docs/metrics.md explains each.
// They are read from the cache when they are asked for, so that a Workspace that
// is gone has no series.
type Metrics struct {
	// Of is the part of the Workspaces to tell of; nil: all.
	Of *shard.Shard

	read  client.Reader
	clock func() time.Time
	spent *prometheus.Desc

	percent, loss, remaining *prometheus.Desc
}

// NewMetrics returns metrics over the Workspaces that a reader, a cache, has.
func NewMetrics(read client.Reader, clock func() time.Time) *Metrics {
	of := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"namespace", "name", "run"}, nil)
	}
	return &Metrics{
		read: read, clock: clock,
		spent:     of("espalier_tuning_spent_usd", "What a tuning run has cost by list prices, in USD, over all of its pods."),
		percent:   of("espalier_tuning_progress_percent", "Steps of a tuning run that are done, 0 to 100, while it trains."),
		loss:      of("espalier_tuning_loss", "Loss that the trainer of a tuning run logged last, while it trains."),
		remaining: of("espalier_tuning_remaining_seconds", "How long the steps that are left of a tuning run take, while it trains."),
	}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.spent, m.percent, m.loss, m.remaining} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	var list v1alpha1.WorkspaceList
	if err := m.read.List(context.Background(), &list, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return // the cache has not started: there is nothing to tell yet
	}
	for i := range list.Items {
		w := &list.Items[i]
		if s := w.Status.Spending; s != nil && m.Of.Has(w) {
			out <- prometheus.MustNewConstMetric(m.spent, prometheus.GaugeValue, price.Spent(s, m.clock()), w.Namespace, w.Name, s.Run)
		}
		if t := w.Status.Tuning; t != nil && t.Progress != nil && t.FinishedAt == nil {
			m.progress(out, w)
		}
	}
}

// progress tells of a run that trains.
func (m *Metrics) progress(out chan<- prometheus.Metric, w *v1alpha1.Workspace) {
	t := w.Status.Tuning
	say := func(d *prometheus.Desc, value float64) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, w.Namespace, w.Name, t.Run)
	}
	say(m.percent, float64(t.Progress.Percent))
	if loss, err := strconv.ParseFloat(t.Progress.Loss, 64); err == nil {
		say(m.loss, loss)
	}
	if left := t.Progress.Remaining; left != nil {
		say(m.remaining, left.Seconds())
	}
}
