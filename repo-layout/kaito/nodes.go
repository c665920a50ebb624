// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// nodes are of an instance type, or exist: KAITO takes a document without one where it
// makes no nodes. What those are like, the RepoSync says for all of them.
func (c *converter) nodes(instanceType string, hasDefault bool) {
	r := &c.out.Spec.Resource
	switch {
	case instanceType != "":
		r.InstanceType = instanceType
	case hasDefault:
		r.InstanceType = DefaultInstanceType
	default:
		r.Provider = v1alpha1.ProviderExisting
	}
}

// selected sees that nodes that exist are chosen by something.
func (c *converter) selected(instanceType string) {
	r := &c.out.Spec.Resource
	if r.Provider == v1alpha1.ProviderExisting && r.LabelSelector == nil {
		c.refuse(finding.ResourceMissing, instanceType, "name the instance type to provision; where the nodes exist, select them by the matchLabels of labelSelector")
	}
}

// Modes of a partition.
const (
	modeMIG         = "mig"         // a slice of a GPU
	modeAccelerator = "accelerator" // some of the whole GPUs of a node
)

// partition becomes the slice, or the number of GPUs, that each copy takes of nodes that
// exist. What KAITO's admission refuses is refused.
func (c *converter) partition(p Partition, field, instanceType string, tunes bool) {
	switch {
	case tunes:
		c.refuse(finding.PartitionGPU, field, "is of a served model, and KAITO refuses it in a tuning as well: remove it")
		return
	case instanceType != "":
		c.refuse(finding.PartitionGPU, field, "is of nodes that exist, and KAITO refuses it beside instanceType: remove instanceType where they exist; slices of nodes that are bought belong to a GPUNodePool "+
			"with spec.aks.mig, which spec.resource.nodePool of an espalier.dev/v1alpha1 Workspace names")
		return
	}
	switch p.Mode {
	case modeMIG:
		c.slice(p, field)
	case modeAccelerator:
		c.some(p, field)
	default:
		c.refuse(finding.NotOneOf, field+".mode", "want %s or %s", modeMIG, modeAccelerator)
	}
}

// slice of a GPU.
func (c *converter) slice(p Partition, field string) {
	switch {
	case p.Count != nil:
		c.refuse(finding.PartitionGPU, field+".count", "is of mode %s, and KAITO refuses it beside mode %s: a copy has one slice", modeAccelerator, modeMIG)
	case p.Profile == "":
		c.refuse(finding.PartitionGPU, field+".profile", "name the profile of the slice, such as 2g.24gb, as KAITO asks for")
	default:
		c.out.Spec.Resource.MIG = p.Profile
	}
}

// some of the GPUs of a node.
func (c *converter) some(p Partition, field string) {
	if p.Profile != "" {
		c.refuse(finding.PartitionGPU, field+".profile", "is of mode %s, and KAITO refuses it beside mode %s", modeMIG, modeAccelerator)
		return
	}
	count := 0
	if p.Count != nil {
		count = *p.Count
	}
	if count < 1 || count > maxGPUs {
		c.refuse(finding.OutOfRange, field+".count", "want 1 to %d: the number of GPUs of a node that a copy takes", maxGPUs)
		return
	}
	c.out.Spec.Resource.GPUs = int32(count)
}

// maxGPUs bounds gpus of the native form.
const maxGPUs = 64
