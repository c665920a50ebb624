// SPDX-License-Identifier: Apache-2.0

// Package workspace turns a Workspace into its children: it sizes the task,
// refuses what cannot work before anything is paid, renders, asks for the GPU
// nodes, starts the work when the GPUs can be used, watches it, and gives the
// nodes back when a tuning run is done.
//
// It never talks to a cloud or to Git, and one bad Workspace never holds up
// another.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/progress"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/reconciler/trace"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Backoff of a Workspace whose children cannot be written.
const (
	retryFirst = 500 * time.Millisecond
	retryMost  = 5 * time.Minute
	// behindAgain is when to look again where the cache had not heard of something yet.
	behindAgain = 50 * time.Millisecond
)

// Deps is what the controller works with.
type Deps struct {
	Client client.Client
	// Reader reads past the cache, which has no ConfigMap and no Secret whole.
	Reader client.Reader
	Events events.EventRecorder
	// Render is the settings of this installation.
	Render render.Options
	// Region prices are quoted for; "" is the cheapest known.
	Region string
	// StartLimit is how long nodes bought for a Workspace may wait for work that
	// does not start before they are given back; 0: for ever.
	StartLimit time.Duration
	// NamesWithin lets messages name no pods of other namespaces that hold GPUs.
	NamesWithin bool
	// Shard is the part of the Workspaces to act on; nil: all.
	Shard *shard.Shard
	// Accounts are as whom the children are written; nil: as the controller.
	Accounts *account.Clients
	// Inventories keeps what inventories were unpacked to; nil keeps nothing.
	Inventories *inventory.Memory
	// Progress is what trainers say while they train; nil: nobody listens.
	Progress *progress.Store
	// Registry is asked whether an adapter is published already; nil: nobody is.
	Registry Registry
	// Identity signs in to the registry of an image as the controller, for Workspaces
	// that push as a ServiceAccount; nil for one where it has no identity.
	Identity func(image string) authn.Keychain
	Clock    func() time.Time
}

// Reconciler reconciles Workspaces.
type Reconciler struct {
	Deps
	// keys are those that sign adapters, and whether they open. It only saves work.
	keys keyring
	// lacking are kinds that the cluster was found to lack, and when; namespaces those that
	// had none, or some, of a kind.
	lacking, namespaces sync.Map
	// known is what is known of each Workspace, and read the inputs that were read past the
	// cache. They only save requests.
	known knowledge
	read  readInputs
	// written are the Workspaces whose last write the cache may not have yet.
	written apply.Written
}

// New returns a Reconciler.
func New(d Deps) *Reconciler { return &Reconciler{Deps: d} }

// SetupWithManager registers the controller, its indexes and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := addIndexes(ctx, mgr); err != nil {
		return err
	}
	if err := mgr.Add(manager.RunnableFunc(r.dropMonitors)); err != nil {
		return fmt.Errorf("adding the removal of monitors: %w", err)
	}
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	b := ctrl.NewControllerManagedBy(mgr).
		Named("workspace").
		For(&v1alpha1.Workspace{}, builder.WithPredicates(predicate.Or(r.Shard.Predicate(asked), r.Shard.Left()))).
		Owns(&v1alpha1.GPUNodePool{}).
		Owns(&appsv1.Deployment{}).
		Owns(&appsv1.StatefulSet{}).
		Owns(&batchv1.Job{}).
		Watches(&v1alpha1.GPUNodePool{}, handler.EnqueueRequestsFromMapFunc(r.sharing)).
		Watches(&v1alpha1.RepoSync{}, handler.EnqueueRequestsFromMapFunc(r.actedFor), builder.WithPredicates(accountChanged)).
		Watches(&v1alpha1.Workspace{}, handler.EnqueueRequestsFromMapFunc(r.awaiting)).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.using(indexConfigMap))).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.using(indexSecret))).
		WatchesMetadata(&corev1.PersistentVolumeClaim{}, handler.EnqueueRequestsFromMapFunc(r.using(indexClaim))).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 8,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		})
	for _, child := range watchedByName {
		b = b.Owns(child, builder.OnlyMetadata, builder.WithPredicates(drift))
	}
	if r.Progress != nil {
		b = b.WatchesRawSource(source.TypedChannel(r.Progress.Wakes(), &handler.TypedEnqueueRequestForObject[*v1alpha1.Workspace]{}))
	}
	return b.Complete(trace.Passes("Workspace", r))
}

// +kubebuilder:rbac:groups=espalier.dev,resources=workspaces,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=workspaces/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=workspaces/finalizers,verbs=update
// +kubebuilder:rbac:groups=espalier.dev,resources=gpunodepools,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=apps,resources=deployments;statefulsets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;create;delete
// +kubebuilder:rbac:groups=autoscaling,resources=horizontalpodautoscalers,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=keda.sh,resources=scaledobjects,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=monitoring.coreos.com,resources=servicemonitors,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=monitoring.coreos.com,resources=podmonitors,verbs=list;delete
// +kubebuilder:rbac:groups=gateway.networking.k8s.io,resources=httproutes,verbs=get;create;update;patch;delete
// +kubebuilder:rbac:groups=inference.networking.k8s.io,resources=inferencepools,verbs=get;create;update;patch;delete
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups=batch,resources=jobs,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=services;persistentvolumeclaims;configmaps,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list
// +kubebuilder:rbac:groups="",resources=persistentvolumes;serviceaccounts,verbs=get
// +kubebuilder:rbac:groups=kueue.x-k8s.io,resources=localqueues,verbs=get
// +kubebuilder:rbac:groups=kueue.x-k8s.io,resources=workloads,verbs=get;list

// Reconcile makes one pass over a Workspace.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ws := &v1alpha1.Workspace{}
	if err := r.Client.Get(ctx, req.NamespacedName, ws); err != nil {
		r.dismiss(req.NamespacedName)
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if again, may := r.mayAct(ws); !may {
		return ctrl.Result{RequeueAfter: again}, nil
	}
	ctx, as, err := r.act(ctx, ws)
	if err != nil {
		return ctrl.Result{}, err
	}
	if !ws.DeletionTimestamp.IsZero() {
		before := ws.DeepCopy()
		err := r.finalize(ctx, ws)
		return r.finish(ctx, before, ws, err)
	}
	if err := r.ensureFinalizer(ctx, ws); err != nil {
		return ctrl.Result{}, err
	}
	before := ws.DeepCopy()
	p := &pass{ws: ws, as: as, kept: map[string]bool{}}
	cause := r.run(ctx, p)
	if errors.Is(cause, errInputMoved) {
		return ctrl.Result{RequeueAfter: behindAgain}, nil
	}
	p.denied(cause)
	if cause != nil && p.out.Workload == nil {
		// Whatever stopped the pass: what is done or suspended costs nothing on.
		p.alsoFailed(r.windDown(ctx, p))
	}
	p.alsoFailed(r.limitStart(ctx, p, p.with(cause)))
	p.account(r.Clock())
	p.conclude(p.with(cause))
	result, err := r.finish(ctx, before, ws, cause)
	if err == nil {
		err = again(p.also)
	}
	if err == nil {
		p.lookAfter(result.RequeueAfter)
		result.RequeueAfter = p.after
		return result, nil
	}
	return ctrl.Result{}, err
}

// alsoFailed notes what went wrong beside what has stopped the pass, so that what that says of
// trying again is not said of this.
func (p *pass) alsoFailed(err error) {
	if err != nil {
		p.also = append(p.also, err)
	}
}

// with is all that went wrong in a pass.
func (p *pass) with(cause error) error {
	return errors.Join(append([]error{cause}, p.also...)...)
}

// again are those of some errors that trying again can cure, each by itself: in a joined
// one the first to say so would speak for all.
func again(errs []error) error {
	return errors.Join(slices.DeleteFunc(slices.Clone(errs), func(err error) bool {
		_, waits := fault.AsWaiting(err)
		return waits || fault.IsTerminal(err)
	})...)
}

// mayAct says whether a pass may be made over a Workspace as the cache has it, and else
// when to look again; 0: its watch tells.
func (r *Reconciler) mayAct(ws *v1alpha1.Workspace) (again time.Duration, may bool) {
	switch {
	case !r.Shard.Has(ws):
		r.dismiss(client.ObjectKeyFromObject(ws))
		return 0, false
	case r.written.Behind(ws, r.Clock()):
		return behindAgain, false
	}
	return 0, true
}

// run goes through the steps and stops at the first that errs.
func (r *Reconciler) run(ctx context.Context, p *pass) error {
	for _, s := range []struct {
		name string
		do   func(context.Context, *pass) error
	}{
		{"children", r.children},   // read what is there
		{"inputs", r.inputs},       // read the ConfigMaps, see that the Secrets are there
		{"size", r.size},           // refuse what cannot fit, cannot be had or is over budget
		{"render", r.render},       // Kustomize into objects; no cluster access
		{"budget", r.budget},       // stop a run that has spent what it may
		{"access", r.access},       // all rights are there, or nothing is written or bought
		{"keep", r.keep},           // pods that run for the same inputs stay as they are
		{"resume", r.resume},       // leave alone what did not start, until something changes
		{"published", r.published}, // run nothing whose adapter the registry holds
		{"signable", r.signable},   // and nothing whose adapter could not be signed
		{"adapters", r.adapters},   // wait for what another Workspace trains
		{"enqueue", r.enqueue},     // let a queue decide when the nodes are bought
		{"provide", r.provide},     // ask for the GPU nodes
		{"work", r.work},           // start the Job or Deployment once the GPUs can be used
		{"observe", r.observe},     // read back how far it is
		{"release", r.release},     // a finished run gives its nodes back
		{"expose", r.expose},       // publish a service through the Gateways that are named
	} {
		if err := trace.Step(ctx, s.name, func(ctx context.Context) error { return s.do(ctx, p) }); err != nil {
			return err
		}
	}
	return nil
}

// finish makes the one status write of a pass and says when to look again.
func (r *Reconciler) finish(ctx context.Context, before, ws *v1alpha1.Workspace, err error) (ctrl.Result, error) {
	if !equality.Semantic.DeepEqual(before.Status, ws.Status) {
		patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
		switch patchErr := r.Client.Status().Patch(ctx, ws, patch); {
		case apierrors.IsConflict(patchErr), apierrors.IsNotFound(patchErr):
			return ctrl.Result{RequeueAfter: retryFirst}, nil
		case patchErr != nil:
			return ctrl.Result{}, fmt.Errorf("writing the status of Workspace %s/%s: %w", ws.Namespace, ws.Name, patchErr)
		}
		r.written.Note(ws, r.Clock())
		r.announce(before, ws)
	}
	if waiting, ok := fault.AsWaiting(err); ok {
		return ctrl.Result{RequeueAfter: waiting.After}, nil
	}
	if fault.IsTerminal(err) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, err
}
