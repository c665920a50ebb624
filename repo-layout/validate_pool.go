// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
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
	switch s.Provider {
	case v1alpha1.ProviderAKS, v1alpha1.ProviderExisting:
	default:
		v.refuse(finding.NotOneOf, "spec.provider", "want %s or %s", v1alpha1.ProviderAKS, v1alpha1.ProviderExisting)
	}
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
	v.timeout("spec.timeouts.provision", s.Timeouts.Provision.Duration)
	v.timeout("spec.timeouts.gpuReady", s.Timeouts.GPUReady.Duration)
	switch s.DeletionPolicy {
	case "", v1alpha1.Delete, v1alpha1.Orphan:
	default:
		v.refuse(finding.NotOneOf, "spec.deletionPolicy", "want %s or %s", v1alpha1.Delete, v1alpha1.Orphan)
	}
	return v.problems
}

func (v *validator) timeout(field string, d time.Duration) {
	if d < 0 {
		v.refuse(finding.DurationInvalid, field, "want a duration such as 20m, and not less than nothing")
	}
}
