// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// autoscales gives the nodes of a pool to AKS's autoscaler, or takes them back.
func (w *walk) autoscales() {
	w.change(w.one(), func(p *v1alpha1.GPUNodePool) {
		if p.Spec.Autoscale() != nil {
			counted(int32(1 + w.rand.IntN(2)))(p)
			return
		}
		p.Spec.Idle = nil // the two exclude each other
		least := int32(w.rand.IntN(2))
		autoscaled(least, least+1+int32(w.rand.IntN(3)))(p)
	})
}

// grows lets the autoscaler add a machine to a pool that it has. It takes none away
// here: whether it drained the pods before is nothing of ours.
func (w *walk) grows() {
	for _, p := range w.arm.Pools() {
		most, _ := p.Props["maxCount"].(float64) // Git may have lowered it below what is there
		if p.Props["enableAutoScaling"] == true && p.State == "Succeeded" && float64(p.Count) < most {
			if err := w.arm.Autoscale(p.Name, p.Count+1); err != nil {
				w.t.Fatal(err)
			}
			return
		}
	}
}

// tunes changes settings of nodes that stay, in Git or behind its back.
func (w *walk) tunes() {
	surge := fmt.Sprint(1 + w.rand.IntN(3))
	if p := w.ours(); p != nil && w.rand.IntN(2) == 0 {
		w.arm.SetProperty(p.Name, "upgradeSettings", map[string]any{"maxSurge": surge, "drainTimeoutInMinutes": 30.0})
		return
	}
	w.change(w.one(), func(p *v1alpha1.GPUNodePool) {
		p.Spec.NodeLabels = map[string]string{"surge": surge}
		if p.Spec.AKS == nil {
			p.Spec.AKS = &v1alpha1.AKSSpec{}
		}
		p.Spec.AKS.Upgrade = &v1alpha1.AKSUpgrade{MaxSurge: surge}
	})
}

// settledAs says whether an agent pool is what its object declares.
func (w *walk) settledAs(found fakearm.Pool, p *v1alpha1.GPUNodePool) bool {
	a := p.Spec.Autoscale()
	if (found.Props["enableAutoScaling"] == true) != (a != nil) {
		return false
	}
	if u, _ := found.Props["upgradeSettings"].(map[string]any); p.Spec.AKS != nil && p.Spec.AKS.Upgrade != nil && u["maxSurge"] != p.Spec.AKS.Upgrade.MaxSurge {
		return false
	}
	for k, v := range p.Spec.NodeLabels {
		if found.Labels[k] != v {
			return false
		}
	}
	if a != nil {
		return found.Count >= int(a.Min) && found.Count <= int(a.Max)
	}
	return found.Count == int(w.wanted(p))
}
