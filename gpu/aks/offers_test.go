// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/test/fakearm"
)

const family = "standardNCADSA100v4Family"

func asked(arm *fakearm.Server) [3]int {
	c := arm.Counts()
	return [3]int{c["CLUSTER"], c["USAGE"], c["SKUS"]}
}

// TestOffers: what Compute lists becomes a snapshot, read by the real SDK, and is
// asked for as seldom as it may be.
func TestOffers(t *testing.T) {
	arm, p := start(t)
	arm.SetQuota(family, 48)
	arm.SetQuota(fakearm.QuotaRegion, 100)
	arm.ListSKU(fakearm.SKU{Name: size, Zones: []string{"3", "1", "2"}, Restricted: []string{"2"}})
	arm.ListSKU(fakearm.SKU{Name: "Standard_NV36ads_A10_v5", Forbidden: true, NoSpot: true})
	at := arm.Now().UTC()
	want := &quota.Snapshot{
		Location: fakearm.Location, UsageAt: at, SizesAt: at,
		Usages: []quota.Usage{{Name: "cores", Limit: 100}, {Name: family, Limit: 48}},
		Sizes: []quota.Size{
			{Name: size, Family: family, VCPUs: 24, Zones: []string{"1", "3"}, Zonal: true},
			{Name: "Standard_NV36ads_A10_v5", Forbidden: true, NoSpot: true},
		},
	}
	if diff := cmp.Diff(want, must[*quota.Snapshot](t)(p.Offers(t.Context()))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for range 5 * 60 / 10 { // ten seconds short of 5 min
		must[*quota.Snapshot](t)(p.Offers(t.Context()))
		arm.Advance(9 * time.Second)
	}
	if diff := cmp.Diff([3]int{1, 1, 1}, asked(arm)); diff != "" {
		t.Errorf("cluster, usage and SKUs asked within five minutes: -want +got\n%s", diff)
	}
	arm.Advance(time.Minute)
	must[*quota.Snapshot](t)(p.Offers(t.Context()))
	if diff := cmp.Diff([3]int{1, 2, 1}, asked(arm)); diff != "" {
		t.Errorf("after five minutes the usage alone is asked again: -want +got\n%s", diff)
	}
	arm.Advance(6 * time.Hour)
	must[*quota.Snapshot](t)(p.Offers(t.Context()))
	if diff := cmp.Diff([3]int{1, 3, 2}, asked(arm)); diff != "" {
		t.Errorf("after six hours the sizes too: -want +got\n%s", diff)
	}
}

// deadlines notes how long requests may take at most.
type deadlines struct {
	next policy.Transporter
	most time.Duration
}

func (d *deadlines) Do(r *http.Request) (*http.Response, error) {
	at, set := r.Context().Deadline()
	if !set {
		at = time.Now().Add(time.Hour)
	}
	d.most = max(d.most, time.Until(at))
	return d.next.Do(r)
}

// TestOffersInTime: every pool that is to be ordered waits for the lists, so that
// none may hang for long.
func TestOffersInTime(t *testing.T) {
	_, p := start(t)
	cfg := p.cfg
	d := &deadlines{next: cfg.Transport}
	if d.next == nil {
		d.next = http.DefaultClient
	}
	cfg.Transport = d
	q, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	must[*quota.Snapshot](t)(q.Offers(t.Context()))
	if d.most == 0 || d.most > 15*time.Second {
		t.Errorf("a list may take %s, want at most 15 s", d.most)
	}
}

// TestOffersFailOpen: no answer refuses nothing, is said once, and rests.
func TestOffersFailOpen(t *testing.T) {
	cases := map[string]struct {
		reason string
		fail   map[string]fakearm.Fault
		said   string
		none   bool // nothing is known
		asked  [3]int
	}{
		"NoPermissionOnCluster": {
			reason: "Without the location nothing can be asked for.",
			fail:   map[string]fakearm.Fault{"CLUSTER": {Status: 403, Code: "AuthorizationFailed", Message: "no"}},
			said:   "location of the cluster", none: true, asked: [3]int{1, 0, 0},
		},
		"NoPermissionOnUsage": {
			reason: "What the other list says still holds.",
			fail:   map[string]fakearm.Fault{"USAGE": {Status: 403, Code: "AuthorizationFailed", Message: "no"}},
			said:   "quotas of the subscription", asked: [3]int{1, 1, 1},
		},
		"SizesDown": {
			reason: "A list that could not be read is no empty list.",
			fail:   map[string]fakearm.Fault{"SKUS": {Status: 503, Code: "InternalServerError", Message: "down"}},
			said:   "sizes of the region", asked: [3]int{1, 1, 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			arm.SetQuota(family, 48)
			arm.ListSKU(fakearm.SKU{Name: size})
			for kind, f := range tc.fail {
				arm.FailNext(kind, f)
			}
			got, err := p.Offers(t.Context())
			if err == nil || !strings.Contains(err.Error(), tc.said) || (got == nil) != tc.none {
				t.Errorf("%s\ngot %+v, %v", tc.reason, got, err)
			}
			if r := got.Refuse(quota.Ask{InstanceType: "Standard_NC99_v9", Nodes: 1}); tc.said == "sizes of the region" && r != nil {
				t.Errorf("%s\nrefused: %+v", tc.reason, r)
			}
			arm.Advance(4 * time.Minute)
			if _, err := p.Offers(t.Context()); err != nil {
				t.Errorf("said again without asking: %v", err)
			}
			if diff := cmp.Diff(tc.asked, asked(arm)); diff != "" {
				t.Errorf("%s\ncluster, usage and SKUs asked: -want +got\n%s", tc.reason, diff)
			}
			arm.Advance(7 * time.Minute)
			if got, err := p.Offers(t.Context()); err != nil || len(got.Usages) == 0 || len(got.Sizes) == 0 {
				t.Errorf("asked again after a rest: %+v, %v", got, err)
			}
		})
	}
}

// TestUsageOfWhatWent: machines that go are counted for a while, and nothing is
// refused for them meanwhile.
func TestUsageOfWhatWent(t *testing.T) {
	arm, p := start(t)
	arm.SetQuota(family, 24)
	arm.ListSKU(fakearm.SKU{Name: size})
	one := targetOf("a", 1)
	one.Candidate.Priority = ""
	must[pool.Step](t)(p.Ensure(t.Context(), one))
	arm.Advance(4 * time.Minute)
	must[pool.Observation](t)(p.Observe(t.Context(), one))
	ask := quota.Ask{InstanceType: size, Nodes: 1}
	if r := must[*quota.Snapshot](t)(p.Offers(t.Context())).Refuse(ask); r == nil || r.Kind != quota.FamilyShort {
		t.Fatalf("24 of 24 are used: %+v", r)
	}
	must[pool.Step](t)(p.Delete(t.Context(), one))
	arm.Advance(30 * time.Second)
	must[pool.Observation](t)(p.Observe(t.Context(), one))
	if s := must[*quota.Snapshot](t)(p.Offers(t.Context())); len(s.Usages) != 0 {
		t.Errorf("while machines go, the usage is not relied on: %+v", s.Usages)
	}
	arm.Advance(time.Minute)
	must[pool.Observation](t)(p.Observe(t.Context(), one)) // gone
	arm.Advance(3 * time.Minute)
	if s := must[*quota.Snapshot](t)(p.Offers(t.Context())); s.Refuse(ask) != nil || len(s.Usages) != 1 {
		t.Errorf("when they are gone it is read again: %+v", s)
	}
	if got := asked(arm); got[1] != 2 {
		t.Errorf("asked %d times, want 2", got[1])
	}
}
