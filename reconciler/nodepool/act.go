// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// FieldNodeName is the field that pods are selected by to find those of a node.
const FieldNodeName = "spec.nodeName"

// act carries the decision's mutation out, if the object is still what it was
// decided on and no work that is not ours to end would lose its node.
func (r *Reconciler) act(ctx context.Context, p *pass) error {
	if err := r.restore(ctx, p); err != nil {
		return err
	}
	d := p.decision
	if d.Do == pool.ActionNone {
		return nil
	}
	live := &v1alpha1.GPUNodePool{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(p.pool), live); err != nil {
		return fmt.Errorf("reading the object live: %w", err)
	}
	if live.UID != p.pool.UID || live.ResourceVersion != p.pool.ResourceVersion {
		p.stale = true
		return nil
	}
	t := target(p.pool, r.Deps.Installation, d.Subject, pool.Ordered(d.Candidate), d.Attempt)
	t.Mend, t.Replicas, t.Lanes = d.Mends, d.Count.Wanted, d.Lanes
	if may, err := r.mayTake(ctx, p, &t); err != nil || !may {
		return err
	}
	p.mutate(ctx, t)
	return nil
}

// mayTake says whether the nodes that the decision takes away, if any, may go now,
// and names them to the provider.
func (r *Reconciler) mayTake(ctx context.Context, p *pass, t *pool.Target) (bool, error) {
	d := p.decision
	if d.Replaces != "" {
		t.Replace = d.Replaces
		if lost, err := r.stillLost(ctx, p); err != nil || !lost {
			return false, err
		}
	}
	if !d.Shrinks {
		return true, nil
	}
	if d.Do == pool.ActionEnsure {
		t.Shrink, t.Replicas = true, p.facts.Seen.Count-d.Fewer
	}
	return r.clear(ctx, p, t)
}

// mutate asks the provider for the one change, and settles what came of it.
func (p *pass) mutate(ctx context.Context, t pool.Target) {
	do := p.provider.Ensure
	if p.decision.Do == pool.ActionDelete {
		do = p.provider.Delete
	}
	done, err := do(ctx, t)
	if err != nil {
		p.retry = err
		p.settleFailure(p.decision, understand(err))
		return
	}
	p.decision = pool.Acted(p.facts, p.decision, done)
}

// subjectSelector selects the nodes of the pool that the decision is about.
func subjectSelector(p *pass) map[string]string {
	for _, l := range p.facts.Seen.Leftovers {
		if l.Name == p.decision.Subject {
			return l.NodeSelector
		}
	}
	return p.facts.Seen.NodeSelector
}
