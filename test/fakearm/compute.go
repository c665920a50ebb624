// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	usagePath   = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/providers/Microsoft\.Compute/locations/([^/]+)/usages$`)
	skuPath     = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/providers/Microsoft\.Compute/skus$`)
	clusterPath = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.ContainerService/managedClusters/([^/]+)$`)
)

// SKU is a size as Compute lists it for the subscription.
type SKU struct {
	Name       string
	Zones      []string // where it is offered
	Restricted []string // zones that the subscription may not use; all of Zones: nowhere
	Hidden     bool     // not listed for the region at all
	Forbidden  bool     // NotAvailableForSubscription in the whole region
	NoSpot     bool     // not offered as a spot machine
}

// ListSKU makes Compute list a size.
func (s *Server) ListSKU(k SKU) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skus = slices.DeleteFunc(s.skus, func(o SKU) bool { return o.Name == k.Name })
	if !k.Hidden {
		s.skus = append(s.skus, k)
	}
}

// serveCompute answers what the preflight asks; false: it is not for Compute.
func (s *Server) serveCompute(a *answer) bool {
	usage, skus := usagePath.FindStringSubmatch(a.r.URL.Path), skuPath.FindStringSubmatch(a.r.URL.Path)
	m := usage
	a.kind = "USAGE"
	if usage == nil {
		m, a.kind = skus, "SKUS"
	}
	switch {
	case m == nil:
		return false
	case a.r.Method != http.MethodGet:
		a.json(http.StatusMethodNotAllowed, arm("MethodNotAllowed", a.r.Method))
		return true
	}
	if status, body := s.frontDoor(a, []string{"", m[1], ResourceGroup, Cluster}); status != 0 {
		a.json(status, body)
		return true
	}
	if s.faulty(a) {
		return true
	}
	if usage != nil && !strings.EqualFold(m[2], Location) {
		a.json(http.StatusNotFound, arm("NoRegisteredProviderFound", "No registered resource provider found for location '"+m[2]+"'."))
		return true
	}
	value := s.usage()
	if skus != nil {
		value = s.listedSKUs()
		if filter := a.r.URL.Query().Get("$filter"); filter != "" && !strings.EqualFold(filter, "location eq '"+Location+"'") {
			value = []any{}
		}
	}
	a.json(http.StatusOK, map[string]any{"value": value})
	return true
}

// faulty answers with the next fault that is due, if any.
func (s *Server) faulty(a *answer) bool {
	f, ok := s.faults.take(a.kind)
	if !ok {
		return false
	}
	a.cut = f.Cut || f.Lost
	if f.RetryAfter > 0 {
		a.w.Header().Set("Retry-After", fmt.Sprint(int(f.RetryAfter.Seconds())))
	}
	a.json(f.Status, arm(f.Code, f.Message))
	return true
}

// serveCluster answers a GET of the cluster itself; false: it is for none.
func (s *Server) serveCluster(a *answer) bool {
	m := clusterPath.FindStringSubmatch(a.r.URL.Path)
	if m == nil || a.r.Method != http.MethodGet {
		return false
	}
	a.kind = "CLUSTER"
	if status, body := s.frontDoor(a, m); status != 0 {
		a.json(status, body)
		return true
	}
	if s.faulty(a) {
		return true
	}
	a.json(http.StatusOK, map[string]any{
		"id":   fmt.Sprintf("/subscriptions/%s/resourcegroups/%s/providers/Microsoft.ContainerService/managedClusters/%s", Subscription, ResourceGroup, Cluster),
		"name": Cluster, "type": "Microsoft.ContainerService/ManagedClusters", "location": Location,
		"properties": map[string]any{"provisioningState": "Succeeded", "powerState": map[string]any{"code": "Running"}, "maxAgentPools": maxPools},
	})
	return true
}

// listedSKUs is the list with what it holds beside the sizes that matter: disks,
// and machines without GPUs.
func (s *Server) listedSKUs() []any {
	value := []any{
		map[string]any{"resourceType": "disks", "name": "Premium_LRS", "tier": "Premium", "size": "P10", "locations": []string{Location}, "capabilities": []any{}, "restrictions": []any{}},
		listed(SKU{Name: "Standard_D4s_v5", Zones: []string{"1", "2", "3"}}, Hardware{VCPUs: 4, MemoryGiB: 16, Family: "standardDSv5Family"}),
	}
	for _, k := range s.skus {
		hw, _ := s.opt.Sizes(k.Name)
		value = append(value, listed(k, hw))
	}
	return value
}

func listed(k SKU, hw Hardware) map[string]any {
	capability := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	spot := "True"
	if k.NoSpot {
		spot = "False"
	}
	restrictions := []any{}
	restrict := func(kind string, info map[string]any) {
		info["locations"] = []string{Location}
		restrictions = append(restrictions, map[string]any{
			"type": kind, "values": []string{Location}, "reasonCode": "NotAvailableForSubscription", "restrictionInfo": info,
		})
	}
	if k.Forbidden {
		restrict("Location", map[string]any{})
	}
	if len(k.Restricted) > 0 {
		restrict("Zone", map[string]any{"zones": k.Restricted})
	}
	return map[string]any{
		"resourceType": "virtualMachines", "name": k.Name, "tier": "Standard", "size": strings.TrimPrefix(k.Name, "Standard_"), "family": hw.Family,
		"locations":    []string{Location},
		"locationInfo": []any{map[string]any{"location": Location, "zones": k.Zones, "zoneDetails": []any{}}},
		"capabilities": []any{
			capability("vCPUs", strconv.Itoa(hw.VCPUs)), capability("GPUs", strconv.Itoa(hw.GPUs)),
			capability("MemoryGB", fmt.Sprint(hw.MemoryGiB)), capability("LowPriorityCapable", spot),
		},
		"restrictions": restrictions,
	}
}
