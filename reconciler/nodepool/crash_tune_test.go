// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// autoscaled gives the number of nodes to the cluster autoscaler of AKS.
func autoscaled(least, most int32) func(*v1alpha1.GPUNodePool) {
	return func(p *v1alpha1.GPUNodePool) {
		p.Spec.Replicas = nil
		p.Spec.AKS = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Min: least, Max: most}}
	}
}

// counted gives it back to us.
func counted(n int32) func(*v1alpha1.GPUNodePool) {
	return func(p *v1alpha1.GPUNodePool) { p.Spec.AKS, p.Spec.Replicas = nil, &n }
}

// autoscale lets AKS's autoscaler bring the subject to a number of machines as soon
// as it may.
func (w *world) autoscale(machines int) {
	for _, p := range w.arm.Pools() {
		if p.Name == w.get(subject).Status.PoolName && p.State == "Succeeded" && p.Count != machines {
			_ = w.arm.Autoscale(p.Name, machines) // not turned on yet
		}
	}
}

// property is one of the subject's agent pool; nil: it is not there.
func (w *world) property(name string) any {
	for _, p := range w.arm.Pools() {
		if p.Name == w.get(subject).Status.PoolName && p.State == "Succeeded" {
			return p.Props[name]
		}
	}
	return nil
}

// tuneScenarios are those of pools that change in place.
var tuneScenarios = map[string]scenario{
	"Autoscale": {
		reason: "A pool that AKS fills is made once, empty, and what the autoscaler makes of it is left alone.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			autoscaled(0, 4)(p)
			w.create(p)
		},
		until: func(w *world) bool {
			if w.ready("p")() {
				w.autoscale(2)
			}
			return w.ready("p")() && w.get("p").Status.ReadyNodes == 2
		},
		want: t4,
	},
	"AutoscaleOn": {
		reason: "Of three nodes an empty one goes by name before the autoscaler is turned on, and the busy one never.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			scaledTo(3)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.podOn(w.nodes()[2], "busy-2")
			w.edit(autoscaled(1, 2))
		},
		until: func(w *world) bool { return w.property("enableAutoScaling") == true && w.ready("p")() },
		want:  t4,
	},
	"AutoscaleOff": {
		reason: "The autoscaler is turned off before a node is counted.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			autoscaled(1, 4)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.autoscale(3)
			w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 3 })
			w.edit(counted(2))
		},
		until: func(w *world) bool {
			return w.property("enableAutoScaling") == false && len(w.nodes()) == 2 && w.ready("p")() && len(w.get("p").Status.Removing) == 0
		},
		want: t4,
	},
	"AutoscaleSoldOut": {
		reason: "An empty pool that the autoscaler cannot fill is deleted for the next candidate, once.",
		prepare: func(w *world) {
			p := gpuPool("p", a100, t4)
			autoscaled(0, 4)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.arm.FailNextCreateAsync(fakearm.AllocationFailed())
			w.autoscale(1)
		},
		until: func(w *world) bool { return w.ready("p")() && w.get("p").Status.Candidate.InstanceType == t4 },
		want:  t4,
	},
	"AutoscaleDelete": {
		reason: "It goes as every pool does.",
		prepare: func(w *world) {
			p := gpuPool("p", t4)
			autoscaled(2, 4)(p)
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.delete()
		},
		until: func(w *world) bool { return w.get("p") == nil },
	},
	"Tune": {
		reason: "Settings of nodes that stay are written once, over what the pool has by then, and what people wrote stays.",
		prepare: func(w *world) {
			w.create(gpuPool("p", t4))
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			w.arm.SetProperty(w.get("p").Status.PoolName, "upgradeSettings", map[string]any{"maxSurge": "0", "maxUnavailable": "1", "nodeSoakDurationInMinutes": 5.0})
			w.edit(func(p *v1alpha1.GPUNodePool) {
				p.Spec.NodeLabels = map[string]string{"team": "b"}
				p.Spec.AKS = &v1alpha1.AKSSpec{Upgrade: &v1alpha1.AKSUpgrade{MaxSurge: "1"}}
			})
		},
		until: func(w *world) bool {
			u, _ := w.property("upgradeSettings").(map[string]any)
			labels, _ := w.property("nodeLabels").(map[string]any)
			return u["maxSurge"] == "1" && u["maxUnavailable"] == "0" && u["nodeSoakDurationInMinutes"] == 5.0 && labels["team"] == "b" && w.ready("p")()
		},
		want: t4,
	},
}
