// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// SizeOf is what the catalogue has of an instance type.
func SizeOf(i sku.Instance) Size {
	s := Size{GPUs: i.GPUs, Family: i.QuotaFamily, MemoryMiB: i.MemoryMiB, VCPUs: i.VCPUs, DiskGiB: i.LocalDiskGiB}
	if i.DiskKind == "nvme" && i.GPUs > 1 {
		s.DiskGiB /= float64(i.GPUs) // a disk a GPU
	}
	for _, profile := range v1alpha1.MIGProfiles {
		p := string(profile)
		if cut, err := i.Slice(p); err == nil {
			if s.Slices == nil {
				s.Slices = map[string]int{}
			}
			s.Slices[p] = cut.GPUs
		}
	}
	return s
}

// Unsuited says why nodes of a candidate cannot be what a spec asks of them; empty:
// they can, as far as is known.
func Unsuited(s *v1alpha1.GPUNodePoolSpec, c v1alpha1.Candidate, size Size) string {
	if mig := s.Slices(); mig != "" && size.GPUs > 0 && size.Slices[profileOf(mig)] == 0 {
		return fmt.Sprintf("the GPUs of %s cannot be cut into slices of %s, or how they would be is not known", c.InstanceType, mig)
	}
	if s.AKS == nil {
		return ""
	}
	if s.AKS.OSDiskType == v1alpha1.DiskEphemeral && size.DiskGiB > 0 && float64(s.OSDiskSizeGiB) > size.DiskGiB {
		return fmt.Sprintf("an ephemeral system disk of %d GiB does not fit the disk of %s, which has %.0f GiB: want a smaller osDiskSizeGiB, or osDiskType %s",
			s.OSDiskSizeGiB, c.InstanceType, size.DiskGiB, v1alpha1.DiskManaged)
	}
	return ""
}

// SlicesOf says how many slices of each size a node offers, so that a change of it is
// seen.
func SlicesOf(n *corev1.Node) string {
	var said []string
	for _, name := range slices.Sorted(maps.Keys(n.Status.Allocatable)) {
		if strings.HasPrefix(string(name), "nvidia.com/mig-") {
			allocatable, capacity := n.Status.Allocatable[name], n.Status.Capacity[name]
			said = append(said, fmt.Sprintf("%s %d of %d", name, allocatable.Value(), capacity.Value()))
		}
	}
	return strings.Join(said, ", ")
}
