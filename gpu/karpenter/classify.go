// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"regexp"
	"strings"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// words are what clouds say through Karpenter when a machine cannot be had, in
// the order in which they are looked for: Karpenter calls everything that it
// cannot launch InsufficientCapacityError, and what the cloud said stands behind.
// From the error codes of EC2's RunInstances and CreateFleet, of Azure's compute
// and container services, and the texts of Karpenter's core and providers.
var words = []struct {
	class pool.Class
	any   []string
}{
	{pool.ClassSpotQuota, []string{"MaxSpotInstanceCountExceeded", "LowPriorityCores", "low priority quota"}},
	{pool.ClassFamilyQuota, []string{"VcpuLimitExceeded", "Family Cores quota", "SubscriptionQuotaReached", "QuotaExceeded", "InsufficientVCPUQuota", "InstanceLimitExceeded", "SKU family quota"}},
	{pool.ClassRegionQuota, []string{"Total Regional Cores", "regional quota"}},
	{pool.ClassSubnet, []string{"InsufficientFreeAddressesInSubnet", "SubnetIsFull", "InsufficientSubnetSize"}},
	{pool.ClassAuth, []string{"UnauthorizedOperation", "AccessDenied", "AuthorizationFailed", "LinkedAuthorizationFailed", "AuthFailure", "RequestDisallowedByPolicy", "not authorized"}},
	{pool.ClassThrottled, []string{"RequestLimitExceeded", "Throttling", "TooManyRequests", "Throttled"}},
	{pool.ClassBusy, []string{"in progress", "AKSOperationPreempted"}},
	{pool.ClassSKUSubscription, []string{"VMSizeNotSupported", "is not supported for subscription"}},
	{pool.ClassSKU, []string{"SkuNotAvailable", "SKUNotAvailable", "Unsupported: Your requested instance type"}},
	{pool.ClassZonalCapacity, []string{"ZonalAllocationFailed", "OverconstrainedZonalAllocationRequest"}},
	{pool.ClassPrerequisite, []string{"NodeClassNotReady", "resolving node class", "resolving nodeclass", "nodeclass not found"}},
	{pool.ClassCandidate, []string{"no instance type", "instance type not found", "unable to find instance type", "incompatible requirements"}},
	{pool.ClassCapacity, []string{"InsufficientInstanceCapacity", "InsufficientHostCapacity", "InsufficientReservedInstanceCapacity", "UnfulfillableCapacity", "AllocationFailed", "OverconstrainedAllocationRequest", "InsufficientCapacity", "NoCompatibleInstanceTypes", "insufficient capacity", "instance types were unavailable"}},
}

// Classify understands what is said of a NodeClaim that was not launched.
func Classify(text string) *pool.Failure {
	f := &pool.Failure{Class: pool.ClassUnknown, Text: line(text)}
	if code, _, found := strings.Cut(f.Text, ": "); found && !strings.Contains(code, " ") {
		f.Code = code
	}
	for _, w := range words {
		for _, word := range w.any {
			if strings.Contains(text, word) {
				f.Class = w.class
				return f
			}
		}
	}
	return f
}

// noise is what differs from one try to the next and helps nobody who reads a
// condition.
var noise = regexp.MustCompile(`(?i)(,? *(request ?id|correlation ?id|trace ?id|activity ?id)[:= ]+"?[0-9a-f-]{8,}"?|,? *timestamp[:= ]+\S+)`)

// line is a text in one line, without what changes at every try, cut to what a
// condition takes.
func line(text string) string {
	text = strings.Join(strings.Fields(noise.ReplaceAllString(text, "")), " ")
	if len(text) > pool.MaxText {
		text = strings.ToValidUTF8(text[:pool.MaxText-1], "") + "…"
	}
	return text
}
