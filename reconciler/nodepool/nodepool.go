// SPDX-License-Identifier: Apache-2.0

// Package nodepool is the controller of GPUNodePools: it gathers facts (the
// object, what the provider observes, the nodes), lets gpu/pool decide, carries
// out at most one mutation, and writes the status once.
//
// It decides nothing about machines or money itself, never acts on a cached
// object, never deletes nodes that foreign pods run on, and lets an object go
// only after a live look found nothing of it in the cloud.
package nodepool

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/trace"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Deps are what the controller needs beside a cluster.
type Deps struct {
	Providers    map[v1alpha1.Provider]pool.Provider
	Installation string // id of this installation of Espalier, in the tags of what it creates
	Region       string // of the cluster, for prices; empty: the cheapest known
	Clock        func() time.Time
	PollInterval time.Duration // between looks while something is under way; 0: 15 s
	IdleInterval time.Duration // between looks when nothing is; 0: 2 min
	Sizes        pool.Catalog  // what an instance type promises; nil: gpu/sku
	// HourlyUSD is the list price of nodes as "0.526", empty where none is known;
	// nil: gpu/price.
	HourlyUSD func(c v1alpha1.Candidate, nodes int) string
	// LostAfter is how long a node that was bought may be not Ready before its machine
	// is replaced; 0: for ever.
	LostAfter time.Duration
	Workers   int                  // pools reconciled at a time; 0: 8
	Events    events.EventRecorder // nil: none are emitted
	Metrics   *Metrics             // nil: nothing is counted
	// NamesWithin lets messages name no pods of other namespaces, that hold GPUs or
	// are in the way of nodes that are to go.
	NamesWithin bool
}

// Intervals where Deps names none.
const (
	defaultPoll = 15 * time.Second
	defaultIdle = 2 * time.Minute
	// behindAgain is when to look again where the cache has not heard of the last write yet.
	behindAgain = 50 * time.Millisecond
)

// Reconciler reconciles GPUNodePools.
type Reconciler struct {
	Client client.Client // reads from the cache
	Live   client.Reader // reads from the API server: asked before every mutation
	Deps   Deps

	written apply.Written // the pools whose last write the cache may not have yet
	listed  nodePods      // of nodes that exist, a moment ago
}

// pass is what one reconcile has learnt so far. Steps fill it from left to right.
type pass struct {
	now      time.Time
	pool     *v1alpha1.GPUNodePool
	provider pool.Provider
	nodes    []corev1.Node // of the pool, as the cache knows them
	facts    pool.Facts
	unseen   *pool.Failure // why the provider could not observe
	decision pool.Decision
	works    string // namespace/name of the Workspace that goes on working on nodes that are deleted; empty: there is none
	judged   bool   // it was asked whether the deletion is held
	stale    bool   // the cache is behind: begin again
	retry    error  // for the backoff of the queue
}

type step struct {
	name string
	run  func(context.Context, *pass) error
}

func (r *Reconciler) steps() []step {
	return []step{
		{"claiming the finalizer", r.finalizer}, // before the first mutation, so that nothing can leak
		{"observing", r.observe},                // the provider, then the nodes
		{"deciding", r.decide},                  // gpu/pool, pure
		{"acting", r.act},                       // at most one mutation, after live looks
		{"writing the status", r.write},         // once; or let the object go
	}
}

// +kubebuilder:rbac:groups=espalier.dev,resources=gpunodepools,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=gpunodepools/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=gpunodepools/finalizers,verbs=update
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups=espalier.dev,resources=workspaces,verbs=get;list;watch

// Reconcile brings one pool a step further.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	p := &pass{now: r.Deps.Clock(), pool: &v1alpha1.GPUNodePool{}}
	if err := r.Client.Get(ctx, req.NamespacedName, p.pool); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if p.pool.DeletionTimestamp != nil && !controllerutil.ContainsFinalizer(p.pool, repolayout.Finalizer) {
		return ctrl.Result{}, nil
	}
	if r.written.Behind(p.pool, p.now) {
		return ctrl.Result{RequeueAfter: behindAgain}, nil
	}
	for _, s := range r.steps() {
		err := trace.Step(ctx, s.name, func(ctx context.Context) error { return s.run(ctx, p) })
		switch {
		case apierrors.IsConflict(err) || p.stale:
			return ctrl.Result{RequeueAfter: pool.Soon}, nil
		case apierrors.IsNotFound(err):
			return ctrl.Result{}, nil // the object went meanwhile
		case err != nil:
			return ctrl.Result{}, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if p.retry != nil {
		return ctrl.Result{}, p.retry
	}
	return ctrl.Result{RequeueAfter: p.decision.Wait}, nil
}

// finalizer puts ours on the object.
func (r *Reconciler) finalizer(ctx context.Context, p *pass) error {
	if p.pool.DeletionTimestamp != nil {
		return nil
	}
	before := p.pool.DeepCopy()
	if !controllerutil.AddFinalizer(p.pool, repolayout.Finalizer) {
		return nil
	}
	return r.Client.Patch(ctx, p.pool, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(repolayout.FieldManager))
}

// observe asks the provider and reads the nodes. What a shared, slightly old
// list does not show is looked for live before anything is concluded from it.
func (r *Reconciler) observe(ctx context.Context, p *pass) error {
	p.facts = pool.Facts{
		Now: p.now, Installation: r.Deps.Installation, Pool: p.pool, Catalog: r.Deps.Sizes,
		Poll: r.Deps.PollInterval, Idle: r.Deps.IdleInterval, LostAfter: r.Deps.LostAfter,
	}
	p.provider = r.Deps.Providers[p.pool.Spec.Provider]
	if p.provider == nil {
		p.unseen = &pool.Failure{Class: pool.ClassUnsupported, Text: fmt.Sprintf("this controller was started without the provider %s", p.pool.Spec.Provider)}
		return nil
	}
	if err := r.countUsers(ctx, p); err != nil {
		return err
	}
	seen, err := r.look(ctx, p)
	if err != nil {
		p.unseen, p.retry = understand(err), err
		return nil
	}
	p.facts.Seen = seen
	nodes, err := list(ctx, r.Client, seen.NodeSelector)
	p.nodes = nodes
	for i := range nodes {
		p.facts.Nodes = append(p.facts.Nodes, pool.NodeWith(&nodes[i], corev1.ResourceName(p.pool.Spec.GPUResource())))
	}
	if err != nil {
		return err
	}
	if err := r.census(ctx, p); err != nil {
		return err
	}
	r.forecast(ctx, p)
	if seen.External {
		return r.whoHolds(ctx, p)
	}
	return r.explain(ctx, p)
}

// look asks the provider for the pool, as freshly as its phase needs.
func (r *Reconciler) look(ctx context.Context, p *pass) (pool.Observation, error) {
	st := p.pool.Status
	t := target(p.pool, r.Deps.Installation, st.PoolName, pool.Ordered(st.Candidate), attempt(st.Candidate))
	t.MaxAge, t.Waiting = r.Deps.PollInterval, p.facts.Waiting
	if st.Phase == v1alpha1.PhaseReady || st.Phase == v1alpha1.PhaseIdle {
		t.MaxAge = r.Deps.IdleInterval
	}
	if st.Phase == v1alpha1.PhaseIdle && p.facts.Users == 0 {
		t.Replicas = 0
	}
	if t.Orphan {
		t.MaxAge = 0 // what is let go is not seen again
	}
	seen, err := p.provider.Observe(ctx, t)
	leaving := p.pool.DeletionTimestamp != nil
	known := st.PoolName != "" && st.Phase != v1alpha1.PhaseClaiming
	if err == nil && !seen.Exists && !seen.Fresh && (leaving || known) {
		t.MaxAge = 0
		return p.provider.Observe(ctx, t)
	}
	return seen, err
}

// explain looks on the first node that is Ready and offers no GPU for the pods
// that should make it offer some: one request, while GPUs are waited for.
func (r *Reconciler) explain(ctx context.Context, p *pass) error {
	for i, n := range p.facts.Nodes {
		if !n.Ready || n.Offered > 0 {
			continue
		}
		var pods corev1.PodList
		if err := r.Live.List(ctx, &pods, client.MatchingFields{FieldNodeName: n.Name}); err != nil {
			return fmt.Errorf("listing the pods of node %s: %w", n.Name, err)
		}
		var err error
		p.facts.Nodes[i].Plugin, err = r.plugin(ctx, &p.nodes[i], pods.Items, p.pool.Spec.OwnDriver())
		return err
	}
	return nil
}

// plugin says what is the matter with the device plugin of a node, by the pods on it and,
// where none of them is one, by the other nodes, which are in the cache.
func (r *Reconciler) plugin(ctx context.Context, n *corev1.Node, pods []corev1.Pod, bare bool) (string, error) {
	if why := pool.PluginOf(pods, bare); why != "" {
		return why, nil
	}
	var nodes corev1.NodeList
	if err := r.Client.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return "", fmt.Errorf("listing the nodes of the cluster: %w", err)
	}
	return pool.WithoutPlugin(n, nodes.Items), nil
}

// list reads the nodes that a selector selects; an empty one selects none.
func list(ctx context.Context, from client.Reader, selector map[string]string) ([]corev1.Node, error) {
	if len(selector) == 0 {
		return nil, nil
	}
	var nodes corev1.NodeList
	if err := from.List(ctx, &nodes, client.MatchingLabels(selector)); err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	return nodes.Items, nil
}

// decide lets gpu/pool judge.
func (r *Reconciler) decide(_ context.Context, p *pass) error {
	if p.unseen == nil {
		p.decision = pool.Decide(p.facts)
		return nil
	}
	if p.provider == nil && p.pool.DeletionTimestamp != nil && p.pool.Status.Candidate == nil {
		p.decision = pool.Decision{Gone: true} // nothing was ever asked for
		return nil
	}
	p.settleFailure(pool.Unseen(p.facts), p.unseen)
	return nil
}

// settleFailure turns a failure into a decision; the queue's backoff paces the
// next try only where nothing else does.
func (p *pass) settleFailure(d pool.Decision, why *pool.Failure) {
	var backoff bool
	p.decision, backoff = pool.Failed(p.facts, d, why)
	if !backoff {
		p.retry = nil
	}
}

// understand is the failure that an error is or wraps; what no provider
// understood is transient.
func understand(err error) *pool.Failure {
	var known *pool.Failure
	if errors.As(err, &known) {
		return known
	}
	return &pool.Failure{Class: pool.ClassTransient, Text: err.Error()}
}

// target is an attempt at a pool, as the provider needs it.
func target(p *v1alpha1.GPUNodePool, installation, name string, c v1alpha1.Candidate, attempt int32) pool.Target {
	return pool.Target{
		Namespace: p.Namespace, Name: p.Name, UID: string(p.UID), Installation: installation,
		PoolName: name, Attempt: attempt, Candidate: c, Replicas: p.DesiredReplicas(),
		NodeLabels: p.Spec.NodeLabels, NodeClass: nodeClass(p.Spec.Karpenter), OSDiskSizeGiB: p.Spec.OSDiskSizeGiB, AKS: p.Spec.AKS, Deleting: !p.DeletionTimestamp.IsZero(),
		Candidates: p.Spec.Candidates, Karpenter: p.Spec.Karpenter, ByPods: p.Spec.ByKarpenter(),
		Orphan: !p.DeletionTimestamp.IsZero() && p.Spec.DeletionPolicy == v1alpha1.Orphan,
	}
}

func nodeClass(k *v1alpha1.KarpenterSpec) *v1alpha1.NodeClassReference {
	if k == nil {
		return nil
	}
	return k.NodeClassRef
}

func attempt(c *v1alpha1.CandidateStatus) int32 {
	if c == nil {
		return 0
	}
	return c.Attempt
}

// workspaceOf names the Workspace that owns a pool; empty: it is shared.
func workspaceOf(p *v1alpha1.GPUNodePool) string {
	if owner := metav1.GetControllerOf(p); owner != nil && owner.Kind == "Workspace" {
		return owner.Name
	}
	return ""
}
