// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// census counts the nodes of the cluster, where one of the pool's is not Ready: whether
// that is its own fault shows by the others. Of nodes that are lost it learns who keeps them.
func (r *Reconciler) census(ctx context.Context, p *pass) error {
	silent := slices.ContainsFunc(p.facts.Nodes, func(n pool.Node) bool { return !n.Silent.IsZero() })
	if !silent || r.Deps.LostAfter <= 0 || p.facts.Seen.External {
		return nil
	}
	var nodes corev1.NodeList
	if err := r.Client.List(ctx, &nodes); err != nil {
		return fmt.Errorf("listing the nodes of the cluster: %w", err)
	}
	p.facts.Cluster = pool.CensusOf(nodes.Items, repolayout.LabelPool, p.now)
	var err error
	for i := range p.nodes {
		if !pool.Lost(&p.nodes[i], r.Deps.LostAfter, p.now) {
			continue
		}
		if p.facts.Nodes[i].Kept, err = r.keeping(ctx, p, p.nodes[i].Name); err != nil {
			return err
		}
	}
	recorded := len(p.pool.Status.Removing) > 0
	p.facts.Replacing, err = r.replacing(ctx, r.Client, p, recorded)
	return err
}

// keeping names the pods on a lost node that somebody has to let go of.
func (r *Reconciler) keeping(ctx context.Context, p *pass, node string) (string, error) {
	var pods corev1.PodList
	if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: node}); err != nil {
		return "", fmt.Errorf("listing the pods of node %s: %w", node, err)
	}
	var staying []string
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp == nil && pool.Foreign(pod, p.pool.Namespace, workspaceOf(p.pool), repolayout.LabelWorkspace) {
			staying = append(staying, r.named(p, pod))
		}
	}
	return pool.Keeping(staying), nil
}

// replacing names another pool whose machine is being replaced. Of two that recorded it at
// the same time the first by name goes first.
func (r *Reconciler) replacing(ctx context.Context, from client.Reader, p *pass, recorded bool) (string, error) {
	var pools v1alpha1.GPUNodePoolList
	if err := from.List(ctx, &pools); err != nil {
		return "", fmt.Errorf("listing GPUNodePools: %w", err)
	}
	ours := client.ObjectKeyFromObject(p.pool).String()
	for i := range pools.Items {
		other := &pools.Items[i]
		name := client.ObjectKeyFromObject(other).String()
		if name == ours || !pool.Replaces(other) || recorded && ours < name {
			continue
		}
		if r.Deps.NamesWithin && other.Namespace != p.pool.Namespace {
			return "a pool of another namespace", nil
		}
		return "pool " + name, nil
	}
	return "", nil
}

// stillLost says whether the node that is to be replaced may go now: a live look shows
// it as lost as the cache did, the others as well, no pod on it that somebody has to let
// go of, and no other pool of which a machine is being replaced.
func (r *Reconciler) stillLost(ctx context.Context, p *pass) (bool, error) {
	var nodes corev1.NodeList
	if err := r.Live.List(ctx, &nodes); err != nil {
		return false, fmt.Errorf("listing the nodes of the cluster live: %w", err)
	}
	at := slices.IndexFunc(nodes.Items, func(n corev1.Node) bool { return n.Name == p.decision.Replaces })
	if at < 0 || !pool.Lost(&nodes.Items[at], r.Deps.LostAfter, p.now) || pool.CensusOf(nodes.Items, repolayout.LabelPool, p.now).Disturbed() {
		p.decision = pool.Spared(p.decision)
		return false, nil
	}
	kept, err := r.keeping(ctx, p, p.decision.Replaces)
	if err != nil {
		return false, err
	}
	other, err := r.replacing(ctx, r.Live, p, true)
	if err != nil {
		return false, err
	}
	if kept != "" || other != "" {
		p.decision = pool.Spared(p.decision)
		return false, nil
	}
	return true, nil
}

// loses is the condition that tells of a lost node, where none did before: the phase is
// that of nodes that are missing already, and says nothing new.
func loses(before, after *v1alpha1.GPUNodePool) *metav1.Condition {
	was := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionDegraded)
	is := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionDegraded)
	if is == nil || is.Reason != pool.ReasonNodeLost || was != nil && was.Reason == is.Reason {
		return nil
	}
	return is
}
