// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

func target(replicas int32) pool.Target {
	return pool.Target{
		Namespace: "models", Name: "phi", UID: "uid-1", Installation: "installation-1", PoolName: pool.Name("installation-1", "uid-1", 1), Attempt: 1,
		Candidate: v1alpha1.Candidate{InstanceType: "Standard_NC4as_T4_v3"}, Replicas: replicas, OSDiskSizeGiB: 256,
	}
}

var (
	yes     = condition{Status: "True", Reason: "Launched"}
	unknown = condition{Type: "Launched", Status: "Unknown", Reason: "AwaitingReconciliation", Message: "object is awaiting reconciliation"}
)

func launching(name string) claim {
	return claim{name: name, held: true, waits: true, launched: unknown, registered: condition{Type: "Registered"}}
}

func running(name string) claim {
	return claim{name: name, held: true, waits: true, launched: yes, registered: yes}
}

func leaving(c claim) claim {
	c.deleted = noon.Add(-time.Minute)
	return c
}

func dead(c claim) claim {
	c = leaving(c)
	c.waits = false
	return c
}

func failing(c claim, reason, message string) claim {
	c.launched = condition{Type: "Launched", Status: "Unknown", Reason: reason, Message: message}
	return c
}

func home(ready condition, claims ...claim) things {
	return things{claims: claims, pools: []nodePoolSeen{{name: "g", ready: ready}}}
}

func TestJudge(t *testing.T) {
	type seen struct {
		State  pool.State
		Count  int32
		Short  bool
		Class  pool.Class
		Detail string
	}
	for name, c := range map[string]struct {
		reason string
		in     things
		event  string // of every NodeClaim that was given up
		want   seen
	}{
		"NotLookedAt": {
			reason: "Where Karpenter does not run, nobody ever would say so.",
			in:     home(condition{Type: "Ready"}),
			want:   seen{State: pool.StateRunning, Detail: "Karpenter has not looked at NodePool g yet"},
		},
		"ClassNotReady": {
			reason: "No NodeClaim is ordered of a class that Karpenter would refuse.",
			in:     home(condition{Type: "Ready", Status: "False", Reason: "NodeClassNotReady", Message: "AKSNodeClass is not ready"}),
			want:   seen{State: pool.StateRunning, Detail: "NodePool g is not Ready: NodeClassNotReady: AKSNodeClass is not ready"},
		},
		"Home": {
			reason: "The NodePool is there: two nodes can be ordered.",
			in:     home(yes),
			want:   seen{State: pool.StateSucceeded, Short: true},
		},
		"OneOfTwo": {
			reason: "The second is ordered while the first is on its way.",
			in:     home(yes, launching("g-0")),
			want:   seen{State: pool.StateRunning, Count: 1, Short: true, Detail: "NodeClaim g-0 is not Launched yet"},
		},
		"Launching": {
			reason: "What a cloud says of a try that it may repeat is told, and gives nothing up.",
			in:     home(yes, running("g-0"), failing(launching("g-1"), "LaunchFailed", "dial tcp: connection refused")),
			want:   seen{State: pool.StateRunning, Count: 2, Detail: "NodeClaim g-1 is not Launched yet: LaunchFailed: dial tcp: connection refused"},
		},
		"Joining": {
			reason: "A machine that runs is a node to come: nothing more is ordered.",
			in:     home(yes, running("g-0"), claim{name: "g-1", launched: yes, registered: condition{Type: "Registered", Status: "Unknown", Reason: "NodeNotFound", Message: "Node not registered with cluster"}}),
			want:   seen{State: pool.StateSucceeded, Count: 2, Detail: "NodeClaim g-1 is not Registered yet: NodeNotFound: Node not registered with cluster"},
		},
		"QuotaWhileLaunching": {
			reason: "gpu-provisioner tries for ever; quota does not come by trying.",
			in:     home(yes, running("g-0"), failing(launching("g-1"), "LaunchFailed", "OperationNotAllowed: exceeding approved Family Cores quota")),
			want:   seen{State: pool.StateFailed, Count: 2, Class: pool.ClassFamilyQuota, Detail: "NodeClaim g-1 is not Launched yet: LaunchFailed: OperationNotAllowed: exceeding approved Family Cores quota"},
		},
		"Capacity": {
			reason: "Karpenter deletes the NodeClaim and leaves an Event: the finalizer keeps it to be read.",
			in:     home(yes, running("g-0"), dead(launching("g-1"))),
			event:  "InsufficientCapacityError: NodeClaim g-1 event: all requested instance types were unavailable during launch",
			want:   seen{State: pool.StateFailed, Count: 1, Class: pool.ClassCapacity},
		},
		"LaunchTimeout": {
			reason: "Karpenter gives up after five minutes; the condition says what it could not do.",
			in:     home(yes, dead(failing(launching("g-0"), "LaunchFailed", "UnauthorizedOperation: You are not authorized"))),
			want:   seen{State: pool.StateFailed, Class: pool.ClassAuth},
		},
		"NoEvent": {
			reason: "An Event can be lost. It is a failure all the same.",
			in:     home(yes, dead(launching("g-0"))),
			want:   seen{State: pool.StateFailed, Class: pool.ClassFailed},
		},
		"NeverJoined": {
			reason: "The machine ran, and its kubelet never reached the API server.",
			in:     home(yes, dead(claim{name: "g-0", launched: yes, registered: condition{Type: "Registered", Status: "Unknown"}})),
			want:   seen{State: pool.StateFailed, Class: pool.ClassProvisionTimeout},
		},
		"Evicted": {
			reason: "A node that was there is replaced, and is no failure of the candidate.",
			in:     home(yes, running("g-0"), dead(running("g-1"))),
			want:   seen{State: pool.StateRunning, Count: 1, Short: true},
		},
		"Draining": {
			reason: "Its name is taken until it is gone.",
			in:     home(yes, running("g-0"), leaving(running("g-1"))),
			want:   seen{State: pool.StateRunning, Count: 1, Detail: "NodeClaim g-1 is being terminated"},
		},
		"AllLeaving": {
			reason: "Nothing of the attempt stays.",
			in:     home(yes, leaving(running("g-0")), leaving(running("g-1"))),
			want:   seen{State: pool.StateDeleting, Detail: "NodeClaim g-0 is being terminated"},
		},
		"Whole": {
			reason: "All that is wanted is there.",
			in:     home(yes, running("g-0"), running("g-1")),
			want:   seen{State: pool.StateSucceeded, Count: 2},
		},
		"WithoutNodePool": {
			reason: "gpu-provisioner knows none.",
			in:     things{claims: []claim{running("gaaaaaaaaaa"), launching("gbbbbbbbbbb")}},
			want:   seen{State: pool.StateRunning, Count: 2, Detail: "NodeClaim gbbbbbbbbbb is not Launched yet"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			events := map[string]string{"": c.event}
			var o pool.Observation
			c.in.judge(&o, target(2), events, noon)
			got := seen{State: o.State, Count: o.Count, Short: o.Short, Detail: o.Detail}
			if o.Failure != nil {
				got.Class = o.Failure.Class
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestRetry: on nodes that were Ready once, a node that could not be had is
// ordered again, after a pause.
func TestRetry(t *testing.T) {
	old := dead(launching("g-1"))
	old.deleted = noon.Add(-retryPause)
	var o pool.Observation
	home(yes, running("g-0"), old).judge(&o, target(2), map[string]string{"": "InsufficientCapacityError: none"}, noon)
	if !o.Short || o.State != pool.StateFailed {
		t.Errorf("after the pause it is ordered again, and the failure still told: %+v", o)
	}
}

// TestClassify: texts as clouds and Karpenter write them.
func TestClassify(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want pool.Class
	}{
		"EC2Capacity":     {"InsufficientCapacityError: NodeClaim g-0 event: creating instance, insufficient capacity, with fleet error(s), InsufficientInstanceCapacity: We currently do not have sufficient p4d.24xlarge capacity in the Availability Zone you requested (us-east-1a).", pool.ClassCapacity},
		"EC2Fleet":        {"InsufficientCapacityError: with fleet error(s), UnfulfillableCapacity: Unable to fulfill capacity due to your request configuration.", pool.ClassCapacity},
		"EC2Quota":        {"InsufficientCapacityError: with fleet error(s), VcpuLimitExceeded: You have requested more vCPU capacity than your current vCPU limit of 0 allows for the instance bucket", pool.ClassFamilyQuota},
		"EC2Spot":         {"with fleet error(s), MaxSpotInstanceCountExceeded: Max spot instance count exceeded", pool.ClassSpotQuota},
		"EC2Subnet":       {"with fleet error(s), InsufficientFreeAddressesInSubnet: There are not enough free addresses in subnet", pool.ClassSubnet},
		"EC2Rights":       {"LaunchFailed: with fleet error(s), UnauthorizedOperation: You are not authorized to perform this operation.", pool.ClassAuth},
		"EC2Rate":         {"LaunchFailed: RequestLimitExceeded: Request limit exceeded.", pool.ClassThrottled},
		"AzureFamily":     {"InsufficientCapacityError: Operation could not be completed as it results in exceeding approved standardNCADSA100v4Family Family Cores quota.", pool.ClassFamilyQuota},
		"AzureRegion":     {"Operation could not be completed as it results in exceeding approved Total Regional Cores quota.", pool.ClassRegionQuota},
		"AzureSpot":       {"results in exceeding approved LowPriorityCores quota", pool.ClassSpotQuota},
		"AzureZone":       {"ZonalAllocationFailed: We do not have sufficient capacity for the requested VM size in this zone.", pool.ClassZonalCapacity},
		"AzureCapacity":   {"AllocationFailed: Allocation failed.", pool.ClassCapacity},
		"AzureOffer":      {"SkuNotAvailable: The requested VM size is not available in location eastus", pool.ClassSKU},
		"AzureAllowed":    {"VMSizeNotSupported: not in this subscription", pool.ClassSKUSubscription},
		"AgentPoolBusy":   {"LaunchFailed: OperationNotAllowed: Another operation (Creating) is in progress", pool.ClassBusy},
		"Unavailable":     {"InsufficientCapacityError: all requested instance types were unavailable during launch", pool.ClassCapacity},
		"NoInstanceType":  {"LaunchFailed: translating nodeclaim to node, instance type not found (instance-type=Standard_X)", pool.ClassCandidate},
		"NodeClass":       {"NodeClassNotReady: NodeClaim g-0 event: AKSNodeClass not ready", pool.ClassPrerequisite},
		"SomethingElse":   {"LaunchFailed: the moon is full", pool.ClassUnknown},
		"CapacityInQuota": {"SubscriptionQuotaReached: quota, not InsufficientCapacity", pool.ClassFamilyQuota},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Classify(c.text); got.Class != c.want || got.Text == "" {
				t.Errorf("%q is %+v, want %s", c.text, got, c.want)
			}
		})
	}
}

// TestLine: what changes with each try would write the status each time.
func TestLine(t *testing.T) {
	got := line("api error X: no\n  rights, RequestID: 0d2c1b6e-5f7a-4c53-9d4a-1f2e3d4c5b6a, on  it")
	if got != "api error X: no rights, on it" {
		t.Errorf("got %q", got)
	}
	if long := line(strings.Repeat("ü", 1000)); len(long) > pool.MaxText+2 || !strings.HasSuffix(long, "…") {
		t.Errorf("%d bytes", len(long))
	}
}
