// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// clear sees to it that nothing is lost with the nodes that the decision takes
// away, and says whether they may go now. The nodes and their pods are read
// live, and again after they were cordoned.
func (r *Reconciler) clear(ctx context.Context, p *pass, t *pool.Target) (bool, error) {
	if stays, err := r.stays(ctx, p); err != nil || stays {
		return false, err
	}
	nodes, err := list(ctx, r.Live, subjectSelector(p))
	if err != nil {
		return false, err
	}
	standing, err := r.standing(ctx, p, nodes)
	if err != nil {
		return false, err
	}
	d := p.decision
	c, removing := clearing(p, standing)
	if err := r.cordon(ctx, p.pool, nodes, c); err != nil {
		return false, err
	}
	switch {
	case len(c.Blocked) > 0:
		p.decision = blocked(p, standing, c.Blocked)
		p.decision.Removing = nil
	case !c.Ready():
		p.decision.Do, p.decision.Wait = pool.ActionNone, max(c.Wait, pool.Soon)
	case d.Do == pool.ActionEnsure && !slices.Equal(d.Removing, removing):
		p.decision.Do, p.decision.Wait, p.decision.Removing = pool.ActionNone, pool.Soon, removing // recorded first
	default:
		t.Remove = c.Remove
		for _, n := range standing {
			t.Registered = append(t.Registered, n.Name)
		}
		return true, nil
	}
	return false, nil
}

// stays says whether the nodes stay whatever runs on them: somebody asks for them,
// or a person has to say that they may go.
func (r *Reconciler) stays(ctx context.Context, p *pass) (bool, error) {
	if p.decision.Lets {
		return r.wantedAgain(ctx, p)
	}
	return r.hold(ctx, p)
}

// clearing is what has to happen first, and what the decision then removes, as
// it is recorded.
func clearing(p *pass, nodes []pool.Standing) (pool.Clearing, []string) {
	pause := min(pool.CordonPause, p.facts.Poll)
	if p.decision.Do != pool.ActionEnsure {
		c := pool.ClearAll(inTheWay(p, nodes), pause, p.now)
		if forced(p.pool) {
			c = pool.Clearing{Remove: c.Remove}
		}
		return c, nil
	}
	fewer := int(p.decision.Fewer)
	if p.decision.Lets { // all or none: pods on one of them are a use of the pool
		c := pool.ClearAll(nodes, pause, p.now)
		return c, append(slices.Repeat([]string{pool.NeverJoined}, max(fewer-len(nodes), 0)), c.Remove...)
	}
	absent := min(max(int(p.facts.Seen.Count)-len(nodes), 0), fewer) // machines that never joined go first
	c := pool.ClearSome(nodes, fewer-absent, pause, p.now)
	if absent > 0 {
		c.Blocked = nil
	}
	return c, append(slices.Repeat([]string{pool.NeverJoined}, absent), c.Remove...)
}

// inTheWay is nodes with the pods of the pool's Workspace foreign, where it is to go on
// and no other is in the way: who is not of it is told of first.
func inTheWay(p *pass, nodes []pool.Standing) []pool.Standing {
	if p.works == "" || foreign(nodes) {
		return nodes
	}
	nodes = slices.Clone(nodes)
	for i := range nodes {
		nodes[i].Foreign = nodes[i].Own
	}
	return nodes
}

// foreign says whether pods run on nodes that are not of the pool's Workspace.
func foreign(nodes []pool.Standing) bool {
	return slices.ContainsFunc(nodes, func(n pool.Standing) bool { return len(n.Foreign) > 0 })
}

// blocked says whose pods are in the way.
func blocked(p *pass, nodes []pool.Standing, pods []string) pool.Decision {
	if p.works != "" && !foreign(nodes) {
		return pool.AtWork(p.facts, p.decision, p.works, pods)
	}
	return pool.Blocked(p.facts, p.decision, pods)
}

// forced says whether a person asked for the nodes to go whatever runs on them.
func forced(p *v1alpha1.GPUNodePool) bool {
	return p.DeletionTimestamp != nil && p.UID != "" && p.Annotations[repolayout.AnnotationForceDelete] == string(p.UID)
}

// standing is what the API server knows of nodes and their pods now.
func (r *Reconciler) standing(ctx context.Context, p *pass, nodes []corev1.Node) ([]pool.Standing, error) {
	out := make([]pool.Standing, len(nodes))
	for i := range nodes {
		n := &nodes[i]
		s := pool.Standing{Name: n.Name, Ready: pool.NodeOf(n).Ready, Cordoned: n.Spec.Unschedulable, Ours: cordonedFor(n, p.pool)}
		s.Since, _ = time.Parse(time.RFC3339, n.Annotations[repolayout.AnnotationCordonedAt]) // unreadable: long ago
		var pods corev1.PodList
		if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: n.Name}); err != nil {
			return nil, fmt.Errorf("listing the pods of node %s: %w", n.Name, err)
		}
		for k := range pods.Items {
			pod := &pods.Items[k]
			if !pool.Works(pod) {
				continue
			}
			s.Pods = append(s.Pods, r.named(p, pod))
			switch {
			case pool.Foreign(pod, p.pool.Namespace, workspaceOf(p.pool), repolayout.LabelWorkspace):
				s.Foreign = append(s.Foreign, r.named(p, pod))
			case !pool.Stuck(pod, p.now):
				s.Own = append(s.Own, r.named(p, pod))
			}
		}
		out[i] = s
	}
	return out, nil
}

// otherNamespaces stands for pods that a message may not name.
const otherNamespaces = "pods of other namespaces"

// named names a pod in a message of a pool's object, which its own namespace reads.
func (r *Reconciler) named(p *pass, pod *corev1.Pod) string {
	if r.Deps.NamesWithin && pod.Namespace != p.pool.Namespace {
		return otherNamespaces
	}
	return pod.Namespace + "/" + pod.Name
}

func cordonedFor(n *corev1.Node, p *v1alpha1.GPUNodePool) bool {
	return n.Spec.Unschedulable && p.UID != "" && n.Annotations[repolayout.AnnotationCordonedFor] == string(p.UID)
}

// cordon cordons and uncordons nodes as a clearing says.
func (r *Reconciler) cordon(ctx context.Context, p *v1alpha1.GPUNodePool, nodes []corev1.Node, c pool.Clearing) error {
	for i := range nodes {
		n := &nodes[i]
		var patch []byte
		var err error
		switch {
		case slices.Contains(c.Cordon, n.Name):
			patch, err = cordoning(true, string(p.UID), r.Deps.Clock().UTC().Format(time.RFC3339))
		case slices.Contains(c.Uncordon, n.Name):
			patch, err = cordoning(nil, nil, nil)
		default:
			continue
		}
		if err != nil {
			return fmt.Errorf("writing a patch of node %s: %w", n.Name, err)
		}
		err = r.Client.Patch(ctx, n, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(repolayout.FieldManager))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("cordoning node %s: %w", n.Name, err)
		}
	}
	return nil
}

// cordoning is a merge patch of what is ours of a node, and of nothing else; nil removes.
// It is no difference of two copies: the caches leave out what others noted, and where ours
// are the last that they know of, the difference is that a node has no annotations at all.
func cordoning(unschedulable, whose, since any) ([]byte, error) {
	annotations := map[string]any{repolayout.AnnotationCordonedFor: whose, repolayout.AnnotationCordonedAt: since}
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"annotations": annotations},
		"spec":     map[string]any{"unschedulable": unschedulable},
	})
}

// restore gives nodes back that were cordoned for something that is no longer
// wanted: the spec asks for as many nodes as there are, and nothing is under way.
func (r *Reconciler) restore(ctx context.Context, p *pass) error {
	seen, d := p.facts.Seen, p.decision
	settled := seen.Exists && seen.Owned && seen.State == pool.StateSucceeded && len(d.Removing) == 0
	if d.Shrinks || !settled || p.pool.DeletionTimestamp != nil || d.Phase == v1alpha1.PhaseCleaning {
		return nil
	}
	var c pool.Clearing
	for i := range p.nodes {
		if cordonedFor(&p.nodes[i], p.pool) {
			c.Uncordon = append(c.Uncordon, p.nodes[i].Name)
		}
	}
	return r.cordon(ctx, p.pool, p.nodes, c)
}

// hold says whether the deletion of the object has to wait for its users, or for
// a person who says that so many deletions at once are meant.
func (r *Reconciler) hold(ctx context.Context, p *pass) (bool, error) {
	if p.pool.DeletionTimestamp == nil {
		return false, nil
	}
	var workspaces v1alpha1.WorkspaceList
	if err := r.Live.List(ctx, &workspaces); err != nil {
		return false, fmt.Errorf("listing Workspaces: %w", err)
	}
	at := p.pool.DeletionTimestamp.Time
	meant := pool.Approved(p.pool.Annotations[repolayout.AnnotationApproveDeletion], at)
	held := pool.WasHeld(p.pool) && !meant && !explained(p.pool, workspaces.Items)
	if users := usersOf(p.pool, workspaces.Items, finished); len(users) > 0 && !held { // else the breaker would forget
		p.decision = pool.InUse(p.facts, p.decision, users)
		return true, nil
	}
	var pools v1alpha1.GPUNodePoolList
	if err := r.Live.List(ctx, &pools); err != nil {
		return false, fmt.Errorf("listing GPUNodePools: %w", err)
	}
	p.judged = true
	if explained(p.pool, workspaces.Items) {
		return false, nil
	}
	p.works = atWork(p.pool, workspaces.Items)
	mass := fleetOf(pools.Items, workspaces.Items).MassOf(pool.Doomed{At: at})
	if mass == nil && !held || meant {
		return false, nil
	}
	p.decision = pool.Held(p.facts, p.decision, mass, repolayout.AnnotationApproveDeletion)
	return true, nil
}

// usersOf names the Workspaces that name a pool, other than those that are
// suspended or past using it.
func usersOf(p *v1alpha1.GPUNodePool, workspaces []v1alpha1.Workspace, past func(*v1alpha1.Workspace) bool) []string {
	var users []string
	for i := range workspaces {
		w := &workspaces[i]
		if w.Namespace == p.Namespace && w.Spec.Resource.NodePool == p.Name && !w.Spec.Suspend && !past(w) {
			users = append(users, w.Namespace+"/"+w.Name)
		}
	}
	return users
}

// finished says whether a tuning run has done its work.
func finished(w *v1alpha1.Workspace) bool {
	return slices.ContainsFunc(w.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionTuningSucceeded && c.Status == metav1.ConditionTrue
	})
}

// fleetOf is the pools that nodes are bought for, and those that are deleted.
func fleetOf(pools []v1alpha1.GPUNodePool, workspaces []v1alpha1.Workspace) pool.Fleet {
	var fleet pool.Fleet
	for i := range pools {
		p := &pools[i]
		if p.Spec.Provider == v1alpha1.ProviderExisting {
			continue
		}
		fleet.All++
		if p.DeletionTimestamp != nil {
			fleet.Doomed = append(fleet.Doomed, pool.Doomed{At: p.DeletionTimestamp.Time, Explained: explained(p, workspaces)})
		}
	}
	return fleet
}
