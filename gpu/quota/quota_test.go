// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var listed = &Snapshot{
	Location: "eastus", UsageAt: time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC), SizesAt: time.Date(2026, 11, 26, 7, 0, 0, 0, time.UTC),
	Usages: []Usage{
		{Name: "cores", Limit: 200, Used: 100}, {Name: "lowPriorityCores", Limit: 30, Used: 10},
		{Name: "StandardNCADSA100v4Family", Limit: 96, Used: 48}, {Name: "standardNDSH100v5Family", Limit: 0, Used: 0},
		{Name: "Standard NCASv3_T4 Family", Limit: 500, Used: 0},
	},
	Sizes: []Size{
		{Name: "Standard_NC24ads_A100_v4", Family: "standardNCADSA100v4Family", VCPUs: 24, Zones: []string{"1", "3"}, Zonal: true},
		{Name: "Standard_NC4as_T4_v3", Family: "Standard NCASv3_T4 Family", VCPUs: 4},
		{Name: "Standard_NV36ads_A10_v5", Family: "StandardNVADSA10v5Family", VCPUs: 36, NoSpot: true, Zonal: true},
		{Name: "Standard_ND96isr_H100_v5", Family: "standardNDSH100v5Family", VCPUs: 96, Forbidden: true},
	},
}

func TestRefuse(t *testing.T) {
	a100 := func(change func(*Ask)) Ask {
		a := Ask{InstanceType: "Standard_NC24ads_A100_v4", Nodes: 1}
		change(&a)
		return a
	}
	cases := map[string]struct {
		reason string
		of     *Snapshot
		ask    Ask
		want   *Refusal
	}{
		"Fits":         {"What the quota holds is not refused.", listed, a100(func(*Ask) {}), nil},
		"FitsExactly":  {"The last vCPU of a quota may be used.", listed, a100(func(a *Ask) { a.Nodes = 2 }), nil},
		"NothingKnown": {"Without a list nothing is refused: the cloud itself answers.", nil, a100(func(a *Ask) { a.Nodes = 99 }), nil},
		"EmptyList": {
			"A list without any size is a list that could not be read, not a region without GPUs.",
			&Snapshot{Location: "eastus", Usages: listed.Usages}, Ask{InstanceType: "Standard_NC4as_T4_v3", Nodes: 1}, nil,
		},
		"CatalogueWhereNoSizes": {
			"Where the sizes could not be listed, the catalogue's family and vCPUs do.",
			&Snapshot{Location: "eastus", Usages: listed.Usages}, Ask{InstanceType: "Standard_NC24ads_A100_v4", Family: "StandardNCADSA100v4Family", VCPUs: 24, Nodes: 3},
			&Refusal{Kind: FamilyShort, Draw: &Draw{Name: "StandardNCADSA100v4Family", Limit: 96, Used: 48, Needed: 72}},
		},
		"Family": {
			"A family's quota is compared whatever the case of its name.", listed, a100(func(a *Ask) { a.Nodes = 3 }),
			&Refusal{Kind: FamilyShort, Draw: &Draw{Name: "StandardNCADSA100v4Family", Limit: 96, Used: 48, Needed: 72}},
		},
		"Region": {
			"The region has a quota over all families.", listed, Ask{InstanceType: "Standard_NC4as_T4_v3", Nodes: 26},
			&Refusal{Kind: RegionShort, Draw: &Draw{Name: "cores", Limit: 200, Used: 100, Needed: 104}},
		},
		"Spot": {
			"Spot machines draw on their own quota alone.", listed, a100(func(a *Ask) { a.Spot = true }),
			&Refusal{Kind: SpotShort, Draw: &Draw{Name: "lowPriorityCores", Limit: 30, Used: 10, Needed: 24}},
		},
		"NotOffered": {
			"A size that the region does not list cannot be had there.", listed, Ask{InstanceType: "Standard_NC40ads_H100_v5", Nodes: 1},
			&Refusal{Kind: NotOffered, Text: "Standard_NC40ads_H100_v5 is not offered in eastus"},
		},
		"NoGPU": {"Sizes without GPUs are not listed, so nothing is said of them.", listed, Ask{InstanceType: "Standard_D8s_v5", Nodes: 1}, nil},
		"Forbidden": {
			"What the subscription may not use is said before its quota, which is 0 as well.", listed, Ask{InstanceType: "Standard_ND96isr_H100_v5", Nodes: 1},
			&Refusal{Kind: NotAllowed, Text: "Standard_ND96isr_H100_v5 is not available to this subscription in eastus (NotAvailableForSubscription)"},
		},
		"NoSpot": {
			"Some sizes are never spot.", listed, Ask{InstanceType: "Standard_NV36ads_A10_v5", Spot: true, Nodes: 1},
			&Refusal{Kind: NotSpot, Text: "Standard_NV36ads_A10_v5 is not offered as a spot machine in eastus"},
		},
		"OneZoneOfTwo": {"One offered zone is enough: the order goes to that one.", listed, a100(func(a *Ask) { a.Zones = []string{"1", "2"} }), nil},
		"OtherZones": {
			"Where no asked zone has the size, those that do are named.", listed, a100(func(a *Ask) { a.Zones = []string{"2"} }),
			&Refusal{Kind: NotInZones, Text: "Standard_NC24ads_A100_v4 is available to this subscription in zones 1, 3 of eastus, and the candidate names zone 2"},
		},
		"NoZones": {
			"A size without zones cannot be ordered in one.", listed, Ask{InstanceType: "Standard_NC4as_T4_v3", Zones: []string{"1"}, Nodes: 1},
			&Refusal{Kind: NotInZones, Text: "Standard_NC4as_T4_v3 is offered in no zone of eastus, and the candidate names zone 1"},
		},
		"ZonesOfOthers": {
			"A size may have zones, and the subscription none of them.", listed, Ask{InstanceType: "Standard_NV36ads_A10_v5", Zones: []string{"1"}, Nodes: 1},
			&Refusal{Kind: NotInZones, Text: "Standard_NV36ads_A10_v5 is available to this subscription in no zone of eastus, and the candidate names zone 1"},
		},
		"Reserved": {"A reservation has drawn its quota already.", listed, a100(func(a *Ask) { a.Nodes, a.Reserved = 99, true }), nil},
		"ReservedNotOffered": {
			"A reservation makes no size.", listed, Ask{InstanceType: "Standard_NC40ads_H100_v5", Nodes: 1, Reserved: true},
			&Refusal{Kind: NotOffered, Text: "Standard_NC40ads_H100_v5 is not offered in eastus"},
		},
		"Fewer": {"Giving machines back is never refused.", listed, a100(func(a *Ask) { a.Nodes = -3 }), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.of.Refuse(tc.ask)); diff != "" {
				t.Errorf("%s: -want +got\n%s", tc.reason, diff)
			}
		})
	}
}

func TestInZones(t *testing.T) {
	ask := Ask{InstanceType: "Standard_NC24ads_A100_v4", Zones: []string{"1", "2", "3"}}
	if diff := cmp.Diff([]string{"1", "3"}, listed.InZones(ask)); diff != "" {
		t.Errorf("zones that are offered: -want +got\n%s", diff)
	}
	if diff := cmp.Diff(ask.Zones, (*Snapshot)(nil).InZones(ask)); diff != "" {
		t.Errorf("zones where nothing is known: -want +got\n%s", diff)
	}
}

func TestRead(t *testing.T) {
	text, err := Write(listed)
	if err != nil {
		t.Fatal(err)
	}
	back, err := Read(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listed, back); diff != "" {
		t.Errorf("what is written is read: -want +got\n%s", diff)
	}
	later := *listed
	later.UsageAt = later.UsageAt.Add(time.Hour)
	if listed.Differs(&later) || !listed.Differs(nil) {
		t.Error("snapshots differ by what they say, not by when they were read")
	}
}

// FuzzRead: a file that somebody hands over is ordinary input.
func FuzzRead(f *testing.F) {
	text, err := Write(listed)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"location":"x"}`))
	f.Fuzz(func(_ *testing.T, text []byte) {
		s, err := Read(text)
		if err != nil {
			return
		}
		s.Refuse(Ask{InstanceType: "Standard_NC24ads_A100_v4", Zones: []string{"1"}, Nodes: 1})
	})
}
