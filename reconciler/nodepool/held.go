// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// whoHolds looks for the pods that hold GPUs of nodes which exist without us: one
// request a node, when a node changed and while GPUs are waited for. On a node that
// offers none it says why, as of nodes that are bought.
func (r *Reconciler) whoHolds(ctx context.Context, p *pass) error {
	if p.pool.DeletionTimestamp != nil {
		return nil
	}
	users, err := r.usersPods(ctx, p.pool)
	if err != nil {
		return err
	}
	explained, within := false, ""
	if r.Deps.NamesWithin {
		within = p.pool.Namespace
	}
	for i := range p.facts.Nodes {
		n := &p.facts.Nodes[i]
		if !n.Ready || n.Offered == 0 && explained {
			continue
		}
		var pods corev1.PodList
		if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: n.Name}); err != nil {
			return fmt.Errorf("listing the pods of node %s: %w", n.Name, err)
		}
		if n.Offered == 0 {
			explained = true
			if n.Plugin, err = r.plugin(ctx, &p.nodes[i], pods.Items, false); err != nil {
				return err
			}
			continue
		}
		n.Held, n.Holders = pool.HoldingOf(corev1.ResourceName(p.pool.Spec.GPUResource()), pods.Items, users, within)
	}
	return nil
}

// usersPods says which pods the nodes of a pool are for: those of the Workspace that
// has it, or of those that share it.
func (r *Reconciler) usersPods(ctx context.Context, p *v1alpha1.GPUNodePool) (func(*corev1.Pod) bool, error) {
	names := []string{workspaceOf(p)}
	if names[0] == "" {
		var workspaces v1alpha1.WorkspaceList
		if err := r.Client.List(ctx, &workspaces, client.InNamespace(p.Namespace)); err != nil {
			return nil, fmt.Errorf("listing Workspaces: %w", err)
		}
		names = nil
		for i := range workspaces.Items {
			if w := &workspaces.Items[i]; w.Spec.Resource.NodePool == p.Name {
				names = append(names, w.Name)
			}
		}
	}
	return func(pod *corev1.Pod) bool {
		return pod.Namespace == p.Namespace && slices.Contains(names, pod.Labels[repolayout.LabelWorkspace])
	}, nil
}
