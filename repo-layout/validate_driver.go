// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func (v *validator) driver(field, version string) {
	if version != "" && !v.placeholder(field, version) && !v1alpha1.IsDriver(version) {
		v.refuse(finding.NotOneOf, field, "want the oldest NVIDIA driver of the nodes in quotes, as a branch such as \"580\" or a version such as \"580.95.05\"; nvidia-smi prints it on a node")
	}
}

// driverOf sees that nobody says of a cloud's nodes which driver they have.
func (v *validator) driverOf(field string, r v1alpha1.ResourceSpec) {
	v.driver(field, r.Driver)
	switch {
	case r.Driver == "":
	case r.NodePool != "":
		v.refuse(finding.ProviderMismatch, field, "is of nodes of the Workspace's own, and GPUNodePool %s says which driver its nodes have: write it there as spec.driver, and remove it here", r.NodePool)
	case r.Provider == v1alpha1.ProviderAKS:
		v.refuse(finding.ProviderMismatch, field, "AKS installs the driver of the nodes that it makes: remove it; where the NVIDIA GPU operator does, a GPUNodePool with aks.gpuDriver None says it")
	case r.Provider == v1alpha1.ProviderKarpenter:
		v.refuse(finding.ProviderMismatch, field, "the image that Karpenter starts the nodes from has their driver: remove it")
	}
}

// poolDriver is driverOf for a GPUNodePool.
func (v *validator) poolDriver(s v1alpha1.GPUNodePoolSpec) {
	const field = "spec.driver"
	v.driver(field, s.Driver)
	switch {
	case s.Driver == "":
	case s.Provider == v1alpha1.ProviderAKS && !s.OwnDriver():
		v.refuse(finding.ProviderMismatch, field, "AKS installs the driver of the nodes that it makes: remove it, or set aks.gpuDriver None where the NVIDIA GPU operator does")
	case s.Provider == v1alpha1.ProviderKarpenter:
		v.refuse(finding.ProviderMismatch, field, "the image that Karpenter starts the nodes from has their driver: remove it")
	}
}
