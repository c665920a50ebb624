// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/compute/armcompute/v7"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/quota"
)

// How long what Compute listed is good for, and for how long nobody asks again
// after it gave no answer.
const (
	usageFor    = 5 * time.Minute
	sizesFor    = 6 * time.Hour // well below the rest of a size that is not offered (gpu/pool)
	offersPause = 10 * time.Minute
	// usageUntil is how old a usage may be that an order is refused on.
	usageUntil = 15 * time.Minute
	// listTimeout bounds one request: pools that are to be ordered wait for it.
	listTimeout = 15 * time.Second
	// settling is how long Compute may still count machines that are gone.
	settling = 2 * time.Minute
)

// market is what Compute says of the subscription where the cluster is, asked
// seldom and by one at a time.
type market struct {
	cfg      Config
	clusters *armcontainerservice.ManagedClustersClient
	usages   *armcompute.UsageClient
	skus     *armcompute.ResourceSKUsClient
	freed    *freed

	mu       sync.Mutex
	location string
	seen     quota.Snapshot
	next     map[string]time.Time // when each list is due again
	paused   map[string]time.Time // until when it is not asked, because it gave no answer
}

// newMarket makes the clients; it makes no request.
func newMarket(cfg Config, f *freed) (*market, error) {
	never := policy.RetryOptions{MaxRetries: -1} // an answer is not worth waiting for
	clusters, err := factory(cfg, never)
	if err != nil {
		return nil, err
	}
	compute, err := armcompute.NewClientFactory(cfg.SubscriptionID, cfg.Credential, clientOptions(cfg, never))
	if err != nil {
		return nil, fmt.Errorf("making clients of Compute: %w", err)
	}
	return &market{
		cfg: cfg, clusters: clusters.NewManagedClustersClient(), usages: compute.NewUsageClient(), skus: compute.NewResourceSKUsClient(),
		freed: f, next: map[string]time.Time{}, paused: map[string]time.Time{},
	}, nil
}

// Offers is what Compute listed of quotas and sizes where the cluster is, asked
// again when it is due; nil where nothing is known. An error says why some of it
// is missing, once each time it was asked for: nothing may be refused for that.
func (p *Provider) Offers(ctx context.Context) (*quota.Snapshot, error) {
	return p.market.get(ctx)
}

func (m *market) get(ctx context.Context) (*quota.Snapshot, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.location == "" {
		if err := m.ask("location", 0, func() error { return m.locate(ctx) }); err != nil || m.location == "" {
			return nil, err
		}
	}
	if m.freed.since(m.seen.UsageAt) {
		m.next["usage"] = m.freed.settled()
	}
	err := errors.Join(
		m.ask("usage", usageFor, func() error { return m.readUsages(ctx) }),
		m.ask("sizes", sizesFor, func() error { return m.readSizes(ctx) }),
	)
	return m.current(), err
}

// current is what may be relied on now: usages that are old, or that count
// machines which are gone, are left out.
func (m *market) current() *quota.Snapshot {
	s := m.seen
	s.Location = m.location
	if m.freed.since(s.UsageAt) || m.cfg.Clock().Sub(s.UsageAt) > usageUntil {
		s.Usages, s.UsageAt = nil, time.Time{}
	}
	if s.UsageAt.IsZero() && s.SizesAt.IsZero() {
		return nil
	}
	return &s
}

// ask runs a request when it is due, and says when it is due again.
func (m *market) ask(what string, lasts time.Duration, do func() error) error {
	now := m.cfg.Clock()
	if now.Before(m.next[what]) || now.Before(m.paused[what]) {
		return nil
	}
	err := do()
	if err == nil {
		m.next[what] = now.Add(lasts)
		return nil
	}
	f := m.cfg.classify(err)
	m.paused[what] = now.Add(max(offersPause, f.RetryAfter))
	return fmt.Errorf("asking Azure for the %s: %w", map[string]string{
		"location": "location of the cluster", "usage": "quotas of the subscription", "sizes": "sizes of the region",
	}[what], f)
}

// locate reads where the cluster is.
func (m *market) locate(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	got, err := m.clusters.Get(ctx, m.cfg.ResourceGroup, m.cfg.ClusterName, nil)
	if err == nil {
		m.location = place(deref(got.Location))
	}
	return err
}

// place is a location as its name: Azure also writes "East US".
func place(s string) string { return strings.ToLower(strings.ReplaceAll(s, " ", "")) }

func (m *market) readUsages(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all []quota.Usage
	for pages := m.usages.NewListPager(m.location, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, u := range page.Value {
			if u == nil || u.Name == nil || !counts(deref(u.Name.Value)) || u.Limit == nil || u.CurrentValue == nil {
				continue
			}
			all = append(all, quota.Usage{Name: *u.Name.Value, Limit: int(*u.Limit), Used: int(*u.CurrentValue)})
		}
	}
	slices.SortFunc(all, func(a, b quota.Usage) int { return cmp.Compare(a.Name, b.Name) })
	m.seen.Usages, m.seen.UsageAt = all, m.cfg.Clock().UTC().Truncate(time.Second)
	return nil
}

// counts says whether GPU machines may draw on a quota: those of the region, and
// those of families of the letter N.
func counts(name string) bool {
	family := strings.TrimSpace(strings.TrimPrefix(strings.ToLower(name), "standard"))
	return name == quota.Region || name == quota.Spot || strings.HasPrefix(family, "n") && strings.HasSuffix(family, "family")
}

func (m *market) readSizes(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	var all []quota.Size
	o := &armcompute.ResourceSKUsClientListOptions{Filter: to.Ptr("location eq '" + m.location + "'")}
	for pages := m.skus.NewListPager(o); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, k := range page.Value {
			if k != nil && deref(k.ResourceType) == "virtualMachines" && quota.GPU(deref(k.Name)) && m.here(k.Locations) {
				all = append(all, m.size(k))
			}
		}
	}
	slices.SortFunc(all, func(a, b quota.Size) int { return cmp.Compare(a.Name, b.Name) })
	m.seen.Sizes, m.seen.SizesAt = all, m.cfg.Clock().UTC().Truncate(time.Second)
	return nil
}

// size reads what a listed size is to this subscription.
func (m *market) size(k *armcompute.ResourceSKU) quota.Size {
	out := quota.Size{Name: deref(k.Name), Family: deref(k.Family)}
	for _, c := range k.Capabilities {
		switch {
		case c == nil:
		case deref(c.Name) == "vCPUs":
			out.VCPUs, _ = strconv.Atoi(deref(c.Value)) // 0: not known
		case deref(c.Name) == "LowPriorityCapable":
			out.NoSpot = strings.EqualFold(deref(c.Value), "false")
		}
	}
	for _, i := range k.LocationInfo {
		if i != nil && place(deref(i.Location)) == m.location {
			out.Zones = append(out.Zones, plain(i.Zones)...)
		}
	}
	slices.Sort(out.Zones)
	out.Zonal = len(out.Zones) > 0
	m.restrict(&out, k)
	return out
}

// restrict takes away what the subscription may not use.
func (m *market) restrict(out *quota.Size, k *armcompute.ResourceSKU) {
	for _, r := range k.Restrictions {
		if r == nil || r.RestrictionInfo == nil || !m.here(r.RestrictionInfo.Locations) {
			continue
		}
		switch deref(r.Type) {
		case armcompute.ResourceSKURestrictionsTypeLocation:
			out.Forbidden = true
		case armcompute.ResourceSKURestrictionsTypeZone:
			closed := plain(r.RestrictionInfo.Zones)
			out.Zones = slices.DeleteFunc(out.Zones, func(z string) bool { return slices.Contains(closed, z) })
		}
	}
}

// here says whether the cluster's location is among some.
func (m *market) here(locations []*string) bool {
	return slices.ContainsFunc(locations, func(l *string) bool { return place(deref(l)) == m.location })
}

func plain(list []*string) []string {
	var out []string
	for _, s := range list {
		if s != nil {
			out = append(out, *s)
		}
	}
	return out
}

// freed remembers when machines of the cluster last went: Compute counts them for
// a while, and an order must not be refused for what is gone.
type freed struct {
	clock func() time.Time

	mu     sync.Mutex
	at     time.Time
	counts map[string]int32
}

// look compares a list of agent pools with the one before.
func (f *freed) look(pools []*armcontainerservice.AgentPool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	counts := map[string]int32{}
	gone := false
	for _, found := range pools {
		p := properties(found)
		counts[deref(found.Name)] = deref(p.Count)
		now := deref(p.ProvisioningState)
		gone = gone || now != "Succeeded" && now != "Failed" && now != "Creating"
	}
	for name, had := range f.counts {
		gone = gone || counts[name] < had
	}
	f.counts = counts
	if gone {
		f.at = f.clock()
	}
}

// since says whether a usage that was read at a time may count what is gone.
func (f *freed) since(read time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.at.IsZero() && read.Before(f.at.Add(settling).Truncate(time.Second))
}

// settled is when Compute has seen what went.
func (f *freed) settled() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at.Add(settling)
}
