// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// adapters must not take the name of the model.
func (c *checker) adapters() {
	s := c.workspace.Spec.Inference
	if s == nil {
		return
	}
	for i, a := range s.Adapters {
		if a.Name == c.out.Preset.Name() {
			c.refuse(NameTaken, indexed("spec.inference.adapters", i)+".name", "%s is the name that requests use for the model itself", a.Name)
		}
	}
}

// adapterClaims sees that every pod of a candidate can mount the claims that adapters
// come from: one that cannot waits for ever, on a node that is paid for.
func (c *checker) adapterClaims(out Candidate, field string, add func(finding.Problem)) {
	s := c.workspace.Spec.Inference
	if s == nil {
		return
	}
	left := c.mayBeIn(out.Candidate)
	for i, a := range s.Adapters {
		if a.Claim == "" {
			continue
		}
		c.readBy(out, indexed("spec.inference.adapters", i)+".claim", a.Claim, add)
		zones, limited := c.facts.VolumeZones[a.Claim]
		if !limited {
			continue
		}
		both := zones
		if left != nil {
			both = mounting(left, zones)
		}
		if len(both) == 0 {
			add(finding.Errorf(ZoneLocked, field, "nodes in %s cannot mount claim %q, which adapter %s comes from and which is in %s: add a candidate there, or bring the adapter as an image",
				spoken(left), a.Claim, a.Name, spoken(zones)))
			return
		}
		left = both
	}
}

// readBy sees that the access modes of a claim are enough for pods that read it.
func (c *checker) readBy(out Candidate, field, claim string, add func(finding.Problem)) {
	pods := c.copies() * out.CopyNodes
	apart := out.Nodes > 1 || pods > 1 && c.workspace.Spec.Resource.NodePool != ""
	modes, known := c.facts.ClaimModes[claim]
	has := func(wanted ...corev1.PersistentVolumeAccessMode) bool {
		return slices.ContainsFunc(wanted, func(m corev1.PersistentVolumeAccessMode) bool { return slices.Contains(modes, string(m)) })
	}
	const remedy = "use one with access mode ReadOnlyMany or ReadWriteMany, or bring the adapter as an image"
	switch {
	case apart && !known:
		add(finding.Warningf(ClaimNotShared, field, "pods on several nodes mount claim %q: its access mode must be ReadOnlyMany or ReadWriteMany", claim))
	case !known || has(corev1.ReadOnlyMany, corev1.ReadWriteMany):
	case apart:
		add(finding.Errorf(ClaimNotShared, field, "claim %q can be mounted on one node (%s), and the pods may be on several: %s", claim, strings.Join(modes, ", "), remedy))
	case !has(corev1.ReadWriteOnce) && pods > 1:
		add(finding.Errorf(ClaimNotShared, field, "claim %q can be mounted by one pod (%s), and there are %d: %s", claim, strings.Join(modes, ", "), pods, remedy))
	}
}
