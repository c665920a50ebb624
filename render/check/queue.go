// SPDX-License-Identifier: Apache-2.0

package check

import "github.com/espalier-dev/espalier/repo-layout/finding"

// sameGPUs rules out what would give a queued run another number of GPUs: the
// queue admits one number, and a Job of another would have to wait anew, without
// its nodes.
func (c *checker) sameGPUs(first Candidate, field func(int) string) {
	if c.workspace.Spec.Queue == "" {
		return
	}
	for i := range c.out.Candidates {
		other := &c.out.Candidates[i]
		if !other.Usable() || other.PodGPUs == first.PodGPUs {
			continue
		}
		other.Refused = true
		other.Findings = append(other.Findings, c.place(finding.Warningf(QueueGPUs, field(i),
			"the run waits in queue %s for the GPUs of %s (%d), and takes %d on %s: it is not used; give it a Workspace of its own or leave it out",
			c.workspace.Spec.Queue, first.InstanceType, first.PodGPUs, other.PodGPUs, other.InstanceType)))
	}
}
