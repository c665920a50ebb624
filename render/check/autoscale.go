// SPDX-License-Identifier: Apache-2.0

package check

import (
	"math"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// NodesFor is the number of nodes that this many copies of a service take.
func (c Candidate) NodesFor(copies int) int {
	if c.CopyNodes > 1 {
		return copies * c.CopyNodes
	}
	perNode := max(1, c.Instance.GPUs/max(1, c.PodGPUs))
	return (copies + perNode - 1) / perNode
}

// Size is a sizing with the nodes, and their price, of this many copies in the
// place of those of the fewest.
func (c Candidate) Size(s v1alpha1.SizingStatus, copies int) v1alpha1.SizingStatus {
	c.sized(&s, c.NodesFor(copies))
	return s
}

func (c Candidate) sized(s *v1alpha1.SizingStatus, nodes int) {
	s.Nodes = int32(min(nodes, math.MaxInt32)) //nolint:gosec // bounded by min
	if c.Price.Known && c.Nodes > 0 {
		s.USDPerHour = price.Plain(c.Price.USD / float64(c.Nodes) * float64(nodes))
	}
}

// scales says that the number of copies follows the load.
func (c *checker) scales() bool { return c.out.scales }

// autoscale refuses copies that no autoscaler can count.
func (c *checker) autoscale(out Candidate, field string, add func(finding.Problem)) {
	if !c.scales() {
		return
	}
	if out.CopyNodes > 1 {
		add(finding.Errorf(AutoscaleUnsupported, field,
			"one copy takes %d nodes of %s, each copy is a StatefulSet of its own, and no autoscaler scales several as one: set replicas in the place of autoscale, or take a size that one copy fits",
			out.CopyNodes, out.InstanceType))
	}
	if c.workspace.Spec.Resource.Count > 0 {
		add(finding.Errorf(AutoscaleUnsupported, "spec.resource.count",
			"with spec.inference.autoscale the number of nodes follows the copies: leave count out, and raise minReplicas where more is to stand ready"))
	}
}

// alike says whether two candidates take the same number of nodes, whatever the
// number of copies.
func (c *checker) alike(a, b Candidate) bool {
	if a.Nodes != b.Nodes || !c.scales() {
		return a.Nodes == b.Nodes
	}
	least, most := c.workspace.Spec.Inference.Copies()
	for n := least; n <= most; n++ {
		if a.NodesFor(int(n)) != b.NodesFor(int(n)) {
			return false
		}
	}
	return true
}

// forMost says what a number of nodes is for.
func (c *checker) forMost() string {
	if !c.scales() {
		return ""
	}
	return " for maxReplicas"
}
