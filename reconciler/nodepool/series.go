// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"cmp"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// series is one value that is told of a pool. Those that Prometheus' library makes have all
// of their labels for themselves, and of 10,000 pools 60,000 are told at once.
type series struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair // by name; others have them as well, and nobody changes them
	value  float64
}

// Desc implements prometheus.Metric.
func (s *series) Desc() *prometheus.Desc { return s.desc }

// Write implements prometheus.Metric.
func (s *series) Write(out *dto.Metric) error {
	out.Label, out.Gauge = s.labels, &dto.Gauge{Value: &s.value}
	return nil
}

// sharedLabels are those that series of several pools have in one scrape.
type sharedLabels map[[2]string]*dto.LabelPair

func (l sharedLabels) pair(name, value string) *dto.LabelPair {
	key := [2]string{name, value}
	if l[key] == nil {
		l[key] = label(name, value)
	}
	return l[key]
}

func label(name, value string) *dto.LabelPair { return &dto.LabelPair{Name: &name, Value: &value} }

// of are the labels by which a pool is told from others.
func (l sharedLabels) of(p *v1alpha1.GPUNodePool) []*dto.LabelPair {
	return []*dto.LabelPair{
		l.pair("instance_type", pool.Candidate(p.Status.Candidate).InstanceType), label("name", p.Name),
		l.pair("namespace", p.Namespace), l.pair("provider", string(p.Spec.Provider)),
	}
}

// and are labels with more of them, in their order.
func and(some []*dto.LabelPair, more ...*dto.LabelPair) []*dto.LabelPair {
	all := slices.Concat(some, more)
	slices.SortFunc(all, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all
}
