// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// FieldNodeName is the field that pods are selected by to find those of a node.
const FieldNodeName = "spec.nodeName"

// act carries the decision's mutation out, if the object is still what it was
// decided on and no foreign pod would lose its node.
func (r *Reconciler) act(ctx context.Context, p *pass) error {
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
	if d.Shrinks {
		pods, err := r.foreignPods(ctx, p)
		if err != nil {
			return err
		}
		if len(pods) > 0 {
			p.decision = pool.Blocked(p.facts, d, pods)
			return nil
		}
	}
	t := target(p.pool, r.Deps.Installation, d.Subject, pool.Candidate(d.Candidate), d.Attempt)
	do := p.provider.Ensure
	if d.Do == pool.ActionDelete {
		do = p.provider.Delete
	}
	done, err := do(ctx, t)
	if err != nil {
		p.retry = err
		p.settleFailure(d, understand(err))
		return nil
	}
	p.decision = pool.Acted(p.facts, d, done)
	return nil
}

// foreignPods names the pods that forbid taking the subject's nodes away, as
// the API server knows them now.
func (r *Reconciler) foreignPods(ctx context.Context, p *pass) ([]string, error) {
	nodes, err := list(ctx, r.Live, subjectSelector(p))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, n := range nodes {
		var pods corev1.PodList
		if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: n.Name}); err != nil {
			return nil, fmt.Errorf("listing the pods of node %s: %w", n.Name, err)
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if pool.Foreign(pod, p.pool.Namespace, workspaceOf(p.pool), repolayout.LabelWorkspace) {
				names = append(names, pod.Namespace+"/"+pod.Name)
			}
		}
	}
	return names, nil
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
