// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/reconciler/plan"
)

const a100Family = "standardNCADSA100v4Family"

// region is what Azure listed: 96 vCPUs of A100, of which some are used.
func region(used int, change ...func(*quota.Snapshot)) *quota.Snapshot {
	at := time.Date(2026, 11, 26, 8, 0, 30, 0, time.UTC)
	s := &quota.Snapshot{
		Location: "eastus", UsageAt: at, SizesAt: at,
		Usages: []quota.Usage{
			{Name: quota.Region, Limit: 500, Used: 100}, {Name: quota.Spot, Limit: 10}, {Name: a100Family, Limit: 96, Used: used},
			{Name: "StandardNCadsH100v5Family", Limit: 80},
		},
		Sizes: []quota.Size{
			{Name: "Standard_NC24ads_A100_v4", Family: a100Family, VCPUs: 24, Zones: []string{"1"}, Zonal: true},
			{Name: "Standard_NC48ads_A100_v4", Family: a100Family, VCPUs: 48},
			{Name: "Standard_NC40ads_H100_v5", Family: "StandardNCadsH100v5Family", VCPUs: 40},
		},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func TestQuota(t *testing.T) {
	spotFirst := []string{
		"instanceType: Standard_NC24ads_A100_v4",
		"candidates:\n    - {instanceType: Standard_NC24ads_A100_v4, priority: Spot}\n    - {instanceType: Standard_NC24ads_A100_v4}",
	}
	cases := map[string]struct {
		reason     string
		base, head files
		cloud      *quota.Snapshot
		want       string // of the first change
		short      string // in a finding; empty: none
		unchecked  bool
	}{
		"NoSnapshot": {
			reason: "Without a snapshot the plan says that it knows nothing.",
			head:   files{"a.yaml": service("a")}, want: "not checked: no credentials", unchecked: true,
		},
		"New": {
			reason: "A new node draws on its family.",
			head:   files{"a.yaml": service("a")}, cloud: region(24),
			want: a100Family + " in eastus: 24 used + 24 needed of 96 vCPUs (as of 2026-11-26 08:00 UTC)",
		},
		"MoreCopies": {
			reason: "What runs already is among what is used.",
			base:   files{"a.yaml": service("a")}, head: files{"a.yaml": service("a", "replicas: 1", "replicas: 3")}, cloud: region(48),
			want: "48 used + 48 needed of 96 vCPUs (as of 2026",
		},
		"FewerCopies": {
			reason: "Giving nodes back is always allowed.",
			base:   files{"a.yaml": service("a", "replicas: 1", "replicas: 3")}, head: files{"a.yaml": service("a")}, cloud: region(96),
			want: "no more of " + a100Family + " than before",
		},
		"Short": {
			reason: "Too little quota is a finding, and no refusal: it may be raised before this is merged.",
			head:   files{"a.yaml": service("a")}, cloud: region(90),
			want:  "Standard_NC24ads_A100_v4: " + a100Family + " in eastus: 90 used + 24 needed of 96 vCPUs, 18 too few",
			short: "ask for more at https://aka.ms/ProdportalCRP",
		},
		"NextCandidate": {
			reason: "Spot machines have their own quota; the node pool goes on to the next candidate.",
			head:   files{"a.yaml": service("a", spotFirst...)}, cloud: region(24),
			want: "Standard_NC24ads_A100_v4 (spot): LowPriorityCores in eastus: 0 used + 24 needed of 10 vCPUs, 14 too few; then " + a100Family + " in eastus: 24 used + 24 needed of 96 vCPUs",
		},
		"SameFamily": {
			reason: "The old nodes of the same family go first.",
			base:   files{"a.yaml": service("a", "replicas: 1", "replicas: 2")}, head: files{"a.yaml": service("a", "NC24ads_A100", "NC48ads_A100")}, cloud: region(96),
			want: "no more of " + a100Family + " than before",
		},
		"NotOffered": {
			reason: "A size that the region does not have is said before anybody waits for it.",
			head:   files{"a.yaml": service("a")}, cloud: region(0, func(s *quota.Snapshot) { s.Sizes = s.Sizes[1:] }),
			want: "Standard_NC24ads_A100_v4 is not offered in eastus", short: "a: Standard_NC24ads_A100_v4 is not offered in eastus",
		},
		"Together": {
			reason: "Each fits alone, and both do not.",
			head:   files{"a.yaml": service("a", "replicas: 1", "replicas: 2"), "b.yaml": service("b", "replicas: 1", "replicas: 2")}, cloud: region(24),
			want: "24 used + 48 needed of 96 vCPUs", short: "all changes together need more of a quota than is left: " + a100Family + " in eastus: 24 used + 96 needed of 96 vCPUs, 24 too few",
		},
		"Suspended": {
			reason: "What is suspended buys nothing.",
			base:   files{"a.yaml": service("a")}, head: files{"a.yaml": service("a") + "  suspend: true\n"}, cloud: region(96),
			want: "nothing is needed",
		},
		"Pool": {
			reason: "A declared pool draws on it whoever uses it.",
			head:   files{"pool.yaml": sharedPool}, cloud: region(60),
			want: "Standard_NC24ads_A100_v4: " + a100Family + " in eastus: 60 used + 48 needed of 96 vCPUs, 12 too few", short: "12 too few",
		},
		"Reserved": {
			reason: "Machines of a capacity reservation have their quota: how many it holds is not known here.",
			head: files{"pool.yaml": strings.Replace(sharedPool, "  candidates:",
				"  aks: {capacityReservationGroup: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/r}\n  candidates:", 1)},
			cloud: region(96), want: "not checked: the machines come from a capacity reservation, which has drawn its quota already", unchecked: true,
		},
		"FamilyNotListed": {
			reason: "What the cloud does not list is not made up.",
			head:   files{"a.yaml": service("a")}, cloud: region(0, func(s *quota.Snapshot) { s.Usages = s.Usages[:2] }),
			want: "not checked: eastus lists no quota of", unchecked: true,
		},
		"SizesOnly": {
			reason: "Where usage could not be read, sizes still say something.",
			head:   files{"a.yaml": service("a")}, cloud: region(0, func(s *quota.Snapshot) { s.Usages, s.UsageAt = nil, time.Time{} }),
			want: "not checked: only the sizes of eastus were read", unchecked: true,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := scenario{base: tc.base, head: tc.head, quota: tc.cloud}.plan(t)
			if len(p.Changes) == 0 {
				t.Fatal("nothing changes")
			}
			q := p.Changes[0].Quota
			if !strings.Contains(q.Message, tc.want) || q.Checked == tc.unchecked {
				t.Errorf("%s\nquota %+v\nwant %q", tc.reason, q, tc.want)
			}
			said := ""
			for _, f := range p.Findings {
				if f.Code == plan.QuotaShort {
					said += f.Message + "\n"
				}
			}
			if (said == "") != (tc.short == "") || !strings.Contains(said, tc.short) {
				t.Errorf("%s\nfindings %q, want %q", tc.reason, said, tc.short)
			}
			if p.Refused {
				t.Errorf("%s\nrefused: %+v", tc.reason, p.Findings)
			}
			if note := noteOf(p, plan.QuotaNotChecked); (note == "") != (tc.cloud != nil) {
				t.Errorf("%s\nnote %q", tc.reason, note)
			}
		})
	}
}

func noteOf(p plan.Plan, code string) string {
	for _, n := range p.NotChecked {
		if n.Code == code {
			return n.Message
		}
	}
	return ""
}

// TestQuotaOfOthers: nodes that exist draw on nothing, and of other clouds nothing
// is known.
func TestQuotaOfOthers(t *testing.T) {
	cases := map[string]struct{ reason, pool, want string }{
		"Existing": {"Nodes that exist are not made.", strings.Replace(sharedPool, "provider: aks", "provider: existing\n  nodeLabels: {gpu: a100}", 1), "nothing is needed"},
		"AWS": {
			"What Azure lists says nothing of AWS.",
			strings.NewReplacer("provider: aks", "provider: karpenter", "Standard_NC24ads_A100_v4", "g5.2xlarge").Replace(sharedPool), "not checked: eastus lists no quota of",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := scenario{head: files{"pool.yaml": tc.pool}, quota: region(0)}.plan(t)
			if got := p.Changes[0].Quota.Message; !strings.Contains(got, tc.want) {
				t.Errorf("%s\n%s", tc.reason, got)
			}
		})
	}
}
