// SPDX-License-Identifier: Apache-2.0

package report

import (
	"math/big"

	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// SharedPool is the pool that a Workspace holds nodes of and that is not its own, which has its
// name: what such a pool costs no Workspace says. Not ok where it holds none.
func SharedPool(w *v1alpha1.Workspace) (pool types.NamespacedName, ok bool) {
	name := w.Status.NodePool
	if name == "" || name == w.Name && w.Spec.Resource.NodePool == "" || !holdsNodes(w) {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: w.Namespace, Name: name}, true
}

// PoolPrice is the list price of the nodes of a pool in USD an hour, 0 of those that exist; ""
// where it is not known.
func PoolPrice(p *v1alpha1.GPUNodePool) string {
	if p.Spec.Provider == v1alpha1.ProviderExisting {
		return "0"
	}
	return p.Status.USDPerHour
}

// sharedPrices are those of a Snapshot by what Workspaces pay for.
func (m *Memory) sharedPrices(pools map[types.NamespacedName]string) map[uint64]*big.Rat {
	all := make(map[uint64]*big.Rat, len(pools))
	for pool, usd := range pools {
		all[sumOf("pool", pool.Namespace, pool.Name)] = m.price(usd)
	}
	return all
}
