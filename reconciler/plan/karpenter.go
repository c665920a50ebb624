// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"slices"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// classOf is the node class that a spec names; nil: none.
func classOf(s v1alpha1.GPUNodePoolSpec) *v1alpha1.NodeClassReference {
	if s.Karpenter == nil {
		return nil
	}
	return s.Karpenter.NodeClassRef
}

// modeOf is who orders the nodes of provider karpenter.
func modeOf(s v1alpha1.GPUNodePoolSpec) v1alpha1.KarpenterMode {
	if s.Karpenter == nil {
		return v1alpha1.KarpenterNodeClaims
	}
	return cmp.Or(s.Karpenter.Mode, v1alpha1.KarpenterNodeClaims)
}

// filled says what becomes of a pool that Karpenter fills, or is to fill; false: nothing
// that is not said of others.
func (c *comparer) filled(ch *Change, from, to desired.Document, affected string) bool {
	was, is := modeOf(from.Pool.Spec), modeOf(to.Pool.Spec)
	switch {
	case was != is:
		ch.Effect = Effect{Kind: Refused, Message: "the API server refuses another karpenter.mode: declare a pool of another name; the pool stays as it is"}
		ch.Price.After = ch.Price.Before
		c.immutable(to, "spec.karpenter.mode", "the karpenter.mode of GPUNodePool %s cannot be changed from %s to %s: the API server refuses it; declare a pool of another name, and move the Workspaces to it", ch.Name, was, is)
	case is == v1alpha1.KarpenterNodePools && !slices.Equal(readSpec(&from.Pool.Spec).candidates, readSpec(&to.Pool.Spec).candidates):
		ch.Effect = Effect{Kind: Configured, Message: "Karpenter makes new nodes in the new order; nodes that exist stay while pods run on them" + affected}
	default:
		return false
	}
	return true
}

// emptyWords says what becomes of nodes that no pod runs on.
func emptyWords(s v1alpha1.GPUNodePoolSpec) string {
	switch {
	case !s.ByKarpenter():
		return kept
	case s.Karpenter.ConsolidateAfter == nil:
		return "taken away after 5m"
	}
	return "taken away after " + s.Karpenter.ConsolidateAfter.Duration.String()
}

// dearest is the candidate that costs most, of a pool whose nodes may all be of any: the
// first of which no price is known, where there is one.
func dearest(candidates []v1alpha1.Candidate, region string) v1alpha1.Candidate {
	var most v1alpha1.Candidate
	usd := -1.0
	for _, c := range candidates {
		instance, ok := sku.Lookup(c.InstanceType)
		p := price.AtMost(instance, region, 1, c.Priority)
		if !ok || !p.Known {
			return c
		}
		if p.USD > usd {
			most, usd = c, p.USD
		}
	}
	return most
}
