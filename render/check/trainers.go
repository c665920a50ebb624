// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// trainers judges a run over several nodes: whether its pods have nodes, and
// whether all of them can mount what they share.
func (c *checker) trainers(out Candidate, add func(finding.Problem)) {
	t := c.workspace.Spec.Tuning
	if t == nil || out.Nodes < 2 {
		return
	}
	if pool := c.facts.Pool; pool != nil {
		if _, has := pool.Nodes(); int(has) < out.Nodes {
			add(finding.Errorf(NodesUnsupported, "spec.resource.count", "a run over %d nodes, and GPUNodePool %s has %d: raise its replicas or aks.autoscale.max, or lower count", out.Nodes, c.workspace.Spec.Resource.NodePool, has))
		}
	}
	field, class := "spec.tuning.checkpoints.storageClass", t.Kept().StorageClass
	if class == "" {
		field, class = "spec.resource.count", c.facts.StorageClass
	}
	const remedy = "with checkpoints.storageClass of a share (azurefile-csi-premium) they can; else leave count out"
	switch mounted, why := sharedBy(class); mounted {
	case writersApart:
		add(finding.Errorf(ClaimNotShared, field, "pods on several nodes write one volume of checkpoints, and %s: %s", why, remedy))
	case writersUnknown:
		add(finding.Warningf(ClaimNotShared, field, "pods on several nodes write one volume of checkpoints (ReadWriteMany), and %s: %s", why, remedy))
	}
	c.mountedByAll("spec.tuning.output.claim", t.Output.Claim, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany}, add)
	c.mountedByAll("spec.tuning.input.claim", t.Input.Claim, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteMany, corev1.ReadOnlyMany}, add)
}

// mountedByAll sees that a claim of the user's can be mounted on several nodes.
func (c *checker) mountedByAll(field, claim string, modes []corev1.PersistentVolumeAccessMode, add func(finding.Problem)) {
	if claim == "" {
		return
	}
	want := string(modes[0])
	if len(modes) > 1 {
		want += " or " + string(modes[1])
	}
	has, known := c.facts.ClaimModes[claim]
	switch {
	case !known:
		add(finding.Warningf(ClaimNotShared, field, "pods on several nodes mount claim %q: its access mode must be %s", claim, want))
	case !slices.ContainsFunc(modes, func(m corev1.PersistentVolumeAccessMode) bool { return slices.Contains(has, string(m)) }):
		add(finding.Errorf(ClaimNotShared, field, "claim %q can be mounted on one node (%s), and the pods of the run are on several: use one with access mode %s", claim, strings.Join(has, ", "), want))
	}
}

// sharedBy says by the name of a class whether pods on several nodes can write a
// volume of it.
func sharedBy(class string) (writers, string) {
	lower := strings.ToLower(class)
	switch {
	case strings.HasPrefix(lower, "azurefile"), strings.HasPrefix(lower, "azureblob"):
		return writersFit, ""
	case slices.Contains(disks, lower), strings.HasPrefix(lower, "managed-"):
		return writersApart, fmt.Sprintf("volumes of class %s are disks, which one node mounts", class)
	case class == "":
		return writersUnknown, "the class is the cluster's default, of which nothing is known here"
	}
	return writersUnknown, fmt.Sprintf("whether volumes of class %s can be is not known here", class)
}
