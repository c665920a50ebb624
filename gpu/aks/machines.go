// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// shrink removes machines of a pool by name. A smaller count would leave the
// choice to the scale set, which knows nothing of pods; only where every node
// goes is there nothing to choose, and the pool's ETag guards the change.
func (p *Provider) shrink(ctx context.Context, t pool.Target, found *armcontainerservice.AgentPool) (pool.Step, error) {
	count := deref(properties(found).Count)
	if t.Replicas == 0 && !slices.ContainsFunc(t.Registered, func(n string) bool { return !slices.Contains(t.Remove, n) }) {
		// Every node that ever joined may go, and what never joined runs nothing: an
		// evicted machine is in the count and in no list.
		return p.scale(ctx, t, found, 0)
	}
	absent, machines, err := p.absent(ctx, t, count)
	if err != nil {
		return pool.StepNone, err
	}
	going := append(absent, t.Remove...)
	least := t.Replicas
	if a := autoscale(t); a != nil {
		least = a.Min
	}
	switch {
	case len(going) == 0 && int(machines) == len(t.Registered) && machines < count:
		// Evicted machines have no name to remove them by. AKS and the cluster agree on
		// those that are there, so the scale set has none to choose from.
		return p.scale(ctx, t, found, max(least, machines))
	case len(going) == 0:
		return pool.StepNone, &pool.Failure{Class: pool.ClassTransient, Text: "no machine of node pool " + t.PoolName + " is known to be empty", RetryAfter: time.Minute}
	}
	going = going[:min(len(going), int(count-t.Replicas))]
	return p.remove(ctx, t.PoolName, going)
}

// scale writes another number of nodes, and nothing else.
func (p *Provider) scale(ctx context.Context, t pool.Target, found *armcontainerservice.AgentPool, count int32) (pool.Step, error) {
	if err := p.over(ctx, t.PoolName, found, scaled(found, count)); err != nil {
		return pool.StepNone, fmt.Errorf("scaling agent pool %s to %d: %w", t.PoolName, count, err)
	}
	return pool.StepScaled, nil
}

// remove begins to delete machines. AKS neither cordons nor drains them: that
// nothing runs on them was seen to before.
func (p *Provider) remove(ctx context.Context, name string, machines []string) (pool.Step, error) {
	defer p.list.forget()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var body armcontainerservice.AgentPoolDeleteMachinesParameter
	for _, m := range machines {
		body.MachineNames = append(body.MachineNames, to.Ptr(m))
	}
	if _, err := p.writes.BeginDeleteMachines(ctx, p.cfg.ResourceGroup, p.cfg.ClusterName, name, body, nil); err != nil {
		return pool.StepNone, fmt.Errorf("removing machines of agent pool %s: %w", name, p.cfg.classify(err))
	}
	return pool.StepScaled, nil
}

// absent names the machines of a pool that never joined the cluster, so that
// nothing can run on them, and counts all of them. AKS is asked only where there must
// be some: without that there are as many as the count says.
func (p *Provider) absent(ctx context.Context, t pool.Target, count int32) (names []string, machines int32, err error) {
	if int(count) <= len(t.Registered) {
		return nil, count, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for pages := p.machines.NewListPager(p.cfg.ResourceGroup, p.cfg.ClusterName, t.PoolName, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("listing machines of agent pool %s: %w", t.PoolName, p.cfg.classify(err))
		}
		for _, m := range page.Value {
			machines++
			if name := deref(m.Name); name != "" && !slices.Contains(t.Registered, name) {
				names = append(names, name)
			}
		}
	}
	if len(names) != int(machines)-len(t.Registered) {
		return nil, count, nil // names of machines and nodes differ: nothing is concluded from that
	}
	slices.Sort(names)
	return names, machines, nil
}
