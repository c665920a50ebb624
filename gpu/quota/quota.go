// SPDX-License-Identifier: Apache-2.0

// Package quota says whether a cloud would let machines be made, by what it last
// listed of the subscription: which sizes are offered where, and how much of each
// quota is used. The node pool controller asks before it orders, the plan of a
// pull request before anyone merges.
//
// It holds no credential, asks no cloud and reads no clock. What the cloud did not
// list is not refused: its own answer to an order is the last word.
package quota

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Names of the quotas that no family has, as Azure's Compute lists them.
const (
	Region = "cores"            // every on-demand vCPU of the region
	Spot   = "lowPriorityCores" // every spot vCPU of the region
)

// AskAt is where Azure's own texts send people who need more quota.
const AskAt = "https://aka.ms/ProdportalCRP"

// Snapshot is what a cloud listed of one subscription in one region.
type Snapshot struct {
	// Location is the region.
	Location string `json:"location"`
	// UsageAt is when Usages were read, SizesAt when Sizes were; zero: they were not.
	UsageAt time.Time `json:"usageAt,omitzero"`
	SizesAt time.Time `json:"sizesAt,omitzero"`
	// Usages of the quotas that GPU machines draw on, by name.
	Usages []Usage `json:"usages,omitempty"`
	// Sizes with GPUs that are offered in the region, by name.
	Sizes []Size `json:"sizes,omitempty"`
}

// Usage is one quota, in vCPUs.
type Usage struct {
	Name  string `json:"name"`
	Limit int    `json:"limit"`
	Used  int    `json:"used"`
}

// Size is an instance type as it is offered to the subscription.
type Size struct {
	Name   string `json:"name"`
	Family string `json:"family"`
	VCPUs  int    `json:"vcpus"`
	// Zones that the size is offered in to this subscription.
	Zones []string `json:"zones,omitempty"`
	// Zonal says that the region has zones of it at all, if only for others.
	Zonal bool `json:"zonal,omitempty"`
	// Forbidden says that the subscription may not use it in the region.
	Forbidden bool `json:"forbidden,omitempty"`
	// NoSpot says that it is not offered as a spot machine.
	NoSpot bool `json:"noSpot,omitempty"`
}

// Ask is machines that somebody wants.
type Ask struct {
	InstanceType string
	Family       string // as the catalogue has it, where the cloud lists none
	VCPUs        int    // of one machine, likewise
	Spot         bool
	Zones        []string // empty: anywhere in the region
	Nodes        int      // more than there are
	// Reserved says that a capacity reservation holds the machines: it has drawn
	// their quota. How many it holds is not known here.
	Reserved bool
}

// Kind is why machines are refused.
type Kind string

// Values of Kind.
const (
	NotOffered  Kind = "NotOffered"  // the region does not have the size
	NotAllowed  Kind = "NotAllowed"  // the subscription may not use it
	NotSpot     Kind = "NotSpot"     // it is not offered as a spot machine
	NotInZones  Kind = "NotInZones"  // it is offered, and in none of the zones
	FamilyShort Kind = "FamilyShort" // the quota of its family is too small
	RegionShort Kind = "RegionShort" // that of the region
	SpotShort   Kind = "SpotShort"   // that of spot machines
)

// Refusal is why the cloud would refuse an Ask.
type Refusal struct {
	Kind Kind
	Text string // a sentence without a full stop
	Draw *Draw  // of a quota that is too small
}

// Draw is what machines take of a quota, in vCPUs.
type Draw struct {
	Name   string `json:"name"`
	Limit  int    `json:"limit"`
	Used   int    `json:"used"`
	Needed int    `json:"needed"`
}

// Short says that the quota does not hold what is needed.
func (d Draw) Short() bool { return d.Needed > 0 && d.Used+d.Needed > d.Limit }

// Label is the quota's name as Azure's refusals have it.
func (d Draw) Label() string {
	switch d.Name {
	case Region:
		return "Total Regional"
	case Spot:
		return "LowPriorityCores"
	}
	return d.Name
}

// Refuse says why the cloud would refuse machines; nil: nothing that it listed
// speaks against them.
func (s *Snapshot) Refuse(a Ask) *Refusal {
	if s == nil {
		return nil
	}
	if r := s.Unfit(a); r != nil {
		return r
	}
	for _, d := range s.Draws(a) {
		if !d.Short() {
			continue
		}
		kind := FamilyShort
		switch d.Name {
		case Region:
			kind = RegionShort
		case Spot:
			kind = SpotShort
		}
		return &Refusal{Kind: kind, Draw: &d}
	}
	return nil
}

// Unfit is what the list of sizes has against machines; nil: nothing.
func (s *Snapshot) Unfit(a Ask) *Refusal {
	if len(s.Sizes) == 0 {
		return nil // an empty list says that the list is wrong
	}
	size, listed := s.size(a.InstanceType)
	switch {
	case !listed && !GPU(a.InstanceType):
		return nil // of sizes without GPUs there is no list
	case !listed:
		return &Refusal{Kind: NotOffered, Text: fmt.Sprintf("%s is not offered in %s", a.InstanceType, s.Location)}
	case size.Forbidden:
		return &Refusal{Kind: NotAllowed, Text: fmt.Sprintf("%s is not available to this subscription in %s (NotAvailableForSubscription)", a.InstanceType, s.Location)}
	case a.Spot && size.NoSpot:
		return &Refusal{Kind: NotSpot, Text: fmt.Sprintf("%s is not offered as a spot machine in %s", a.InstanceType, s.Location)}
	case len(a.Zones) == 0 || len(s.InZones(a)) > 0:
		return nil
	case !size.Zonal:
		return &Refusal{Kind: NotInZones, Text: fmt.Sprintf("%s is offered in no zone of %s, and the candidate names %s", a.InstanceType, s.Location, zones(a.Zones))}
	case len(size.Zones) == 0:
		return &Refusal{Kind: NotInZones, Text: fmt.Sprintf("%s is available to this subscription in no zone of %s, and the candidate names %s", a.InstanceType, s.Location, zones(a.Zones))}
	}
	return &Refusal{Kind: NotInZones, Text: fmt.Sprintf("%s is available to this subscription in %s of %s, and the candidate names %s", a.InstanceType, zones(size.Zones), s.Location, zones(a.Zones))}
}

// GPU says whether a name is of a size that Sizes would list: Azure's letter for
// GPUs is N.
func GPU(instanceType string) bool {
	return strings.HasPrefix(strings.ToLower(instanceType), "standard_n")
}

func zones(list []string) string {
	if len(list) == 1 {
		return "zone " + list[0]
	}
	return "zones " + strings.Join(list, ", ")
}

// InZones are those of the asked zones that the size is offered in; where that is
// not known, all of them.
func (s *Snapshot) InZones(a Ask) []string {
	if s == nil {
		return a.Zones
	}
	size, listed := s.size(a.InstanceType)
	if !listed {
		return a.Zones
	}
	var in []string
	for _, z := range a.Zones {
		if slices.Contains(size.Zones, z) {
			in = append(in, z)
		}
	}
	return in
}

// Draws are the quotas that machines count against, with what they take of each;
// those that the cloud did not list are left out. Machines that are reserved draw
// on none.
func (s *Snapshot) Draws(a Ask) []Draw {
	if s == nil || a.Reserved {
		return nil
	}
	family, vcpus := a.Family, a.VCPUs
	if size, listed := s.size(a.InstanceType); listed {
		if size.Family != "" {
			family = size.Family
		}
		if size.VCPUs > 0 {
			vcpus = size.VCPUs
		}
	}
	names := []string{family, Region}
	if a.Spot {
		names = []string{Spot}
	}
	var draws []Draw
	for _, name := range names {
		at := slices.IndexFunc(s.Usages, func(u Usage) bool { return strings.EqualFold(u.Name, name) })
		if at < 0 || name == "" || vcpus == 0 {
			continue
		}
		u := s.Usages[at]
		draws = append(draws, Draw{Name: u.Name, Limit: u.Limit, Used: u.Used, Needed: vcpus * a.Nodes})
	}
	return draws
}

func (s *Snapshot) size(name string) (Size, bool) {
	at := slices.IndexFunc(s.Sizes, func(z Size) bool { return strings.EqualFold(z.Name, name) })
	if at < 0 {
		return Size{}, false
	}
	return s.Sizes[at], true
}
