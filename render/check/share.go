// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// cut is an instance type as the nodes of the task are: its GPUs may be in slices, and
// its driver somebody else's.
func (c *checker) cut(i sku.Instance) (sku.Instance, error) {
	i = c.onNodes(i)
	profile, of := c.workspace.Spec.Resource.MIG, ""
	if pool := c.facts.Pool; pool != nil {
		profile, of = pool.Slices(), "the pool's slices: "
	}
	if profile == "" {
		return i, nil
	}
	cut, err := i.Slice(profile)
	if err != nil {
		return cut, fmt.Errorf("%s%w", of, err)
	}
	return cut, nil
}

// sliced is the field that names the profile, or else the pool that does.
func (c *checker) sliced(field string) string {
	if c.workspace.Spec.Resource.MIG != "" {
		return "spec.resource.mig"
	}
	return field
}

// hasGPUs sees that a node has the GPUs that a copy asks for, and that the
// configuration asks for as many.
func (c *checker) hasGPUs(out Candidate, add func(finding.Problem)) bool {
	gpus := int(c.workspace.Spec.Resource.GPUs)
	if gpus == 0 {
		return true
	}
	const field = "spec.resource.gpus"
	if said := c.out.Serving.TensorParallel; said > 0 && said != gpus {
		add(finding.Errorf(ConfigInvalid, c.task()+".config", "tensor-parallel-size is %d there and %s is %d: give one of them", said, field, gpus))
		return false
	}
	if out.Instance.GPUs > 0 && gpus > out.Instance.GPUs {
		add(finding.Errorf(DoesNotFit, field, "a copy asks for %d GPUs, and %s has %d: lower it, or serve copies of fewer by spec.inference.replicas", gpus, out.InstanceType, out.Instance.GPUs))
		return false
	}
	return true
}

// LikeNothing says what is missing of a Workspace on nodes that exist, of which nobody
// says what they are like; nil: nothing.
func LikeNothing(w *v1alpha1.Workspace) *finding.Problem {
	r := w.Spec.Resource
	if r.Provider != v1alpha1.ProviderExisting || r.NodePool != "" || len(r.CandidateList()) > 0 {
		return nil
	}
	where := "here or, for every Workspace of a RepoSync, in its spec.defaults.instanceType"
	if w.Annotations[kaito.AnnotationConvertedFrom] != "" {
		where = "in spec.defaults.instanceType of the RepoSync, which is for all such Workspaces; or name the instance type to provision here, where they do not exist"
	}
	p := finding.Errorf(finding.ResourceMissing, "spec.resource.instanceType", "the nodes exist, and what they are like is not said: name the size of the catalogue whose GPUs they have (espalier skus), %s", where)
	p.Field = kaito.Spelling(w, p.Field)
	return &p
}
