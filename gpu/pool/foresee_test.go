// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"testing"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestForeseeReserved: machines of a capacity reservation are ordered whatever is
// left of the quota, which the reservation has drawn, if the size may be had.
func TestForeseeReserved(t *testing.T) {
	short := []quota.Usage{{Name: "A100", Limit: 24, Used: 24}}
	cases := map[string]struct {
		reason string
		group  string
		sizes  []quota.Size
		want   string
	}{
		"NotReserved": {"The quota is used up.", "", nil, t4},
		"Reserved":    {"The reservation is what it is used up by.", "r", nil, a100},
		"NotAllowed":  {"A size that the subscription may not have is not ordered.", "r", []quota.Size{{Name: a100, Forbidden: true}, {Name: t4}}, t4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := facts("", absent)
			f.Catalog = func(name string) (Size, bool) {
				size, ok := catalog(name)
				size.VCPUs = 24
				return size, ok
			}
			f.Pool.Spec.AKS = &v1alpha1.AKSSpec{CapacityReservationGroup: tc.group}
			f.Offers = &quota.Snapshot{Location: "eastus", Usages: short, Sizes: tc.sizes}
			at, skipped := foresee(f, nil)
			if got := f.Pool.Spec.Candidates[max(at, 0)].InstanceType; at < 0 || got != tc.want {
				t.Errorf("%s\nchosen %d, skipped %+v", tc.reason, at, skipped)
			}
		})
	}
}
