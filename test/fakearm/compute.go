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
	usagePath = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/providers/Microsoft\.Compute/locations/([^/]+)/usages$`)
	skuPath   = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/providers/Microsoft\.Compute/skus$`)
)

// SKU is a size as Compute lists it for the subscription.
type SKU struct {
	Name       string
	Zones      []string // where it is offered
	Restricted []string // zones that the subscription may not use; all of Zones: nowhere
	Hidden     bool     // not listed for the region at all
	Forbidden  bool     // NotAvailableForSubscription in the whole region
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
	if usage == nil && skus == nil {
		return false
	}
	a.kind = "USAGE"
	if skus != nil {
		a.kind = "SKUS"
	}
	if a.r.Header.Get("Authorization") != "Bearer "+Token {
		a.json(http.StatusUnauthorized, arm("InvalidAuthenticationToken", "The access token is invalid."))
		return true
	}
	if f, ok := s.faults.take(a.kind); ok {
		a.cut = f.Cut || f.Lost
		a.json(f.Status, arm(f.Code, f.Message))
		return true
	}
	value := s.usage()
	if skus != nil {
		value = s.listedSKUs()
	}
	a.json(http.StatusOK, map[string]any{"value": value})
	return true
}

func (s *Server) listedSKUs() []any {
	value := []any{}
	for _, k := range s.skus {
		hw, _ := s.opt.Sizes(k.Name)
		size := strings.TrimPrefix(k.Name, "Standard_")
		entry := map[string]any{
			"resourceType": "virtualMachines", "name": k.Name, "tier": "Standard", "size": size, "family": hw.Family, "locations": []string{Location},
			"locationInfo": []any{map[string]any{"location": Location, "zones": k.Zones}},
			"capabilities": []any{
				map[string]any{"name": "vCPUs", "value": strconv.Itoa(hw.VCPUs)}, map[string]any{"name": "GPUs", "value": strconv.Itoa(hw.GPUs)},
				map[string]any{"name": "MemoryGB", "value": fmt.Sprint(hw.MemoryGiB)},
			},
		}
		var restrictions []any
		if k.Forbidden {
			restrictions = append(restrictions, map[string]any{
				"type": "Location", "values": []string{Location}, "reasonCode": "NotAvailableForSubscription",
				"restrictionInfo": map[string]any{"locations": []string{Location}},
			})
		}
		if len(k.Restricted) > 0 {
			restrictions = append(restrictions, map[string]any{
				"type": "Zone", "values": []string{Location}, "reasonCode": "NotAvailableForSubscription",
				"restrictionInfo": map[string]any{"locations": []string{Location}, "zones": k.Restricted},
			})
		}
		entry["restrictions"] = restrictions
		value = append(value, entry)
	}
	return value
}
