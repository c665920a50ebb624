// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "strings"

// ExistingSpec says what of nodes that exist is used, where that is not all of them.
type ExistingSpec struct {
	// MIG is the slice that their GPUs are cut into, by whoever runs them: 2g.24gb where
	// they offer nvidia.com/mig-2g.24gb, beside slices of other sizes perhaps (strategy
	// mixed), MIG2g where every slice is an nvidia.com/gpu (strategy single).
	// +kubebuilder:validation:Pattern=`^(MIG[1-7]g|[1-7]g\.[1-9][0-9]{0,2}gb)$`
	MIG string `json:"mig,omitempty"`
	// GPUs is how many GPUs, or slices, a node must have left to be usable. 0 or
	// absent: as many as the candidate has, and of slices of a mixed node one.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	GPUs int32 `json:"gpus,omitempty"`
}

// ResourceGPU is what NVIDIA's device plugin calls a GPU.
const ResourceGPU = "nvidia.com/gpu"

// SliceResource is what the device plugin calls a slice of a profile: of one with its
// memory, 2g.24gb, a resource of its own; else a GPU.
func SliceResource(profile string) string {
	if strings.Contains(profile, ".") {
		return "nvidia.com/mig-" + profile
	}
	return ResourceGPU
}

// Slices is the MIG profile that the GPUs of a pool are cut into; empty: they are
// whole.
func (s *GPUNodePoolSpec) Slices() string {
	switch {
	case s.AKS != nil && s.AKS.MIG != "":
		return string(s.AKS.MIG)
	case s.Existing != nil:
		return s.Existing.MIG
	}
	return ""
}

// GPUResource is the extended resource that pods on the nodes of a pool ask for.
func (s *GPUNodePoolSpec) GPUResource() string {
	if s.Existing == nil {
		return ResourceGPU
	}
	return SliceResource(s.Existing.MIG)
}

// Mixed says that the nodes may offer slices of several sizes: how many of one is not
// known from what the machine is.
func (s *GPUNodePoolSpec) Mixed() bool { return s.GPUResource() != ResourceGPU }

// GPUsLeft is how many GPUs a node that exists must have left; 0: as many as the
// candidate has.
func (s *GPUNodePoolSpec) GPUsLeft() int32 {
	switch {
	case s.Existing != nil && s.Existing.GPUs > 0:
		return s.Existing.GPUs
	case s.Mixed():
		return 1
	}
	return 0
}
