// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"strings"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// sizes is the embedded catalogue as the state machine needs it.
func sizes(instanceType string) (pool.Size, bool) {
	i, ok := sku.Lookup(instanceType)
	return pool.Size{GPUs: i.GPUs, Family: i.QuotaFamily}, ok
}

// hourly is the list price of nodes in a region, without the currency sign.
func hourly(region string) func(v1alpha1.Candidate, int) string {
	return func(c v1alpha1.Candidate, nodes int) string {
		i, ok := sku.Lookup(c.InstanceType)
		if nodes == 0 {
			return "0.00"
		}
		p := price.Hourly(i, region, nodes, c.Priority)
		if !ok || !p.Known {
			return ""
		}
		return strings.TrimPrefix(price.USD(p.USD), "$")
	}
}
