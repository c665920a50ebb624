// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"sort"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// CheapestServing finds the instance type with the lowest list price in the
// region ("" for each type's cheapest) that serves the model; types in preview
// or without a price are not proposed, and one that fits goes before one that
// is tight.
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
	var all []Alternative
	for _, i := range among {
		if i.Status != sku.Available || i.Schedulable() != nil {
			continue
		}
		if p := price.Hourly(i, region, 1, v1alpha1.OnDemand); p.Known {
			all = append(all, Alternative{Instance: i, HourlyUSD: p.USD})
		}
	}
	// By the price of one node: once a type works, none whose single node costs
	// more than all of its nodes needs to be judged.
	sort.SliceStable(all, func(a, b int) bool { return all[a].HourlyUSD < all[b].HourlyUSD })
	var best, tight Alternative
	for _, a := range all {
		if best.HourlyUSD > 0 && a.HourlyUSD >= best.HourlyUSD {
			break
		}
		a.Report = judge(a.Instance)
		a.HourlyUSD *= float64(max(1, a.Report.Nodes))
		switch {
		case a.Report.Verdict == v1alpha1.Fits && (best.HourlyUSD == 0 || a.HourlyUSD < best.HourlyUSD):
			best = a
		case a.Report.Verdict == v1alpha1.Tight && (tight.HourlyUSD == 0 || a.HourlyUSD < tight.HourlyUSD):
			tight = a
		}
	}
	if best.HourlyUSD > 0 {
		return best, true
	}
	return tight, tight.HourlyUSD > 0
}
