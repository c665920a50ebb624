// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Sizes is the embedded catalogue as the state machine and providers need it.
func Sizes(instanceType string) (pool.Size, bool) {
	i, ok := sku.Lookup(instanceType)
	return pool.SizeOf(i), ok
}

// hourly is the list price of nodes in a region, of spot nodes at most; "" where
// none is known.
func hourly(region string) func(v1alpha1.Candidate, int) string {
	return func(c v1alpha1.Candidate, nodes int) string {
		if nodes == 0 {
			return price.Plain(0)
		}
		i, ok := sku.Lookup(c.InstanceType)
		p := price.AtMost(i, region, nodes, c.Priority)
		if !ok || !p.Known {
			return ""
		}
		return price.Plain(p.USD)
	}
}
