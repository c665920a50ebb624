// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
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
}

// NewMetrics returns metrics over the Workspaces that a reader, a cache, has.
func NewMetrics(read client.Reader, clock func() time.Time) *Metrics {
	return &Metrics{read: read, clock: clock, spent: prometheus.NewDesc("espalier_tuning_spent_usd",
		"What a tuning run has cost by list prices, in USD, over all of its pods.", []string{"namespace", "name", "run"}, nil)}
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(out chan<- *prometheus.Desc) { out <- m.spent }

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(out chan<- prometheus.Metric) {
	var list v1alpha1.WorkspaceList
	if err := m.read.List(context.Background(), &list); err != nil {
		return // the cache has not started: there is nothing to tell yet
	}
	for i := range list.Items {
		w := &list.Items[i]
		if s := w.Status.Spending; s != nil && m.Of.Has(w) {
			out <- prometheus.MustNewConstMetric(m.spent, prometheus.GaugeValue, price.Spent(s, m.clock()), w.Namespace, w.Name, s.Run)
		}
	}
}
