// SPDX-License-Identifier: Apache-2.0

package price

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func instance(t *testing.T, name string) sku.Instance {
	t.Helper()
	i, ok := sku.Lookup(name)
	if !ok {
		t.Fatalf("no instance type %q", name)
	}
	return i
}

func TestHourly(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		instance string
		region   string
		nodes    int
		priority v1alpha1.Priority
		want     string
	}{
		"InARegion":      {"a region is asked for", "Standard_NC4as_T4_v3", "eastus", 1, v1alpha1.OnDemand, "$0.526/h list price, 2026-06-18, eastus"},
		"RegionCase":     {"regions have no case", "Standard_NC4as_T4_v3", "EastUS", 1, v1alpha1.OnDemand, "$0.526/h list price, 2026-06-18, eastus"},
		"TwoNodes":       {"all nodes are paid", "Standard_NC24ads_A100_v4", "eastus", 2, v1alpha1.OnDemand, "$7.346/h list price, 2026-06-18, eastus"},
		"NoNodesIsOne":   {"a pool of nothing is priced as one node", "Standard_NC24ads_A100_v4", "eastus", 0, v1alpha1.OnDemand, "$3.673/h list price, 2026-06-18, eastus"},
		"CheapestRegion": {"without a region the cheapest is taken and said", "Standard_ND96isr_H200_v5", "", 1, v1alpha1.OnDemand, "$84.80/h list price, 2026-06-18, eastus2, the cheapest region"},
		"NotSoldThere":   {"no price is no zero", "Standard_ND96asr_v4", "westus", 1, v1alpha1.OnDemand, "no list price known in westus"},
		"NoPrice":        {"GB300 has no meter", "Standard_ND128isr_GB300_v6", "", 1, v1alpha1.OnDemand, "no list price known"},
		"NoSpotOnAzure":  {"no Azure spot price is known here", "Standard_NC4as_T4_v3", "", 1, v1alpha1.Spot, "no spot price known"},
		"SpotOnGCP":      {"Google's are", "g2-standard-4", "us-central1", 1, v1alpha1.Spot, "$0.397/h spot price seen, 2026-08-03, us-central1"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Hourly(instance(t, c.instance), c.region, c.nodes, c.priority).String()
			if got != c.want {
				t.Errorf("%s: %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

func TestAtMost(t *testing.T) {
	for name, c := range map[string]struct {
		reason, instance string
		priority         v1alpha1.Priority
		want             string
	}{
		"OnDemand":      {"the list price itself", "Standard_NC4as_T4_v3", v1alpha1.OnDemand, "$0.526/h list price, 2026-06-18, eastus, the cheapest region"},
		"SpotPublished": {"a spot price that is known counts", "g2-standard-4", v1alpha1.Spot, Hourly(instance(t, "g2-standard-4"), "", 1, v1alpha1.Spot).String()},
		"SpotUnknown":   {"spot nodes cost no more than the list price", "Standard_NC4as_T4_v3", v1alpha1.Spot, "$0.526/h list price, 2026-06-18, eastus, the cheapest region"},
		"NoPriceAtAll":  {"nothing is made up", "Standard_ND128isr_GB300_v6", v1alpha1.Spot, "no list price known"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := AtMost(instance(t, c.instance), "", 1, c.priority).String(); got != c.want {
				t.Errorf("%s: %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	for amount, want := range map[float64]string{0: "0", 0.526: "0.526", 14: "14", 3932.8: "3932.8", 0.00005: "0.0001", 100: "100"} {
		if got := Plain(amount); got != want {
			t.Errorf("Plain(%v) is %q, want %q", amount, got, want)
		}
	}
}

func TestMonthly(t *testing.T) {
	p := Hourly(instance(t, "Standard_NC4as_T4_v3"), "eastus", 1, v1alpha1.OnDemand)
	if got := p.Monthly(); math.Abs(got-383.98) > 0.01 {
		t.Errorf("a month is $%.2f, want 730 hours: $383.98", got)
	}
}

func TestWithin(t *testing.T) {
	t4 := Hourly(instance(t, "Standard_NC4as_T4_v3"), "eastus", 1, v1alpha1.OnDemand)
	none := Hourly(instance(t, "Standard_ND128isr_GB300_v6"), "", 1, v1alpha1.OnDemand)
	for name, c := range map[string]struct {
		reason string
		price  Price
		limit  string
		want   error
		says   string
	}{
		"NoBudget":    {"nothing to exceed", t4, "", nil, ""},
		"Below":       {"below", t4, "1", nil, ""},
		"Exactly":     {"the budget itself is within it", t4, "0.526", nil, ""},
		"Over":        {"over, and by what", t4, "0.5", ErrOver, "$0.526/h list price, 2026-06-18, eastus, and budget.maxUSDPerHour is $0.50"},
		"UnknownCost": {"what is unknown is never within", none, "500", ErrUnknown, "no list price known"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Within(c.price, &v1alpha1.Budget{MaxUSDPerHour: c.limit})
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %v saying %q", c.reason, err, c.want, c.says)
			}
		})
	}
	if err := Within(t4, &v1alpha1.Budget{MaxUSDPerHour: "cheap"}); err == nil {
		t.Error("a budget that is no amount is refused")
	}
	if err := Within(t4, nil); err != nil {
		t.Errorf("no budget: %v", err)
	}
}

func TestTraining(t *testing.T) {
	a100 := instance(t, "Standard_NC24ads_A100_v4")
	measured := Training(Hourly(a100, "eastus", 1, v1alpha1.OnDemand), a100.GPUs, 36_000_000, Measured(1000, "measured on our own run"))
	if !measured.Known || math.Abs(measured.HoursLow-10) > 1e-9 || math.Abs(measured.USDHigh-36.73) > 0.001 {
		t.Errorf("36 million tokens at 1,000 a second are 10 hours: %+v", measured)
	}
	speed, ok := Estimate(a100, 3.8e9)
	if !ok || speed.Measured || speed.Low >= speed.High {
		t.Fatalf("an estimate is a range: %+v", speed)
	}
	r := Training(Hourly(a100, "eastus", 1, v1alpha1.OnDemand), a100.GPUs, 36_000_000, speed)
	if !r.Known || r.USDLow >= r.USDHigh || !strings.Contains(r.String(), " to ") {
		t.Errorf("a range of speeds is a range of prices: %s", r)
	}
	if _, ok := Estimate(instance(t, "Standard_ND128isr_NDR_GB200_v6"), 3.8e9); ok {
		t.Error("a GPU without a known peak has no estimate")
	}
	if r := Training(Hourly(a100, "nowhere", 1, v1alpha1.OnDemand), a100.GPUs, 1, speed); r.Known {
		t.Error("no price, no price of a run")
	}
}
