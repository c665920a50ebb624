// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// bucket is a token bucket, as AKS documents them.
type bucket struct {
	left   float64
	filled time.Time
}

// limit is the size of a bucket and how fast it fills.
type limit struct {
	burst, perSecond float64
}

// Limits of AKS: https://learn.microsoft.com/azure/aks/quotas-skus-regions
var (
	limitPut       = limit{20, 1.0 / 60} // each agent pool
	limitOperation = limit{200, 2}       // the subscription
	limitOther     = limit{60, 1}        // the subscription: GET, LIST, DELETE and the rest
)

// throttle takes a token of the request's bucket; it is a fault where none is left.
func (s *Server) throttle(a *answer) *Fault {
	if !s.opt.Limits {
		return nil
	}
	key, l := "other", limitOther
	switch a.kind {
	case http.MethodPut:
		key, l = "put/"+a.pool, limitPut
	case "OPERATION":
		key, l = "operation", limitOperation
	}
	b := s.buckets[key]
	if b == nil {
		b = &bucket{left: l.burst, filled: s.now()}
		s.buckets[key] = b
	}
	b.left = min(l.burst, b.left+l.perSecond*s.now().Sub(b.filled).Seconds())
	b.filled = s.now()
	if b.left >= 1 {
		b.left--
		return nil
	}
	f := Throttled(time.Duration(math.Ceil((1-b.left)/l.perSecond)) * time.Second)
	return &f
}

// Names of quotas that are not of a family.
const (
	QuotaRegion = "cores"
	QuotaSpot   = "lowPriorityCores"
)

// SetQuota limits the vCPUs of a family, of the region (QuotaRegion) or of spot
// machines (QuotaSpot).
func (s *Server) SetQuota(name string, vcpus int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits[name] = vcpus
}

// used counts the vCPUs that pools draw of a quota, without one pool.
func (s *Server) used(quota string, without *agentPool) int {
	total := 0
	for _, p := range s.pools {
		if p == without {
			continue
		}
		v := p.view()
		hw, _ := s.opt.Sizes(v.VMSize)
		if draws(quota, hw.Family, v.Priority) {
			total += hw.VCPUs * p.draws()
		}
	}
	return total
}

// draws is how many machines of a pool count: those that are, and those on
// their way; a pool that failed has none on their way.
func (p *agentPool) draws() int {
	if p.state() == "Failed" || p.state() == "Deleting" {
		return len(p.machines)
	}
	return max(p.count(), len(p.machines))
}

// draws says whether machines of a family and priority draw on a quota.
func draws(quota, family, priority string) bool {
	switch spot := priority == "Spot"; quota {
	case QuotaSpot:
		return spot
	case QuotaRegion:
		return !spot
	default:
		return !spot && strings.EqualFold(quota, family)
	}
}

// overQuota is what the quota check finds wrong with a pool as it would be.
func (s *Server) overQuota(p *agentPool, props map[string]any) *Fault {
	next := agentPool{props: props}
	v := next.view()
	if v.VMSize == "" && p != nil {
		v = p.view()
		v.Count = next.count()
	}
	hw, _ := s.opt.Sizes(v.VMSize)
	more := hw.VCPUs * v.Count
	if p != nil {
		more -= hw.VCPUs * p.count()
	}
	for _, q := range []struct{ name, text string }{{hw.Family, hw.Family + " Cores"}, {QuotaRegion, "Total Regional Cores"}, {QuotaSpot, "LowPriorityCores"}} {
		allowed, limited := s.limits[q.name]
		if used := s.used(q.name, nil); limited && more > 0 && draws(q.name, hw.Family, v.Priority) && used+more > allowed {
			f := Quota(hw.Family, allowed, used, more)
			f.Message = strings.Replace(f.Message, hw.Family+" Cores", q.text, 1)
			return &f
		}
	}
	return nil
}

// usage is what Compute says of the region's quotas: those that are limited here,
// beside some that no GPU machine draws on.
func (s *Server) usage() []any {
	entry := func(name string, limit, used int) any {
		return map[string]any{
			"unit": "Count", "limit": limit, "currentValue": used,
			"name": map[string]any{"value": name, "localizedValue": name + " vCPUs"},
		}
	}
	value := []any{entry("availabilitySets", 2500, 1), entry("standardDSv5Family", 100, 4)}
	for _, name := range slices.Sorted(maps.Keys(s.limits)) {
		value = append(value, entry(name, s.limits[name], s.used(name, nil)))
	}
	return value
}
