// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// sliceProfile is a MIG profile: with its memory, as the device plugin of mixed nodes
// calls it, or as AKS does.
var sliceProfile = regexp.MustCompile(`^(MIG[1-7]g|[1-7]g\.[1-9][0-9]{0,2}gb)$`)

func (v *validator) slice(field, profile string) {
	if profile != "" && !v.placeholder(field, profile) && !sliceProfile.MatchString(profile) {
		v.refuse(finding.NotOneOf, field, "want a MIG profile: 2g.24gb where the nodes offer nvidia.com/mig-2g.24gb, or MIG2g where every slice is an nvidia.com/gpu")
	}
}

// share judges which part of a machine a task asks for.
func (v *validator) share(s v1alpha1.WorkspaceSpec) {
	r := s.Resource
	for _, f := range []struct {
		name string
		set  bool
	}{{"gpus", r.GPUs != 0}, {"mig", r.MIG != ""}} {
		field := "spec.resource." + f.name
		switch {
		case !f.set:
		case s.Tuning != nil:
			v.refuse(finding.PartitionGPU, field, "is of a served model: a tuning run takes whole nodes; remove it")
		case s.Inference != nil && s.Inference.Template != nil:
			v.refuse(finding.PartitionGPU, field, "is of a model that Espalier runs: a pod of your own says in its resources what it takes")
		}
	}
	switch {
	case r.MIG == "":
	case r.GPUs != 0:
		v.refuse(finding.PartitionGPU, "spec.resource.mig", "no two slices work on one model: remove gpus, or mig")
	case r.Provider != v1alpha1.ProviderExisting:
		v.refuse(finding.ProviderMismatch, "spec.resource.mig", "is for nodes that exist, with provider existing: slices of nodes that are bought belong to a GPUNodePool with spec.aks.mig, which spec.resource.nodePool names")
	}
}

// existing judges what of nodes that exist is used.
func (v *validator) existing(s v1alpha1.GPUNodePoolSpec) {
	e := s.Existing
	if e == nil {
		return
	}
	if s.Provider != v1alpha1.ProviderExisting {
		v.refuse(finding.ProviderMismatch, "spec.existing", "only provider existing reads it: remove it, or change the provider")
	}
	v.slice("spec.existing.mig", e.MIG)
	v.between("spec.existing.gpus", int(e.GPUs), 0, maxCount, "leave it out for as many as the candidate has")
}
