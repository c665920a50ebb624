// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

type profile = armcontainerservice.ManagedClusterAgentPoolProfileProperties

// setting is something of a pool that AKS changes in place, or nil where it is as
// wanted: in words, and how the pool is made so. What is not named here stays as
// whoever wrote it left it.
type setting struct {
	words string
	set   func(*profile)
}

// settings are those that differ from the target, in a fixed order.
func settings(p *profile, t pool.Target) []setting {
	return slices.Concat(counting(p, t), upgrading(p, t), labelling(p, t), tagging(p, t))
}

// behind names what differs from the target and is changed in place.
func behind(p *profile, t pool.Target) []string {
	var out []string
	for _, s := range settings(p, t) {
		out = append(out, s.words)
	}
	return out
}

// tune changes everything that differs and can be changed, in one write that rests
// on the pool as it was read.
func (p *Provider) tune(ctx context.Context, t pool.Target, found *armcontainerservice.AgentPool) (pool.Step, error) {
	all := settings(properties(found), t)
	if len(all) == 0 {
		return pool.StepNone, nil
	}
	next := written(found)
	for _, s := range all {
		s.set(next)
	}
	if deref(properties(found).EnableAutoScaling) && deref(next.EnableAutoScaling) {
		next.Count = nil // the autoscaler's; whoever takes it back says it, for 1 is what AKS documents of a write without
	}
	if err := p.over(ctx, t.PoolName, found, armcontainerservice.AgentPool{Properties: next}); err != nil {
		return pool.StepNone, fmt.Errorf("changing agent pool %s: %w", t.PoolName, err)
	}
	return pool.StepUpdated, nil
}

func autoscale(t pool.Target) *v1alpha1.AKSAutoscale {
	if t.AKS == nil {
		return nil
	}
	return t.AKS.Autoscale
}

// counting is who counts the nodes, and within which bounds. The count stays as it
// is: AKS refuses a write that changes it and turns the autoscaler on
// (https://github.com/Azure/AKS/issues/1248), and one that is turned off leaves a
// count that is ours from then on.
func counting(p *profile, t pool.Target) []setting {
	a, on := autoscale(t), deref(p.EnableAutoScaling)
	has := fmt.Sprintf("%d to %d", deref(p.MinCount), deref(p.MaxCount))
	switch {
	case a == nil && on:
		return []setting{{"aks.autoscale none (is " + has + ")", func(p *profile) {
			p.EnableAutoScaling, p.MinCount, p.MaxCount = to.Ptr(false), nil, nil
		}}}
	case a == nil || on && deref(p.MinCount) == a.Min && deref(p.MaxCount) == a.Max:
		return nil
	case !on:
		has = "none"
	}
	return []setting{{fmt.Sprintf("aks.autoscale %d to %d (is %s)", a.Min, a.Max, has), func(p *profile) {
		p.EnableAutoScaling, p.MinCount, p.MaxCount = to.Ptr(true), to.Ptr(a.Min), to.Ptr(a.Max)
	}}}
}

// upgrading is how nodes are replaced, where the spec says it: drain and soak times
// are nobody's of ours.
func upgrading(p *profile, t pool.Target) []setting {
	if t.AKS == nil || t.AKS.Upgrade == nil {
		return nil
	}
	want, has := upgrade(t.AKS), deref(p.UpgradeSettings)
	if share(want.MaxSurge) == share(has.MaxSurge) && share(want.MaxUnavailable) == share(has.MaxUnavailable) {
		return nil
	}
	words := fmt.Sprintf("aks.upgrade maxSurge %s, maxUnavailable %s (is %s, %s)", *want.MaxSurge, *want.MaxUnavailable, share(has.MaxSurge), share(has.MaxUnavailable))
	return []setting{{words, func(p *profile) {
		next := deref(p.UpgradeSettings)
		next.MaxSurge, next.MaxUnavailable = want.MaxSurge, want.MaxUnavailable
		p.UpgradeSettings = &next
	}}}
}

// share is a number or share of nodes as it compares: none is "0" or "0%", or not
// there.
func share(s *string) string {
	if v := deref(s); v != "" && v != "0%" {
		return v
	}
	return "0"
}

// labelling is the labels of nodes that are asked for. One that is no longer asked
// for stays: nobody knows whose it is.
func labelling(p *profile, t pool.Target) []setting {
	var out []setting
	all := labels(t)
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if v := all[k]; deref(p.NodeLabels[k]) != v {
			out = append(out, setting{fmt.Sprintf("node label %s=%s (is %q)", k, v, deref(p.NodeLabels[k])), func(p *profile) {
				p.NodeLabels = with(p.NodeLabels, k, v)
			}})
		}
	}
	return out
}

// tagging is the tags that say, to people and to a later start, what the pool is
// for. Those that make it ours are not among them: without them nothing is written.
func tagging(p *profile, t pool.Target) []setting {
	var out []setting
	for _, mark := range []struct{ key, value string }{{TagAttempt, strconv.Itoa(int(t.Attempt))}, {TagPool, t.Namespace + "/" + t.Name}} {
		if tag(p.Tags, mark.key) != mark.value {
			out = append(out, setting{fmt.Sprintf("tag %s=%s (is %q)", mark.key, mark.value, tag(p.Tags, mark.key)), func(p *profile) {
				key := mark.key
				for k := range p.Tags {
					if strings.EqualFold(k, key) {
						key = k // another spelling would be another tag to us, and the same to Azure
					}
				}
				p.Tags = with(p.Tags, key, mark.value)
			}})
		}
	}
	return out
}

// with is a map with one more entry; the one given stays as it is.
func with(m map[string]*string, key, value string) map[string]*string {
	next := maps.Clone(m)
	if next == nil {
		next = map[string]*string{}
	}
	next[key] = to.Ptr(value)
	return next
}
