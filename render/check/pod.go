// SPDX-License-Identifier: Apache-2.0

package check

import (
	"github.com/espalier-dev/espalier/presets/runtimes"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// unjudged is the sum of a pod of the user's own.
const unjudged = "not judged: what the pod of spec.inference.template runs is not known"

// ownsPod says that the task runs a pod of the user's own.
func (c *checker) ownsPod() bool {
	return c.workspace.Spec.Inference != nil && c.workspace.Spec.Inference.Template != nil
}

// ownPod reads the pod template. One that does not decode has no candidate:
// ValidateWorkspace says why, and so does this where it was not asked.
func (c *checker) ownPod() {
	if !c.ownsPod() {
		return
	}
	pod, err := c.workspace.Spec.Inference.Pod()
	switch {
	case err != nil:
		c.refuse(finding.TemplateInvalid, "spec.inference.template", "this is no pod template: its fields are those of Kubernetes")
	case len(pod.Spec.Containers) == 0:
		c.refuse(finding.TemplateInvalid, "spec.inference.template.spec.containers", "name at least one container")
	default:
		c.out.Pod = pod
	}
}

// ownRuntime is the pod's first image: nothing of it is chosen here.
func (c *checker) ownRuntime(spec *v1alpha1.RuntimeSpec) {
	if spec != nil && *spec != (v1alpha1.RuntimeSpec{}) {
		c.refuse(UnknownRuntime, "spec.runtime", "the pod of spec.inference.template has its own image: remove it")
	}
	r := runtimes.OwnPod()
	if c.out.Pod != nil {
		r.Image = c.out.Pod.Spec.Containers[0].Image
	}
	c.setRuntime(r)
}

// fitPod judges a candidate for a pod of the user's own: the number of its GPUs
// is all that is known.
func (c *checker) fitPod(out *Candidate, field string, add func(finding.Problem)) {
	out.PodGPUs = max(1, int(min(repolayout.PodGPUs(c.out.Pod.Spec), 1<<10)))
	least, most := c.workspace.Spec.Inference.Copies()
	count := int(c.workspace.Spec.Resource.Count)
	out.LeastNodes, out.Nodes = max(out.NodesFor(int(least)), count), max(out.NodesFor(int(most)), count)
	if err := out.Instance.Schedulable(); err != nil {
		code := DoesNotFit
		if out.Instance.RetiredOn != "" {
			code = InstanceTypeRetired
		}
		add(finding.Errorf(code, field, "%s", err))
		return
	}
	if out.PodGPUs > out.Instance.GPUs {
		add(finding.Errorf(DoesNotFit, field, "a pod asks for %d GPUs and %s has %d: it could never be placed", out.PodGPUs, out.InstanceType, out.Instance.GPUs))
		return
	}
	out.Unjudged = true
	driver := "its driver is not known"
	if out.Instance.Driver != "" {
		driver = "driver " + out.Instance.Driver
	}
	add(finding.Warningf(PodNotJudged, "spec.inference.template",
		"nobody here knows what this pod runs: whether it fits %d of the GPUs of %s (%s, %s) shows when the nodes are paid for; espalier fit judges models that are known",
		out.PodGPUs, out.InstanceType, out.Instance.Chip(), driver))
	c.buy(out, field, add)
}
