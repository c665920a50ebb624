// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// foresee chooses the first candidate that is not skipped and that nothing which
// the cloud listed speaks against; -1 if there is none. What is foreseen is
// skipped as it would be had the cloud refused the order.
func foresee(f Facts, skipped []v1alpha1.SkippedCandidate) (int, []v1alpha1.SkippedCandidate) {
	for {
		i := choose(f.Pool.Spec.Candidates, skipped, f.Now)
		if i < 0 {
			return i, skipped
		}
		c := f.Pool.Spec.Candidates[i]
		why := Foreseen(f.Offers.Refuse(ask(f, c)), f.Offers)
		if text := unsuited(f, c); text != "" {
			why = &Failure{Class: ClassCandidate, Text: text}
		}
		if why == nil {
			return i, skipped
		}
		skipped = skip(skipped, why, c, f.Pool.Spec.Candidates, f.Now, f.Catalog)
	}
}

func unsuited(f Facts, c v1alpha1.Candidate) string {
	size, _ := f.Catalog(c.InstanceType)
	return Unsuited(&f.Pool.Spec, c, size)
}

// ask is what a candidate needs of the cloud for all nodes that are wanted.
func ask(f Facts, c v1alpha1.Candidate) quota.Ask {
	size, _ := f.Catalog(c.InstanceType)
	return quota.Ask{
		InstanceType: c.InstanceType, Family: size.Family, VCPUs: size.VCPUs,
		Spot: priority(c) == v1alpha1.Spot, Zones: c.Zones, Nodes: int(max(f.wanted(), 1)), Reserved: f.Pool.Spec.Reserved(),
	}
}

// offered are the zones that a candidate is ordered in, where it is not offered in
// all that it names; else nil.
func offered(f Facts, c v1alpha1.Candidate) []string {
	in := f.Offers.InZones(ask(f, c))
	if len(in) == len(c.Zones) {
		return nil
	}
	return slices.Clone(in)
}

// classes of what is foreseen: those of the cloud's own refusals.
var foreseen = map[quota.Kind]Class{
	quota.NotOffered: ClassSKU, quota.NotSpot: ClassSKU, quota.NotAllowed: ClassSKUSubscription, quota.NotInZones: ClassCandidate,
	quota.FamilyShort: ClassFamilyQuota, quota.RegionShort: ClassRegionQuota, quota.SpotShort: ClassSpotQuota,
}

// Foreseen is the failure that an order would end with; nil: none is foreseen.
func Foreseen(r *quota.Refusal, in *quota.Snapshot) *Failure {
	if r == nil {
		return nil
	}
	f := &Failure{Class: foreseen[r.Kind], Text: r.Text}
	if d := r.Draw; d != nil {
		f.Quota = &Quota{
			Family: d.Label(), Region: in.Location, Limit: d.Limit, Used: d.Used, Needed: d.Needed,
			Left: max(d.Limit-d.Used, 0), Link: quota.AskAt,
		}
	}
	return f
}
