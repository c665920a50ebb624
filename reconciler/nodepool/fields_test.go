// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSlices: a pool whose GPUs are cut is usable when each slice is offered.
func TestSlices(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", a100)
	p.Spec.AKS = &v1alpha1.AKSSpec{MIG: "MIG3g"}
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if got := *w.get("p").Status.GPUs; got != (v1alpha1.GPUCount{Expected: 2, Allocatable: 2}) {
		t.Errorf("GPUs %+v, want two slices", got)
	}
	w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.AKS.MIG = "" })
	w.drive(&life{}, []string{"p"}, func() bool { return w.condition("p", v1alpha1.ConditionDrifted).Status != "" })
	w.want(v1alpha1.ConditionDrifted, metav1.ConditionTrue, pool.ReasonImmutableField, "aks.mig none (is MIG3g)")
}

// TestUnsuited: a candidate that cannot be what the spec asks of it is passed over
// without an order.
func TestUnsuited(t *testing.T) {
	cases := map[string]struct {
		reason string
		spec   v1alpha1.AKSSpec
		disk   int32
		said   string
	}{
		"Slices": {"The catalogue knows no slices of a T4.", v1alpha1.AKSSpec{MIG: "MIG3g"}, 256, "cannot be cut into slices of MIG3g"},
		"Disk":   {"A disk of its own must be large enough.", v1alpha1.AKSSpec{OSDiskType: v1alpha1.DiskEphemeral}, 1024, "does not fit the disk of Standard_NC24ads_A100_v4, which has 960 GiB"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first, then := t4, a100
			if name == "Disk" {
				first, then = a100, t4
			}
			p := gpuPool("p", first, then)
			p.Spec.AKS, p.Spec.OSDiskSizeGiB = &tc.spec, tc.disk
			w.create(p)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			st := w.get("p").Status
			if len(st.Skipped) != 1 || st.Skipped[0].Class != string(pool.ClassCandidate) || st.Candidate.InstanceType != then || len(w.arm.Ordered()) != 1 {
				t.Errorf("%s\nstatus %+v", tc.reason, st)
			}
		})
	}
}
