// SPDX-License-Identifier: Apache-2.0

// Package price says what GPU nodes cost by list price: an hour of a pool, a
// month of a service, a tuning run, and whether that is within a budget.
//
// Every amount carries the day it was read and the region; it is a list price,
// without reservations or savings plans, and a spot price is the last one
// seen, never a promise. Nothing here asks a cloud or reads a clock.
package price

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// hoursPerMonth is what clouds bill an average month as.
const hoursPerMonth = 730

// Price is an amount in USD, and where it is from. Known is false where no
// price was published; USD is then zero and means nothing.
type Price struct {
	USD float64
	// Date (YYYY-MM-DD) the price was read, and its Region.
	Date, Region string
	// Spot says that it is a spot price.
	Spot bool
	// Cheapest says that no region was asked for and Region is the cheapest.
	Cheapest bool
	Known    bool
}

// Hourly is the list price of an hour of that many nodes. Region "" takes the
// cheapest region with a price; ties go to the first by name.
func Hourly(i sku.Instance, region string, nodes int, priority v1alpha1.Priority) Price {
	prices := i.USDPerHour
	p := Price{Date: i.PriceDate, Region: strings.ToLower(region), Spot: priority == v1alpha1.Spot}
	if p.Spot {
		prices = i.SpotUSDPerHour
	}
	if p.Region == "" {
		p.Cheapest = true
		p.Region = cheapestRegion(prices)
	}
	usd, ok := prices[p.Region]
	if !ok {
		return p
	}
	p.USD, p.Known = usd*float64(max(1, nodes)), true
	return p
}

// AtMost is Hourly, and for a spot node whose price nobody publishes, which is
// most of them, the list price that it stays below; Spot of the result is then
// false.
func AtMost(i sku.Instance, region string, nodes int, priority v1alpha1.Priority) Price {
	if p := Hourly(i, region, nodes, priority); p.Known || priority != v1alpha1.Spot {
		return p
	}
	return Hourly(i, region, nodes, v1alpha1.OnDemand)
}

func cheapestRegion(prices map[string]float64) string {
	regions := make([]string, 0, len(prices))
	for r := range prices {
		regions = append(regions, r)
	}
	sort.Strings(regions)
	best := ""
	for _, r := range regions {
		if best == "" || prices[r] < prices[best] {
			best = r
		}
	}
	return best
}

// String is the price for people: "$0.526/h list price, 2026-06-18, eastus".
func (p Price) String() string {
	if !p.Known {
		return p.unknown()
	}
	kind := "list price"
	if p.Spot {
		kind = "spot price seen"
	}
	where := p.Region
	if p.Cheapest {
		where += ", the cheapest region"
	}
	return fmt.Sprintf("%s/h %s, %s, %s", USD(p.USD), kind, p.Date, where)
}

func (p Price) unknown() string {
	kind := "list price"
	if p.Spot {
		kind = "spot price"
	}
	if p.Region == "" {
		return "no " + kind + " known"
	}
	return fmt.Sprintf("no %s known in %s", kind, p.Region)
}

// Monthly is the price of a month of 730 hours.
func (p Price) Monthly() float64 { return p.USD * hoursPerMonth }

// Plain writes an amount for programs, as a status holds it: no sign, no
// separators, and the decimals that list prices have.
func Plain(amount float64) string {
	s := strconv.FormatFloat(amount, 'f', 4, 64)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// USD writes an amount for people: cents, a third decimal below 100 dollars
// where it is not zero, whole dollars from 1,000.
func USD(amount float64) string {
	switch {
	case amount >= 1000:
		s := strconv.FormatFloat(amount, 'f', 0, 64)
		for at := len(s) - 3; at > 0; at -= 3 {
			s = s[:at] + "," + s[at:]
		}
		return "$" + s
	case amount != 0 && amount < 100:
		return "$" + strings.TrimSuffix(strconv.FormatFloat(amount, 'f', 3, 64), "0")
	}
	return "$" + strconv.FormatFloat(amount, 'f', 2, 64)
}
