// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fieldNodeName is the field that pods are selected by to find those of a node.
const fieldNodeName = "spec.nodeName"

// mostNodes bounds the nodes whose pods are asked for.
const mostNodes = 20

// holders says, of nodes that exist without us, whose pods hold the GPUs that a pod
// of the Workspace finds none of: nobody bought those nodes for it. Empty: nobody
// does, or the nodes are its pool's own.
func (r *Reconciler) holders(ctx context.Context, p *pass) (string, error) {
	if p.pool == nil || p.pool.Spec.Provider != v1alpha1.ProviderExisting {
		return "", nil
	}
	var nodes corev1.NodeList
	if err := r.Reader.List(ctx, &nodes, client.MatchingLabels(p.pool.Spec.NodeLabels)); err != nil {
		return "", fmt.Errorf("listing the nodes of pool %s: %w", p.pool.Name, err)
	}
	ours := func(pod *corev1.Pod) bool {
		return pod.Namespace == p.ws.Namespace && pod.Labels[repolayout.LabelWorkspace] == p.ws.Name
	}
	var held []pool.Node
	within := ""
	if r.NamesWithin {
		within = p.ws.Namespace
	}
	for i := range nodes.Items[:min(len(nodes.Items), mostNodes)] {
		gpus := corev1.ResourceName(p.pool.Spec.GPUResource())
		n := pool.NodeWith(&nodes.Items[i], gpus)
		var pods corev1.PodList
		if err := r.Reader.List(ctx, &pods, client.MatchingFields{fieldNodeName: n.Name}); err != nil {
			return "", fmt.Errorf("listing the pods of node %s: %w", n.Name, err)
		}
		n.Held, n.Holders = pool.HoldingOf(gpus, pods.Items, ours, within)
		held = append(held, n)
	}
	if said := pool.HoldersOf(held); said != "" {
		return "; " + said, nil
	}
	return "", nil
}
