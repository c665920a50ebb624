// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Marker lists the node pools in the cloud that carry a mark of Espalier, at most
// so old.
type Marker interface {
	Marked(ctx context.Context, maxAge time.Duration) ([]pool.Marked, error)
}

// Markers are several: what each lists.
type Markers []Marker

// Marked lists what all of them do.
func (m Markers) Marked(ctx context.Context, maxAge time.Duration) ([]pool.Marked, error) {
	var all []pool.Marked
	for _, one := range m {
		marked, err := one.Marked(ctx, maxAge)
		if err != nil {
			return nil, err
		}
		all = append(all, marked...)
	}
	return all, nil
}

// OrphanWatch tells of node pools in the cloud that no GPUNodePool answers for:
// they cost money and nobody sees them. It deletes nothing.
type OrphanWatch struct {
	Cloud        Marker
	Read         client.Reader // of GPUNodePools
	Installation string
	HourlyUSD    func(c v1alpha1.Candidate, nodes int) string
	Events       events.EventRecorder
	Metrics      *Metrics

	seen map[string]bool // names that were orphans at the last look: true where it was told
}

// orphanEvery is the time between two looks. What is an orphan in one of them may
// be on its way: only what both saw is told.
const orphanEvery = 10 * time.Minute

// NewOrphanWatch returns a watch that quotes prices for a region.
func NewOrphanWatch(cloud Marker, read client.Reader, d Deps) *OrphanWatch {
	return &OrphanWatch{
		Cloud: cloud, Read: read, Installation: d.Installation, HourlyUSD: hourly(d.Region), Events: d.Events, Metrics: d.Metrics, seen: map[string]bool{},
	}
}

// Start looks until ctx ends; only the leader does.
func (w *OrphanWatch) Start(ctx context.Context) error {
	tick := time.NewTicker(orphanEvery)
	defer tick.Stop()
	for {
		if err := w.Look(ctx); err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Info("orphaned node pools are not looked for", "why", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Look looks once. The list of the cloud may be the one that all pools share.
func (w *OrphanWatch) Look(ctx context.Context) error {
	marked, err := w.Cloud.Marked(ctx, defaultIdle)
	if err != nil {
		return err
	}
	var objects v1alpha1.GPUNodePoolList
	if err := w.Read.List(ctx, &objects); err != nil {
		return fmt.Errorf("listing GPUNodePools: %w", err)
	}
	now := map[string]bool{}
	var told []pool.Orphan
	for _, o := range pool.Orphans(marked, w.Installation, objects.Items) {
		said, before := w.seen[o.Name]
		now[o.Name] = before
		if !before {
			continue
		}
		told = append(told, o)
		if !said {
			w.tell(o)
		}
	}
	w.seen = now
	w.Metrics.orphaned(told, w.HourlyUSD)
	return nil
}

// tell emits an event once: on the object of its name where there is one, else on
// the namespace that it was made for.
func (w *OrphanWatch) tell(o pool.Orphan) {
	namespace, name, _ := strings.Cut(o.Object, "/")
	cost := w.HourlyUSD(o.Candidate, int(o.Count))
	if cost == "" {
		cost = "an unknown price"
	} else {
		cost = "$" + cost + "/h"
	}
	format := "Node pool %s, %d of %s at %s, was made for GPUNodePool %s, and nothing answers for it: " +
		"look at espalier pools orphans, and delete it in the cloud if nobody needs it"
	if o.Reason == pool.OrphanReattach {
		again := &v1alpha1.GPUNodePool{}
		again.Namespace, again.Name = namespace, name
		w.Events.Eventf(again, nil, corev1.EventTypeWarning, "Orphan"+o.Reason, "Look", format+"; the GPUNodePool of that name is another one, as after restoring a backup",
			o.Name, o.Count, o.Candidate.InstanceType, cost, o.Object)
		return
	}
	of := &corev1.Namespace{}
	of.Name = namespace
	w.Events.Eventf(of, nil, corev1.EventTypeWarning, "Orphan"+o.Reason, "Look", format, o.Name, o.Count, o.Candidate.InstanceType, cost, o.Object)
}

// orphanLabels tell orphans apart.
var orphanLabels = []string{"pool", "object", "reason", "instance_type"}

func newOrphanGauge(name, help string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, orphanLabels)
}

// orphaned sets what is known of orphans now; those that are gone have no series.
func (m *Metrics) orphaned(orphans []pool.Orphan, hourlyUSD func(v1alpha1.Candidate, int) string) {
	if m == nil {
		return
	}
	m.orphans.Reset()
	m.orphanUSD.Reset()
	for _, o := range orphans {
		labels := []string{o.Name, o.Object, o.Reason, o.Candidate.InstanceType}
		m.orphans.WithLabelValues(labels...).Set(float64(o.Count))
		if usd, err := strconv.ParseFloat(hourlyUSD(o.Candidate, int(o.Count)), 64); err == nil {
			m.orphanUSD.WithLabelValues(labels...).Set(usd)
		}
	}
}
