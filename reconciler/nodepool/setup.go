// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/reconciler/trace"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Fields that pools are indexed by.
const (
	fieldLabel   = "espalier.poolLabel" // the value of LabelPool on the nodes of a pool that is bought
	fieldSelects = "espalier.selects"   // one label of the nodes of a pool that exist, as key=value
)

// Backoff where only the cloud's own trouble can be waited for.
const (
	backoffMin = 5 * time.Second
	backoffMax = 5 * time.Minute
)

// SetupWithManager adds the controller to a manager.
func SetupWithManager(mgr ctrl.Manager, deps Deps) error {
	r, err := New(mgr.GetClient(), mgr.GetAPIReader(), deps)
	if err != nil {
		return err
	}
	for field, index := range map[string]client.IndexerFunc{fieldLabel: poolLabel, fieldSelects: selects} {
		if err := slim.Index(context.Background(), mgr.GetCache(), &v1alpha1.GPUNodePool{}, field, slim.Everywhere, index); err != nil {
			return err
		}
	}
	workers := r.Deps.Workers
	if workers == 0 {
		workers = 8 // a create blocks its worker for about 8 s
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("gpunodepool").
		For(&v1alpha1.GPUNodePool{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.poolsOf), builder.WithPredicates(nodeChanged())).
		Watches(&v1alpha1.Workspace{}, handler.EnqueueRequestsFromMapFunc(poolUsed), builder.WithPredicates(useChanged())).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             backoff(),
		})
	if err := r.watchKarpenter(mgr, b); err != nil {
		return err
	}
	return b.Complete(trace.Passes("GPUNodePool", r))
}

// apart lets no two pools that fail together come back together.
type apart struct {
	workqueue.TypedRateLimiter[reconcile.Request]
}

// When is how long a pool that failed rests.
func (a apart) When(r reconcile.Request) time.Duration {
	return pool.Later(r.String(), a.TypedRateLimiter.When(r))
}

func backoff() workqueue.TypedRateLimiter[reconcile.Request] {
	return apart{workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffMin, backoffMax)}
}

// watchKarpenter watches what Karpenter says of our NodeClaims and NodePools.
// Where its kinds come later, pools under way are looked at by polling, and the
// watch begins with the next start of the controller.
func (r *Reconciler) watchKarpenter(mgr ctrl.Manager, b *builder.Builder) error {
	if r.Deps.Providers[v1alpha1.ProviderKarpenter] == nil {
		return nil
	}
	for _, kind := range []schema.GroupKind{karpenter.NodeClaim, karpenter.NodePool} {
		mapping, err := mgr.GetRESTMapper().RESTMapping(kind)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for kind %s: %w", kind, err)
		}
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(mapping.GroupVersionKind)
		b.Watches(o, handler.EnqueueRequestsFromMapFunc(r.poolsOf))
	}
	return nil
}

// poolLabel is what the nodes of a pool are labelled with.
func poolLabel(o client.Object) []string {
	if isExisting(o) {
		return nil // Espalier gives such nodes no label
	}
	return []string{repolayout.PoolLabelValue(o.GetNamespace(), o.GetName())}
}

func isExisting(o client.Object) bool {
	p, ok := o.(*v1alpha1.GPUNodePool)
	return ok && p.Spec.Provider == v1alpha1.ProviderExisting
}

// selects is one label that all nodes of a pool have, where they exist without us: a node is
// asked by its own labels which pools may select it. There are thousands of pools.
func selects(o client.Object) []string {
	if p, ok := o.(*v1alpha1.GPUNodePool); ok && isExisting(o) {
		for _, key := range slices.Sorted(maps.Keys(p.Spec.NodeLabels)) {
			return []string{labelled(key, p.Spec.NodeLabels[key])}
		}
	}
	return nil
}

func labelled(key, value string) string { return key + "=" + value }

// New returns a Reconciler with the defaults of Deps filled in.
func New(cached client.Client, live client.Reader, deps Deps) (*Reconciler, error) {
	if deps.Installation == "" {
		return nil, errors.New("an installation id is required: it tells our node pools from those of others")
	}
	if deps.Clock == nil {
		deps.Clock = time.Now
	}
	if deps.PollInterval == 0 {
		deps.PollInterval = defaultPoll
	}
	if deps.IdleInterval == 0 {
		deps.IdleInterval = defaultIdle
	}
	if deps.Sizes == nil {
		deps.Sizes = Sizes
	}
	if deps.HourlyUSD == nil {
		deps.HourlyUSD = hourly(deps.Region)
	}
	return &Reconciler{Client: cached, Live: live, Deps: deps}, nil
}

// poolsOf names the pools that a node may belong to.
func (r *Reconciler) poolsOf(ctx context.Context, o client.Object) []reconcile.Request {
	var found v1alpha1.GPUNodePoolList
	if value := o.GetLabels()[repolayout.LabelPool]; value != "" {
		// A cache that cannot be read is not running: there is nobody to tell.
		_ = r.Client.List(ctx, &found, client.MatchingFields{fieldLabel: value})
	}
	for key, value := range o.GetLabels() {
		var external v1alpha1.GPUNodePoolList
		_ = r.Client.List(ctx, &external, client.MatchingFields{fieldSelects: labelled(key, value)}, client.UnsafeDisableDeepCopy) // nobody changes them
		for _, p := range external.Items {
			if labels.SelectorFromSet(p.Spec.NodeLabels).Matches(labels.Set(o.GetLabels())) {
				found.Items = append(found.Items, p)
			}
		}
	}
	var out []reconcile.Request
	for i := range found.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&found.Items[i])})
	}
	return out
}

// nodeChanged lets through what can change a decision; a node's heartbeat, every
// few seconds for every node, cannot.
func nodeChanged() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*corev1.Node)
		after, okAfter := e.ObjectNew.(*corev1.Node)
		if !okBefore || !okAfter {
			return true
		}
		gone := (before.DeletionTimestamp == nil) != (after.DeletionTimestamp == nil)
		return gone || pool.NodeOf(before) != pool.NodeOf(after) || !maps.Equal(before.Labels, after.Labels) ||
			pool.SlicesOf(before) != pool.SlicesOf(after)
	}}
}
