// SPDX-License-Identifier: Apache-2.0

package check

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// cache of the weights; nil where there is none.
func (c *checker) cache() *v1alpha1.WeightCache {
	if c.workspace.Spec.Inference == nil {
		return nil
	}
	return c.workspace.Spec.Inference.Cache
}

// cacheSize sees that a volume has room for the weights, which are downloaded as
// a whole whatever part of them a pod loads.
func (c *checker) cacheSize() {
	cache := c.cache()
	if cache == nil || cache.Size == "" {
		return
	}
	size, err := resource.ParseQuantity(cache.Size)
	if err != nil {
		return // ValidateWorkspace says so
	}
	if weights := c.out.Preset.Model.WeightBytes; size.Value() < weights {
		c.refuse(CacheTooSmall, "spec.inference.cache.size", "%s has no room for the weights of %s, %s GiB", cache.Size, c.out.Preset.Name(), fit.GiB(weights))
	}
}

// cacheModes sees that every pod can write the claim: one that is written from a
// single node keeps the pods of the others from starting, while those are paid.
func (c *checker) cacheModes(out Candidate, add func(finding.Problem)) {
	cache := c.cache()
	if cache == nil || cache.Claim == "" {
		return
	}
	const field = "spec.inference.cache.claim"
	switch c.writers(out) {
	case writersFit:
	case writersUnknown:
		add(finding.Warningf(CacheShared, field, "pods on several nodes write claim %q: its access mode must be ReadWriteMany", cache.Claim))
	case writersApart:
		add(finding.Errorf(CacheShared, field, "claim %q can be written from one node, and the pods may be on several: use one with access mode ReadWriteMany, or storageClass for a volume of each pod", cache.Claim))
	default:
		add(finding.Errorf(CacheShared, field, "the pods cannot all write claim %q: use one with access mode ReadWriteMany, or storageClass for a volume of each pod", cache.Claim))
	}
}

// writers says whether the access modes of the claim are enough for the pods.
type writers int

const (
	writersFit writers = iota
	writersUnknown
	writersApart
	writersTooMany
)

func (c *checker) writers(out Candidate) writers {
	return c.mounting(out, c.workspace.Spec.CacheClaim(), corev1.ReadWriteMany)
}

// mounting says whether all pods can mount a claim, which those on several nodes can
// by the access modes that are shared.
func (c *checker) mounting(out Candidate, claim string, shared ...corev1.PersistentVolumeAccessMode) writers {
	pods := c.copies() * out.CopyNodes
	apart := out.Nodes > 1 || pods > 1 && c.workspace.Spec.Resource.NodePool != ""
	alone := pods == 1 && out.Instance.GPUs <= out.PodGPUs // no GPU for the next version beside it
	modes := c.facts.ClaimModes[claim]
	can := func(mode corev1.PersistentVolumeAccessMode) bool {
		return slices.Contains(modes, string(mode))
	}
	once := can(corev1.ReadWriteOnce)
	switch {
	case slices.ContainsFunc(shared, can), once && !apart, can(corev1.ReadWriteOncePod) && alone:
		return writersFit
	case modes == nil && !apart:
		return writersFit
	case modes == nil:
		return writersUnknown
	case once:
		return writersApart
	}
	return writersTooMany
}
