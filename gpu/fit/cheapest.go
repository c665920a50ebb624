// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// CheapestServing finds the instance type with the lowest list price in the
// region ("" for each type's cheapest) that serves the model. Types in preview
// or without a price are not proposed; one node goes before several, and what
// fits before what is tight.
func CheapestServing(m Model, among []sku.Instance, region string, s Serving) (Alternative, bool) {
	return Cheapest(among, region, func(i sku.Instance) Report { return Serve(m, i, s) })
}

// CheapestTuning is CheapestServing for tuning.
func CheapestTuning(m Model, among []sku.Instance, region string, t Tuning) (Alternative, bool) {
	return Cheapest(among, region, func(i sku.Instance) Report { return Tune(m, i, t) })
}

// Cheapest is CheapestServing and CheapestTuning for any judge, for example one
// that takes another image on another driver.
func Cheapest(among []sku.Instance, region string, judge func(sku.Instance) Report) (Alternative, bool) {
	var best Alternative
	for _, i := range among {
		p := price.Hourly(i, region, 1, v1alpha1.OnDemand)
		if i.Status != sku.Available || i.Schedulable() != nil || !p.Known {
			continue
		}
		// Worse in rank or dearer for one node already: not worth judging.
		if best.rank() == 0 && p.USD >= best.HourlyUSD {
			continue
		}
		a := Alternative{Instance: i, Report: judge(i)}
		a.HourlyUSD = p.USD * float64(max(1, a.Report.Nodes))
		if a.Report.Works() && (best.rank() > a.rank() || best.rank() == a.rank() && a.HourlyUSD < best.HourlyUSD) {
			best = a
		}
	}
	return best, best.Report.Works()
}

// rank orders alternatives before their price does: one node before several,
// which are harder to run, and what fits before what is tight.
func (a Alternative) rank() int {
	switch {
	case !a.Report.Works():
		return 4
	case a.Report.Nodes > 1 && a.Report.Verdict != v1alpha1.Fits:
		return 3
	case a.Report.Nodes > 1:
		return 2
	case a.Report.Verdict != v1alpha1.Fits:
		return 1
	}
	return 0
}
