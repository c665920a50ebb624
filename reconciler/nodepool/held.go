// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/slim"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// whoHolds looks for the pods that hold GPUs of nodes which exist without us: one
// request a node, when a node changed and while GPUs are waited for. Ready pools of one
// node share it. On a node that offers none it says why, as of nodes that are bought.
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
		pods, err := r.podsOn(ctx, p, &p.nodes[i])
		if err != nil {
			return err
		}
		if n.Offered == 0 {
			explained = true
			if n.Plugin, err = r.plugin(ctx, &p.nodes[i], pods, false); err != nil {
				return err
			}
			continue
		}
		n.Held, n.Holders = pool.HoldingOf(corev1.ResourceName(p.pool.Spec.GPUResource()), pods, users, within)
	}
	return nil
}

// sharedFor is how long what was listed of a node's pods is taken for pools that are Ready.
const sharedFor = 2 * time.Second

// nodePods are the pods of nodes as they were listed a moment ago, by name and version of
// the node: whoever is woken by a change of it asks anew.
type nodePods struct {
	mu sync.Mutex
	of map[string]*podList
}

// podList is what was listed, or is being listed until done is closed.
type podList struct {
	at   time.Time
	done chan struct{}
	pods []corev1.Pod // of each what is read of it; nobody changes them
	err  error
	used map[types.UID]bool // the pools that have taken it: the next pass over one of them lists again
}

var errNotListed = errors.New("the pods of a node were not listed")

// podsOn lists the pods of a node. Of a node that several pools select, as a start of the
// controller looks at all of them, they are listed once for those that are Ready: who takes
// GPUs of theirs is seen when the node changes, whenever that is. A pool that waits looks itself.
func (r *Reconciler) podsOn(ctx context.Context, p *pass, node *corev1.Node) ([]corev1.Pod, error) {
	list := &podList{at: r.Deps.Clock(), done: make(chan struct{}), err: errNotListed, used: map[types.UID]bool{}}
	if there := r.listed.share(node.Name+"@"+node.ResourceVersion, list, p); there != list {
		select {
		case <-there.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the pods of node %s: %w", node.Name, ctx.Err())
		}
		if there.err == nil {
			return there.pods, nil
		}
	}
	defer close(list.done)
	var pods corev1.PodList
	if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: node.Name}); err != nil {
		list.err = fmt.Errorf("listing the pods of node %s: %w", node.Name, err)
		return nil, list.err
	}
	for i := range pods.Items {
		pods.Items[i] = slim.Pod(&pods.Items[i])
	}
	list.pods, list.err = pods.Items, nil
	return list.pods, nil
}

// share is the list to use of a node's pods: one of a moment ago where that will do, else
// the new one, which is to be filled. Older ones are dropped.
func (n *nodePods) share(node string, list *podList, p *pass) *podList {
	n.mu.Lock()
	defer n.mu.Unlock()
	maps.DeleteFunc(n.of, func(_ string, l *podList) bool { return list.at.Sub(l.at) >= sharedFor })
	if there := n.of[node]; there != nil && p.isReady() && !there.used[p.pool.UID] {
		there.used[p.pool.UID] = true
		return there
	}
	list.used[p.pool.UID] = true
	if n.of == nil {
		n.of = map[string]*podList{}
	}
	n.of[node] = list
	time.AfterFunc(2*sharedFor, func() { n.drop(node, list) })
	return list
}

// drop drops a list, where nobody has asked since.
func (n *nodePods) drop(node string, list *podList) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of[node] == list {
		delete(n.of, node)
	}
}

// isReady says that the pool was found ready as it is now.
func (p *pass) isReady() bool {
	return p.pool.Status.Phase == v1alpha1.PhaseReady && p.pool.Status.ObservedGeneration == p.pool.Generation
}

// usersPods says which pods the nodes of a pool are for: those of the Workspace that
// has it, or of those that share it.
func (r *Reconciler) usersPods(ctx context.Context, p *v1alpha1.GPUNodePool) (func(*corev1.Pod) bool, error) {
	names := []string{workspaceOf(p)}
	if names[0] == "" {
		var workspaces v1alpha1.WorkspaceList
		if err := r.Client.List(ctx, &workspaces, client.InNamespace(p.Namespace), client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
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
