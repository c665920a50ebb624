// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const reservations = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/a100"

// TestFields: what a spec says of agent pools is on the wire, what it does not say
// is left to AKS, and what a pool was not made with is drift.
func TestFields(t *testing.T) {
	surge := map[string]any{"maxSurge": "0", "maxUnavailable": "1"}
	cases := map[string]struct {
		reason string
		spec   *v1alpha1.AKSSpec
		want   map[string]any // nil: not sent
	}{
		"Silent": {
			reason: "AKS chooses the disk, installs the driver, and a scarce node is never surged.",
			want:   map[string]any{"osDiskType": nil, "gpuProfile": map[string]any{"driver": "Install"}, "gpuInstanceProfile": nil, "capacityReservationGroupID": nil, "upgradeSettings": surge},
		},
		"All": {
			reason: "Each field by its name in the API.",
			spec: &v1alpha1.AKSSpec{
				OSDiskType: v1alpha1.DiskEphemeral, GPUDriver: v1alpha1.DriverNone, MIG: "MIG3g", CapacityReservationGroup: reservations,
				Upgrade: &v1alpha1.AKSUpgrade{MaxSurge: "33%"},
			},
			want: map[string]any{
				"osDiskType": "Ephemeral", "gpuProfile": map[string]any{"driver": "None"}, "gpuInstanceProfile": "MIG3g", "capacityReservationGroupID": reservations,
				"upgradeSettings": map[string]any{"maxSurge": "33%", "maxUnavailable": "0"}, "osDiskSizeGB": 256.0,
			},
		},
		"Unavailable": {
			reason: "AKS takes one of the two, the other is 0.",
			spec:   &v1alpha1.AKSSpec{Upgrade: &v1alpha1.AKSUpgrade{MaxUnavailable: "2"}},
			want:   map[string]any{"upgradeSettings": map[string]any{"maxSurge": "0", "maxUnavailable": "2"}},
		},
		"NoSurge": {
			reason: "Without a surge one node must go first.",
			spec:   &v1alpha1.AKSSpec{Upgrade: &v1alpha1.AKSUpgrade{MaxSurge: "0%"}},
			want:   map[string]any{"upgradeSettings": map[string]any{"maxSurge": "0%", "maxUnavailable": "1"}},
		},
		"Managed": {
			reason: "A disk in the network, asked for by name.",
			spec:   &v1alpha1.AKSSpec{OSDiskType: v1alpha1.DiskManaged},
			want:   map[string]any{"osDiskType": "Managed", "gpuProfile": map[string]any{"driver": "Install"}, "upgradeSettings": surge},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			tgt.Candidate.Priority, tgt.AKS = v1alpha1.OnDemand, tc.spec
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			props := arm.Created()[0].Props
			for field, want := range tc.want {
				if diff := cmp.Diff(want, props[field]); diff != "" {
					t.Errorf("%s\n%s: -want +got\n%s", tc.reason, field, diff)
				}
			}
			arm.Advance(4 * time.Minute)
			if seen := must[pool.Observation](t)(p.Observe(t.Context(), tgt)); len(seen.Drift) != 0 {
				t.Errorf("what was just made drifts: %v", seen.Drift)
			}
			tgt.Replicas = 2 // what AKS never changes goes along as it is
			if step := must[pool.Step](t)(p.Ensure(t.Context(), tgt)); step != pool.StepScaled {
				t.Errorf("step %q", step)
			}
		})
	}
}

func TestFieldsDrift(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	tgt.AKS = &v1alpha1.AKSSpec{OSDiskType: v1alpha1.DiskManaged}
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(4 * time.Minute)
	tgt.AKS = &v1alpha1.AKSSpec{
		OSDiskType: v1alpha1.DiskEphemeral, GPUDriver: v1alpha1.DriverNone, MIG: "MIG1g", CapacityReservationGroup: reservations,
	}
	arm.SetProperty(tgt.PoolName, "nodeTaints", []any{"sku=gpu:NoSchedule"})
	want := "aks.osDiskType Ephemeral (is Managed), aks.gpuDriver None (is Install), aks.mig MIG1g (is none), aks.capacityReservationGroup " + reservations +
		" (is none), taint espalier.dev/pool=team-a.a:NoSchedule (is missing)"
	if got := strings.Join(must[pool.Observation](t)(p.Observe(t.Context(), tgt)).Drift, ", "); got != want {
		t.Errorf("drift\n%s\nwant\n%s", got, want)
	}
}
