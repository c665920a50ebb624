// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Marks of our pools. Tags are what ARM shows, and are copied to the machines;
// the label is the same in the profile, where a copied tag does not reach.
const (
	TagOwner        = "espalier-owner-uid"
	TagInstallation = "espalier-installation"
	TagAttempt      = "espalier-attempt"
	TagPool         = "espalier-pool"          // namespace/name, for people
	LabelOwner      = "espalier.dev/owner-uid" // on the nodes
)

// LabelAgentPool is the label of AKS on every node: its agent pool's name.
const LabelAgentPool = "kubernetes.azure.com/agentpool"

// taintGPU keeps pods without a GPU need off the nodes.
const taintGPU = "sku=gpu:NoSchedule"

// desired is the agent pool of a target, as it is ordered.
func desired(t pool.Target) armcontainerservice.AgentPool {
	value := repolayout.PoolLabelValue(t.Namespace, t.Name)
	p := &armcontainerservice.ManagedClusterAgentPoolProfileProperties{
		Mode:         to.Ptr(armcontainerservice.AgentPoolModeUser),
		Type:         to.Ptr(armcontainerservice.AgentPoolTypeVirtualMachineScaleSets),
		OSType:       to.Ptr(armcontainerservice.OSTypeLinux),
		VMSize:       to.Ptr(t.Candidate.InstanceType),
		Count:        to.Ptr(t.Replicas),
		OSDiskSizeGB: to.Ptr(t.OSDiskSizeGiB),
		NodeTaints:   []*string{to.Ptr(taintGPU), to.Ptr(repolayout.LabelPool + "=" + value + ":NoSchedule")},
		NodeLabels:   pointers(labels(t)),
		Tags: pointers(map[string]string{
			TagOwner: t.UID, TagInstallation: t.Installation, TagAttempt: strconv.Itoa(int(t.Attempt)), TagPool: t.Namespace + "/" + t.Name,
		}),
		GpuProfile:      &armcontainerservice.GPUProfile{Driver: to.Ptr(armcontainerservice.GPUDriver(driver(t.AKS)))},
		UpgradeSettings: upgrade(t.AKS),
	}
	p.OSDiskType, p.GpuInstanceProfile, p.CapacityReservationGroupID = own(t.AKS)
	if a := autoscale(t); a != nil {
		p.EnableAutoScaling, p.MinCount, p.MaxCount = to.Ptr(true), to.Ptr(a.Min), to.Ptr(a.Max)
	}
	for _, z := range t.Candidate.Zones {
		p.AvailabilityZones = append(p.AvailabilityZones, to.Ptr(z))
	}
	if t.Candidate.Priority == v1alpha1.Spot {
		p.ScaleSetPriority = to.Ptr(armcontainerservice.ScaleSetPrioritySpot)
		p.ScaleSetEvictionPolicy = to.Ptr(armcontainerservice.ScaleSetEvictionPolicyDelete)
		p.SpotMaxPrice = to.Ptr[float32](-1) // up to the on-demand price
	}
	return armcontainerservice.AgentPool{Properties: p}
}

// upgrade is how nodes are replaced. Where the spec is silent none is surged: a
// surge node of a scarce size often cannot be had and counts against quota.
func upgrade(a *v1alpha1.AKSSpec) *armcontainerservice.AgentPoolUpgradeSettings {
	if a == nil {
		a = &v1alpha1.AKSSpec{}
	}
	set := a.Upgrade.Settings()
	return &armcontainerservice.AgentPoolUpgradeSettings{MaxSurge: to.Ptr(set.MaxSurge), MaxUnavailable: to.Ptr(set.MaxUnavailable)}
}

// driver is who installs the driver: AKS, unless the spec says otherwise.
func driver(a *v1alpha1.AKSSpec) v1alpha1.GPUDriver {
	if a == nil || a.GPUDriver == "" {
		return v1alpha1.DriverInstall
	}
	return a.GPUDriver
}

// own is what the spec says of agent pools; nil where it is silent, and AKS
// decides.
func own(a *v1alpha1.AKSSpec) (disk *armcontainerservice.OSDiskType, mig *armcontainerservice.GPUInstanceProfile, group *string) {
	if a == nil {
		return nil, nil, nil
	}
	if a.OSDiskType != "" {
		disk = to.Ptr(armcontainerservice.OSDiskType(a.OSDiskType))
	}
	if a.MIG != "" {
		mig = to.Ptr(armcontainerservice.GPUInstanceProfile(a.MIG))
	}
	if a.CapacityReservationGroup != "" {
		group = to.Ptr(a.CapacityReservationGroup)
	}
	return disk, mig, group
}

// labels are the node labels of a target: the spec's and ours.
func labels(t pool.Target) map[string]string {
	all := map[string]string{}
	maps.Copy(all, t.NodeLabels)
	all[repolayout.LabelPool] = repolayout.PoolLabelValue(t.Namespace, t.Name)
	all[LabelOwner] = t.UID
	return all
}

// scaled is a pool as it is with another count.
func scaled(found *armcontainerservice.AgentPool, count int32) armcontainerservice.AgentPool {
	p := written(found)
	p.Count = to.Ptr(count)
	return armcontainerservice.AgentPool{Properties: p}
}

// written is a pool as it is, to be written again: what is read-only is left out.
func written(found *armcontainerservice.AgentPool) *armcontainerservice.ManagedClusterAgentPoolProfileProperties {
	p := *properties(found)
	p.ETag, p.ProvisioningState, p.Status, p.NodeImageVersion, p.CurrentOrchestratorVersion = nil, nil, nil, nil, nil
	return &p
}

// foreign says why a pool is not ours; empty: every mark matches.
func foreign(found *armcontainerservice.AgentPool, t pool.Target) string {
	p := properties(found)
	switch {
	case deref(found.Name) != pool.Name(t.Installation, t.UID, t.Attempt):
		return "its name is not computed from this object"
	case tag(p.Tags, TagInstallation) != t.Installation:
		return "its tag " + TagInstallation + " names another installation"
	case tag(p.Tags, TagOwner) != t.UID:
		return "its tag " + TagOwner + " names another object"
	case deref(p.NodeLabels[LabelOwner]) != t.UID:
		return "its node label " + LabelOwner + " names another object"
	case deref(p.Mode) != armcontainerservice.AgentPoolModeUser:
		return "its mode is " + string(deref(p.Mode))
	}
	return ""
}

// leftovers are the pools that carry every mark of the target's object but are
// another attempt.
func leftovers(pools []*armcontainerservice.AgentPool, t pool.Target) []pool.Leftover {
	var out []pool.Leftover
	for _, found := range pools {
		p := properties(found)
		attempt, err := strconv.ParseInt(tag(p.Tags, TagAttempt), 10, 32)
		other := t
		other.Attempt = int32(attempt)
		if err != nil || strings.EqualFold(deref(found.Name), t.PoolName) || foreign(found, other) != "" {
			continue
		}
		out = append(out, pool.Leftover{
			Name: deref(found.Name), Attempt: other.Attempt, State: state(deref(p.ProvisioningState)), NodeSelector: selector(deref(found.Name)),
			Candidate: candidate(p),
		})
	}
	slices.SortFunc(out, func(a, b pool.Leftover) int { return int(a.Attempt - b.Attempt) })
	return out
}

// candidate is what a pool was made from.
func candidate(p *armcontainerservice.ManagedClusterAgentPoolProfileProperties) v1alpha1.Candidate {
	c := v1alpha1.Candidate{InstanceType: deref(p.VMSize), Priority: v1alpha1.OnDemand}
	if deref(p.ScaleSetPriority) == armcontainerservice.ScaleSetPrioritySpot {
		c.Priority = v1alpha1.Spot
	}
	for _, z := range p.AvailabilityZones {
		c.Zones = append(c.Zones, deref(z))
	}
	return c
}

// Marked lists the agent pools that carry a mark of an installation of Espalier,
// whichever it is, by a list that is at most so old.
func (p *Provider) Marked(ctx context.Context, maxAge time.Duration) ([]pool.Marked, error) {
	pools, err := p.list.get(ctx, maxAge)
	if err != nil {
		return nil, fmt.Errorf("listing agent pools: %w", err)
	}
	var out []pool.Marked
	for _, found := range pools {
		props := properties(found)
		m := pool.Marked{
			Name: deref(found.Name), UID: tag(props.Tags, TagOwner), Installation: tag(props.Tags, TagInstallation), Object: tag(props.Tags, TagPool),
			Candidate: candidate(props), Count: deref(props.Count), State: state(deref(props.ProvisioningState)),
		}
		if m.Installation != "" {
			out = append(out, m)
		}
	}
	return out, nil
}

// inFlight names the pools, other than one, that an operation is changing.
func inFlight(pools []*armcontainerservice.AgentPool, except string) []string {
	var busy []string
	for _, found := range pools {
		s := deref(properties(found).ProvisioningState)
		if name := deref(found.Name); name != except && (state(s) == pool.StateRunning || state(s) == pool.StateDeleting) {
			busy = append(busy, fmt.Sprintf("%s is %s", name, s))
		}
	}
	slices.Sort(busy)
	return busy
}

// state reduces a provisioning state. The list of states is open, so what is
// not terminal is an operation under way.
func state(s string) pool.State {
	switch s {
	case "Succeeded":
		return pool.StateSucceeded
	case "Failed", "Canceled":
		return pool.StateFailed
	case "Deleting":
		return pool.StateDeleting
	}
	return pool.StateRunning
}

// drift names what the target wants otherwise and AKS, or we, cannot change on
// a pool that exists.
func drift(p *armcontainerservice.ManagedClusterAgentPoolProfileProperties, t pool.Target) []string {
	var out []string
	if size := deref(p.OSDiskSizeGB); size != t.OSDiskSizeGiB {
		out = append(out, fmt.Sprintf("osDiskSizeGiB %d (is %d)", t.OSDiskSizeGiB, size))
	}
	want := properties(to.Ptr(desired(t)))
	differs := func(field, want, have string) {
		if !strings.EqualFold(want, have) {
			out = append(out, fmt.Sprintf("%s %s (is %s)", field, cmp.Or(want, "none"), cmp.Or(have, "none")))
		}
	}
	if want.OSDiskType != nil { // else AKS has chosen
		differs("aks.osDiskType", string(*want.OSDiskType), string(deref(p.OSDiskType)))
	}
	if p.GpuProfile != nil {
		differs("aks.gpuDriver", string(*want.GpuProfile.Driver), string(deref(p.GpuProfile.Driver)))
	}
	differs("aks.mig", string(deref(want.GpuInstanceProfile)), string(deref(p.GpuInstanceProfile)))
	differs("aks.capacityReservationGroup", deref(want.CapacityReservationGroupID), deref(p.CapacityReservationGroupID))
	for _, taint := range want.NodeTaints {
		if !slices.ContainsFunc(p.NodeTaints, func(has *string) bool { return deref(has) == *taint }) {
			out = append(out, "taint "+*taint+" (is missing)")
		}
	}
	return out
}

func find(pools []*armcontainerservice.AgentPool, name string) *armcontainerservice.AgentPool {
	for _, p := range pools {
		if strings.EqualFold(deref(p.Name), name) {
			return p
		}
	}
	return nil
}

func selector(name string) map[string]string { return map[string]string{LabelAgentPool: name} }

// tag looks a tag up: Azure compares its keys without case.
func tag(tags map[string]*string, key string) string {
	for k, v := range tags {
		if strings.EqualFold(k, key) {
			return deref(v)
		}
	}
	return ""
}

func properties(p *armcontainerservice.AgentPool) *armcontainerservice.ManagedClusterAgentPoolProfileProperties {
	if p.Properties == nil {
		return &armcontainerservice.ManagedClusterAgentPoolProfileProperties{}
	}
	return p.Properties
}

func pointers(m map[string]string) map[string]*string {
	out := make(map[string]*string, len(m))
	for k, v := range m {
		out[k] = &v
	}
	return out
}

func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
