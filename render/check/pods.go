// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// samePods rules out what would need other pods than the first candidate that can be
// used, of a pool that Karpenter fills: its pods are there before any node, and the
// node that comes may be of each candidate that they admit.
func (c *checker) samePods(first Candidate, field func(int) string) {
	for i := range c.out.Candidates {
		other := &c.out.Candidates[i]
		if !other.Usable() || other.PodGPUs == first.PodGPUs && other.CopyNodes == first.CopyNodes && other.Fit.DType == first.Fit.DType {
			continue
		}
		other.Refused = true
		other.Findings = append(other.Findings, c.place(finding.Warningf(PodsDiffer, field(i),
			"%s takes other pods than %s (%s against %s), and they are there before Karpenter makes a node: they are kept off its nodes",
			other.InstanceType, first.InstanceType, podOn(*other), podOn(first))))
	}
	if p := c.out.Candidates[0]; !p.Usable() {
		c.refuse(PodsDiffer, "spec.resource.nodePool",
			"GPUNodePool %s lists %s first, which this Workspace cannot use, and Karpenter makes nodes of the others only while none of that can be had: name a pool whose first candidate it can use",
			c.workspace.Spec.Resource.NodePool, p.InstanceType)
	}
}

// podOn says what of a pod depends on its node.
func podOn(c Candidate) string {
	text := fmt.Sprintf("%d GPUs", c.PodGPUs)
	if c.PodGPUs == 1 {
		text = "1 GPU"
	}
	if c.Fit.DType != "" {
		text += ", " + c.Fit.DType
	}
	return text
}
