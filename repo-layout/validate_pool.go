// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"slices"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ValidatePool is ValidateWorkspace for a GPUNodePool.
func ValidatePool(p *v1alpha1.GPUNodePool, pos Position) []v1alpha1.Finding {
	return place(poolProblems(p), pos, object(v1alpha1.GPUNodePoolKind, p.Namespace, p.Name))
}

func poolProblems(p *v1alpha1.GPUNodePool) []finding.Problem {
	v := validator{}
	v.metadata(p.Name, p.Namespace, p.Labels)
	s := p.Spec
	v.provider("spec.provider", s.Provider, true)
	v.karpenter(s)
	if s.Provider == v1alpha1.ProviderExisting && len(s.NodeLabels) == 0 {
		v.refuse(finding.MissingField, "spec.nodeLabels", "provider existing selects nodes by nodeLabels: name at least one")
	}
	if len(s.Candidates) == 0 {
		v.refuse(finding.ResourceMissing, "spec.candidates", "name at least one instance type")
	}
	v.candidates("spec.candidates", s.Candidates)
	if s.Replicas != nil {
		v.between("spec.replicas", int(*s.Replicas), 0, maxCount, "0 keeps no node")
	}
	if s.OSDiskSizeGiB != 0 {
		v.between("spec.osDiskSizeGiB", int(s.OSDiskSizeGiB), minOSDiskGiB, maxOSDiskGiB, "leave it out for 256")
	}
	v.labels("spec.nodeLabels", s.NodeLabels)
	v.nodeLabels("spec.nodeLabels", s.NodeLabels)
	v.idle(s)
	v.aks(s)
	v.existing(s)
	v.poolDriver(s)
	v.timeout("spec.timeouts.provision", s.Timeouts.Provision.Duration)
	v.timeout("spec.timeouts.gpuReady", s.Timeouts.GPUReady.Duration)
	switch s.DeletionPolicy {
	case "", v1alpha1.Delete, v1alpha1.Orphan:
	default:
		v.refuse(finding.NotOneOf, "spec.deletionPolicy", "want %s or %s", v1alpha1.Delete, v1alpha1.Orphan)
		meant(&v, s.DeletionPolicy, v1alpha1.Delete, v1alpha1.Orphan)
	}
	return v.problems
}

func (v *validator) provider(field string, p v1alpha1.Provider, required bool) {
	switch p {
	case v1alpha1.ProviderAKS, v1alpha1.ProviderKarpenter, v1alpha1.ProviderExisting:
		return
	case "":
		if !required {
			return
		}
	}
	v.refuse(finding.NotOneOf, field, "want %s", v1alpha1.Providers)
	meant(v, p, v1alpha1.ProviderAKS, v1alpha1.ProviderKarpenter, v1alpha1.ProviderExisting)
}

var (
	reservationGroup = regexp.MustCompile(`^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute/capacityReservationGroups/[^/]+$`)
	upgradeShare     = regexp.MustCompile(`^(0|[1-9][0-9]{0,2})%?$`)
)

// maxReservationGroup is the length of a resource id that is taken.
const maxReservationGroup = 400

// aks judges what only agent pools have.
func (v *validator) aks(s v1alpha1.GPUNodePoolSpec) {
	a := s.AKS
	if a == nil {
		return
	}
	if s.Provider != v1alpha1.ProviderAKS {
		v.refuse(finding.ProviderMismatch, "spec.aks", "only provider aks reads it: remove it, or change the provider")
	}
	if a.OSDiskType != "" && a.OSDiskType != v1alpha1.DiskEphemeral && a.OSDiskType != v1alpha1.DiskManaged {
		v.refuse(finding.NotOneOf, "spec.aks.osDiskType", "want %s or %s", v1alpha1.DiskEphemeral, v1alpha1.DiskManaged)
		meant(v, a.OSDiskType, v1alpha1.DiskEphemeral, v1alpha1.DiskManaged)
	}
	switch a.GPUDriver {
	case "", v1alpha1.DriverInstall:
	case v1alpha1.DriverNone:
		v.warn(finding.ProviderMismatch, "spec.aks.gpuDriver", "AKS installs no driver: the NVIDIA GPU operator must, or the nodes offer no GPU and are given up after timeouts.gpuReady")
	default:
		v.refuse(finding.NotOneOf, "spec.aks.gpuDriver", "want %s or %s", v1alpha1.DriverInstall, v1alpha1.DriverNone)
		meant(v, a.GPUDriver, v1alpha1.DriverInstall, v1alpha1.DriverNone)
	}
	if a.MIG != "" && !slices.Contains(v1alpha1.MIGProfiles, a.MIG) {
		v.refuse(finding.NotOneOf, "spec.aks.mig", "want one of %v", v1alpha1.MIGProfiles)
		meant(v, a.MIG, v1alpha1.MIGProfiles...)
	}
	v.reservation(s)
	v.autoscaled(s)
	v.upgrade(a.Upgrade)
}

// autoscaled judges a pool whose nodes the cluster autoscaler of AKS counts.
func (v *validator) autoscaled(s v1alpha1.GPUNodePoolSpec) {
	a := s.AKS.Autoscale
	if a == nil {
		return
	}
	const path = "spec.aks.autoscale"
	v.between(path+".min", int(a.Min), 0, maxCount, "0 keeps no node that no pod needs")
	v.between(path+".max", int(a.Max), 1, maxCount, "it is the most nodes that are paid for")
	if a.Min > a.Max {
		v.refuse(finding.OutOfRange, path, "min is more than max")
	}
	if s.Replicas != nil && *s.Replicas != defaultReplicas {
		v.refuse(finding.ProviderMismatch, "spec.replicas", "aks.autoscale decides the number of nodes: remove replicas, or aks.autoscale")
	}
	if s.Idle != nil {
		v.refuse(finding.ProviderMismatch, "spec.idle", "the autoscaler takes nodes away that no pod needs: remove idle, or aks.autoscale")
	}
}

func (v *validator) reservation(s v1alpha1.GPUNodePoolSpec) {
	group := s.AKS.CapacityReservationGroup
	if group == "" {
		return
	}
	if len(group) > maxReservationGroup || !reservationGroup.MatchString(group) {
		v.refuse(finding.ReferenceInvalid, "spec.aks.capacityReservationGroup", "want a resource id, /subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/capacityReservationGroups/NAME")
	}
	for i, c := range s.Candidates {
		if c.Priority == v1alpha1.Spot {
			v.refuse(finding.ProviderMismatch, finding.Index("spec.candidates", i)+".priority", "a capacity reservation holds no spot machines: want %s, or remove aks.capacityReservationGroup", v1alpha1.OnDemand)
		}
	}
}

func (v *validator) upgrade(u *v1alpha1.AKSUpgrade) {
	if u == nil {
		return
	}
	set := u.Settings()
	unavailable := set.MaxUnavailable != "0" && set.MaxUnavailable != "0%"
	for _, f := range []struct{ name, share string }{{"maxSurge", set.MaxSurge}, {"maxUnavailable", set.MaxUnavailable}} {
		if !upgradeShare.MatchString(f.share) {
			v.refuse(finding.OutOfRange, "spec.aks.upgrade."+f.name, "want a number of nodes such as 1, or a share such as 33%%")
		}
	}
	switch {
	case !set.Surges() && !unavailable:
		v.refuse(finding.OutOfRange, "spec.aks.upgrade", "with neither maxSurge nor maxUnavailable no node could be upgraded: leave it out for maxUnavailable 1")
	case set.Surges() && unavailable:
		v.refuse(finding.OutOfRange, "spec.aks.upgrade", "AKS takes only one of maxSurge and maxUnavailable: leave the other out")
	}
}

// leastIdle is how long nobody must have used nodes before they go: shorter, and
// they would go between two runs.
const leastIdle = time.Minute

// idle judges when the nodes of a pool are let go.
func (v *validator) idle(s v1alpha1.GPUNodePoolSpec) {
	if s.Idle == nil {
		return
	}
	if s.Provider == v1alpha1.ProviderExisting {
		v.refuse(finding.ProviderMismatch, "spec.idle", "does not belong to provider existing: nodes that exist are never given back; remove it")
	}
	if s.Idle.After.Duration < leastIdle {
		v.refuse(finding.DurationInvalid, "spec.idle.after", "want a duration of at least 1m, such as 30m")
	}
	switch s.Idle.Action {
	case "", v1alpha1.IdleScaleToZero, v1alpha1.IdleDelete:
	default:
		v.refuse(finding.NotOneOf, "spec.idle.action", "want %s or %s", v1alpha1.IdleScaleToZero, v1alpha1.IdleDelete)
		meant(v, s.Idle.Action, v1alpha1.IdleScaleToZero, v1alpha1.IdleDelete)
	}
}

func (v *validator) timeout(field string, d time.Duration) {
	if d < 0 {
		v.refuse(finding.DurationInvalid, field, "want a duration such as 20m, and not less than nothing")
	}
}

// groupKAITO is the group of gpu-provisioner's node class.
const groupKAITO = "kaito.sh"

// nodeClassKinds are the kinds of node classes that are known, by group. Another
// group is whatever its provider says.
var nodeClassKinds = map[string]string{
	"karpenter.azure.com": "AKSNodeClass",
	"karpenter.k8s.aws":   "EC2NodeClass",
	groupKAITO:            "KaitoNodeClass",
	"karpenter.kwok.sh":   "KWOKNodeClass",
}

// karpenter judges what only provider karpenter reads.
func (v *validator) karpenter(s v1alpha1.GPUNodePoolSpec) {
	if s.Karpenter == nil {
		return
	}
	if s.Provider != v1alpha1.ProviderKarpenter {
		v.refuse(finding.ProviderMismatch, "spec.karpenter", "only provider karpenter reads it: remove it, or change the provider")
	}
	if ref := s.Karpenter.NodeClassRef; ref != nil {
		v.nodeClass("spec.karpenter.nodeClassRef", *ref)
		v.classCandidates(*ref, s)
	}
	v.karpenterMode(s)
}

// karpenterMode judges who orders the nodes, and how many.
func (v *validator) karpenterMode(s v1alpha1.GPUNodePoolSpec) {
	k := s.Karpenter
	switch k.Mode {
	case v1alpha1.KarpenterNodePools:
	case "", v1alpha1.KarpenterNodeClaims:
		if k.MaxNodes != 0 {
			v.refuse(finding.ProviderMismatch, "spec.karpenter.maxNodes", "only mode %s reads it: remove it and set spec.replicas, or set the mode", v1alpha1.KarpenterNodePools)
		}
		if k.ConsolidateAfter != nil {
			v.refuse(finding.ProviderMismatch, "spec.karpenter.consolidateAfter", "only mode %s reads it: remove it, or set the mode", v1alpha1.KarpenterNodePools)
		}
		return
	default:
		v.refuse(finding.NotOneOf, "spec.karpenter.mode", "want %s or %s", v1alpha1.KarpenterNodeClaims, v1alpha1.KarpenterNodePools)
		meant(v, k.Mode, v1alpha1.KarpenterNodeClaims, v1alpha1.KarpenterNodePools)
		return
	}
	v.filled(s)
}

// filled judges a pool whose nodes Karpenter counts.
func (v *validator) filled(s v1alpha1.GPUNodePoolSpec) {
	k := s.Karpenter
	v.between("spec.karpenter.maxNodes", int(k.MaxNodes), 1, maxCount, "it is the most nodes that are paid for")
	if s.Replicas != nil && *s.Replicas != defaultReplicas {
		v.refuse(finding.ProviderMismatch, "spec.replicas", "Karpenter decides the number of nodes: remove replicas, karpenter.maxNodes bounds it")
	}
	if k.NodeClassRef != nil && k.NodeClassRef.Group == groupKAITO {
		v.refuse(finding.ProviderMismatch, "spec.karpenter.mode", "gpu-provisioner, whose node class this is, knows no NodePools: remove the mode, or name a node class of Karpenter")
	}
	if k.ConsolidateAfter != nil && (k.ConsolidateAfter.Duration < 0 || k.ConsolidateAfter.Duration%time.Second != 0) {
		v.refuse(finding.DurationInvalid, "spec.karpenter.consolidateAfter", "want a duration of whole seconds such as 10m")
	}
}

func (v *validator) nodeClass(path string, ref v1alpha1.NodeClassReference) {
	for _, part := range []struct{ field, value string }{{"group", ref.Group}, {"kind", ref.Kind}, {"name", ref.Name}} {
		if part.value == "" {
			v.refuse(finding.MissingField, path+"."+part.field, "a node class has a group, a kind and a name")
		}
	}
	if kind, known := nodeClassKinds[ref.Group]; known && ref.Kind != "" && ref.Kind != kind {
		v.refuse(finding.NotOneOf, path+".kind", "the node class of %s is %s", ref.Group, kind)
	}
}

// classCandidates says what the nodes of a class cannot be.
func (v *validator) classCandidates(ref v1alpha1.NodeClassReference, s v1alpha1.GPUNodePoolSpec) {
	if ref.Group != groupKAITO {
		if s.OSDiskSizeGiB != 0 && s.OSDiskSizeGiB != defaultOSDiskGiB {
			v.warn(finding.ProviderMismatch, "spec.osDiskSizeGiB", "the node class has the size of the disk: this one is not read")
		}
		return
	}
	for i, c := range s.Candidates {
		at := finding.Index("spec.candidates", i)
		if c.Priority == v1alpha1.Spot {
			v.refuse(finding.ProviderMismatch, at+".priority", "gpu-provisioner, whose node class this is, makes no spot nodes: want %s", v1alpha1.OnDemand)
		}
		if len(c.Zones) > 0 {
			v.refuse(finding.ProviderMismatch, at+".zones", "gpu-provisioner, whose node class this is, puts no nodes into named zones: remove them")
		}
	}
}
