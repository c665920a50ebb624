// SPDX-License-Identifier: Apache-2.0

// Package reposync keeps a cluster as a path of a Git repository says: it reads
// the commit, builds the user's tree, applies the inputs and the Workspaces,
// prunes what Git dropped, and writes readiness back.
//
// It never sizes, never renders, and never asks a cloud: those are the
// Workspace's and the GPUNodePool's controllers.
package reposync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/jitter"
	"github.com/espalier-dev/espalier/reconciler/keyvault"
	"github.com/espalier-dev/espalier/reconciler/lease"
	"github.com/espalier-dev/espalier/reconciler/remote"
	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/reconciler/spoke"
	"github.com/espalier-dev/espalier/reconciler/trace"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Backoff of a RepoSync whose source cannot be reached.
const (
	retryFirst = time.Second
	retryMost  = 5 * time.Minute
)

// Deps is what the controller works with.
type Deps struct {
	Client client.Client
	// Reader reads past the cache: Secrets are never cached.
	Reader client.Reader
	Events events.EventRecorder
	Source *source.Store
	// Builds keeps what units were built to, for all RepoSyncs together; nil
	// keeps nothing.
	Builds *build.Cache
	// Cluster is the --cluster-name, "" when not given: then nothing is reported.
	Cluster string
	// Installation tells this cluster from another of the same name.
	Installation string
	// TargetNamespaces are the --allow-target-namespace values: where RepoSyncs of
	// other namespaces may write, beside their own. A RepoSync may act with the
	// controller's rights, so nobody else may choose them.
	TargetNamespaces []string
	// Branches are what reports are written to, each by one process at a time; nil: this
	// process is the only one.
	Branches *lease.Holder
	// Shard is the part of the RepoSyncs to act on; nil: all.
	Shard *shard.Shard
	// Jitter is by how much intervals are made longer or shorter.
	Jitter jitter.Percent
	// NoCrossNamespaceRefs is --no-cross-namespace-refs: a RepoSync may name only
	// RepoSyncs of its own namespace.
	NoCrossNamespaceRefs bool
	// Inventories keeps what inventories were unpacked to, for all controllers together;
	// nil keeps nothing.
	Inventories *inventory.Memory
	// Accounts are as whom RepoSyncs write; nil: as the controller, all of them.
	Accounts *account.Clients
	// Remotes are the clusters of spec.kubeConfig; nil where no RepoSync has one.
	Remotes *remote.Clusters
	// Vaults opens what is encrypted for Azure Key Vault; nil: nobody asks one.
	Vaults *keyvault.Client
	Clock  func() time.Time
}

// Reconciler reconciles RepoSyncs.
type Reconciler struct {
	Deps
	kept  sync.Map // types.UID → *kept
	asked sync.Map // types.UID → true: somebody wants the source looked at
	hook  chan event.GenericEvent
	held  cache.Informers // of this cluster; nil: only Client has them
	turns turns           // of those who write to a branch, by repository and branch

	stirred stirring // what may not be as Git says it
	took    sync.Map // types.NamespacedName → time.Duration of the last pass
}

// kept is what a RepoSync's last pass learnt. It is a cache: without it, the
// next pass reads the source and applies everything once more.
type kept struct {
	of         types.NamespacedName
	generation int64
	lookedAt   time.Time
	spread     jitter.Spread  // of the interval since
	handled    string         // the annotation that was looked for last
	away       away           // why it could not be read
	raw        *source.Commit // as it was read last
	commit     *source.Commit
	judged     *judgement // of the commit that was read last
	built      built
	assembled  assembled
	marking    sync.Mutex            // of applied, while objects are applied beside each other
	cluster    string                // that what follows is of
	applied    map[string]apply.Mark // by inventory ID, as of our last apply
	allowed    permission            // that was found in order, and is not asked for again
	writes     atomic.Int64          // so far
	wrote      atomic.Int64          // when last, in Unix seconds
	settled    settled               // what the last pass found all there of
	compared   compared              // what passes have compared, all of it
	going      []types.UID           // of what Git dropped, until it is gone
	denied     []string              // IDs of strays that may not be deleted, said once
	taken      map[string]bool       // IDs of what the end of the RepoSync has deleted
	told       spoke.Memory          // of what pull requests are told of another cluster
	files      report.Memory         // of the report
	book       report.Book           // of the last report that was written
	reported   string                // digest of the files last written, and where
	place      string                // where that is, as a person would say it
	lease      string                // of the branch that is written to
	pace       pace                  // of the commits that are made of them
}

// New returns a Reconciler.
func New(d Deps) *Reconciler {
	return &Reconciler{Deps: d, hook: make(chan event.GenericEvent, 64)}
}

// SetupWithManager registers the controller and its watches.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := errors.Join(addSecretIndex(ctx, mgr), r.addReportIndex(ctx, mgr), addDependencyIndex(ctx, mgr)); err != nil {
		return err
	}
	r.held = mgr.GetCache()
	asked := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
	b := ctrl.NewControllerManagedBy(mgr).
		Named("reposync").
		For(&v1alpha1.RepoSync{}, builder.WithPredicates(predicate.Or(r.Shard.Predicate(asked), r.Shard.Left()))).
		Watches(&v1alpha1.Workspace{}, r.followed()).
		Watches(&v1alpha1.Workspace{}, handler.EnqueueRequestsFromMapFunc(r.reportedBy)).
		Watches(&v1alpha1.RepoSync{}, handler.EnqueueRequestsFromMapFunc(r.dependents), builder.WithPredicates(matters)).
		Watches(&v1alpha1.GPUNodePool{}, r.followed()).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.stir), builder.WithPredicates(drift)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.stir), builder.WithPredicates(drift)).
		WatchesMetadata(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.naming(indexSecret)), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesMetadata(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.naming(indexConfig)), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{})).
		WatchesRawSource(crsource.Channel(r.hook, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: 4,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		})
	if r.Remotes != nil {
		b = b.WatchesRawSource(crsource.TypedChannel(r.Remotes.News(), r.heard()))
	}
	if err := errors.Join(r.watchFlux(ctx, mgr, b), r.watchKustomizations(mgr, b)); err != nil {
		return err
	}
	return b.Complete(trace.Passes("RepoSync", r))
}

// drift lets through what may be a change by hand of an input that was applied: its
// first sight is none.
var drift = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
	},
}

// syncOf maps an applied object to its RepoSync.
func syncOf(_ context.Context, o client.Object) []reconcile.Request {
	owner := place{}.ownerOf(o)
	if owner == (types.NamespacedName{}) {
		return nil
	}
	return []reconcile.Request{{NamespacedName: owner}}
}

// +kubebuilder:rbac:groups=espalier.dev,resources=reposyncs,verbs=get;list;watch;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=reposyncs/status,verbs=get;update;patch
// +kubebuilder:rbac:groups=espalier.dev,resources=reposyncs/finalizers,verbs=update
// +kubebuilder:rbac:groups=espalier.dev,resources=workspaces;gpunodepools,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps;secrets;persistentvolumeclaims,verbs=get;list;watch;create;update;patch;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

// Reconcile makes one pass over a RepoSync.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	obj := &v1alpha1.RepoSync{}
	err := r.Client.Get(ctx, req.NamespacedName, obj)
	if apierrors.IsNotFound(err) {
		r.dropGone(ctx, req.NamespacedName)
		return ctrl.Result{}, nil
	}
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading RepoSync %s: %w", req, err)
	}
	if !r.Shard.Has(obj) {
		r.drop(ctx, obj) // of when it was: it is another's now
		return ctrl.Result{}, nil
	}
	if !obj.DeletionTimestamp.IsZero() {
		return r.finalize(ctx, obj)
	}
	if added, err := r.ensureFinalizer(ctx, obj); err != nil || added {
		return ctrl.Result{}, err
	}
	began, before := r.Clock(), obj.DeepCopy()
	p := &pass{sync: obj, before: before, kept: r.recall(obj)}
	if obj.Spec.Suspend {
		p.suspend()
		return ctrl.Result{}, r.patchStatus(ctx, before, obj)
	}
	stepErr := r.runAs(ctx, p)
	if fault.IsTerminal(stepErr) {
		p.stopped = stepErr.Error()
	}
	trace.Revision(ctx, obj.Status.LastAttemptedRevision)
	reportErr := trace.Step(ctx, "report", func(ctx context.Context) error { return r.observeAndReport(ctx, p) })
	p.conclude(stepErr, reportErr)
	if err := r.patchStatus(ctx, before, obj); err != nil {
		return ctrl.Result{}, err
	}
	r.announce(before, obj, p)
	if p.settled {
		r.took.Store(req.NamespacedName, r.Clock().Sub(began))
	}
	return p.result(stepErr, reportErr, r.Clock())
}

// runAs runs the steps with the writes of whom the RepoSync acts as.
func (r *Reconciler) runAs(ctx context.Context, p *pass) error {
	if err := r.unpack(p.sync); err != nil {
		p.failed = v1alpha1.ConditionApplied
		return err
	}
	// Where it cannot be reached, what Git says is read and judged all the same.
	if p.unplaced = r.placed(ctx, p); p.unplaced != nil {
		return r.run(ctx, p)
	}
	p.as = p.at.accounts.Sync(p.sync)
	acting, err := p.at.accounts.As(ctx, p.as)
	if err != nil {
		p.failed = v1alpha1.ConditionApplied
		return err
	}
	return r.run(remote.Limited(acting), p)
}

// run goes through the steps and stops at the first that errs.
func (r *Reconciler) run(ctx context.Context, p *pass) error {
	if p.sync.ReportsOnly() {
		return r.runReport(ctx, p)
	}
	for _, s := range []struct {
		name      string
		condition string
		do        func(context.Context, *pass) error
	}{
		{"source", v1alpha1.ConditionSourceReady, r.source},                // read the commit
		{"build", v1alpha1.ConditionBuilt, r.build},                        // unit by unit; what fails, fails alone
		{"depend", v1alpha1.ConditionApplied, r.depend},                    // what comes first is Ready
		{"connect", v1alpha1.ConditionApplied, r.connect},                  // the cluster is there, and the same as ever
		{"access", v1alpha1.ConditionApplied, r.access},                    // all rights are there, or nothing is written
		{"settle", v1alpha1.ConditionApplied, r.settle},                    // whether there is anything to do about it
		{"foretell", v1alpha1.ConditionApplied, unlessSettled(r.foretell)}, // what is about to be there is known to be ours
		{"apply", v1alpha1.ConditionApplied, unlessSettled(r.apply)},       // inputs, then Workspaces
		{"prune", v1alpha1.ConditionApplied, unlessSettled(r.prune)},       // behind a guard
	} {
		if err := trace.Step(ctx, s.name, func(ctx context.Context) error { return s.do(ctx, p) }); err != nil {
			p.failed = s.condition
			return err
		}
	}
	return p.sourceAway()
}

func (r *Reconciler) recall(obj *v1alpha1.RepoSync) *kept {
	k, _ := r.kept.LoadOrStore(obj.UID, &kept{of: client.ObjectKeyFromObject(obj), applied: map[string]apply.Mark{}, spread: r.Jitter.Draw()})
	return k.(*kept)
}

// drop drops what is kept of a RepoSync, and gives its branch back.
func (r *Reconciler) drop(ctx context.Context, obj *v1alpha1.RepoSync) {
	r.dropKept(ctx, obj.UID)
	r.dropNamed(client.ObjectKeyFromObject(obj))
}

func (r *Reconciler) dropKept(ctx context.Context, of types.UID) {
	if k, ok := r.kept.LoadAndDelete(of); ok {
		r.Branches.Release(ctx, k.(*kept).lease)
	}
	r.asked.Delete(of)
	r.Remotes.Release(of)
}

// dropGone drops what is kept of a RepoSync that is gone: it may have gone past its
// finalizer.
func (r *Reconciler) dropGone(ctx context.Context, key types.NamespacedName) {
	r.kept.Range(func(of, k any) bool {
		if k.(*kept).of == key {
			r.dropKept(ctx, of.(types.UID))
		}
		return true
	})
	r.dropNamed(key)
}

// dropNamed drops what is kept by name, which may be one that no RepoSync has: anybody can
// write a label.
func (r *Reconciler) dropNamed(key types.NamespacedName) {
	r.stirred.take(key)
	r.took.Delete(key)
	r.Inventories.Forget(key)
}

// patchStatus is the one status write of a pass. A conflict means that the
// object has changed: its event brings the next pass.
func (r *Reconciler) patchStatus(ctx context.Context, before, after *v1alpha1.RepoSync) error {
	if err := r.Inventories.Pack(before, after); err != nil {
		return fmt.Errorf("writing the status of RepoSync %s/%s: %w", after.Namespace, after.Name, err)
	}
	if statusEqual(before, after) {
		return nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, after, patch)
	if apierrors.IsConflict(err) {
		r.again(after)
		return nil
	}
	if err != nil {
		return fmt.Errorf("writing the status of RepoSync %s/%s: %w", after.Namespace, after.Name, err)
	}
	return nil
}

// again asks for another pass without an error.
func (r *Reconciler) again(obj *v1alpha1.RepoSync) {
	select {
	case r.hook <- event.GenericEvent{Object: obj}:
	default: // the queue is full of the same question
	}
}

// announce emits an event for what changed, none when nothing did.
func (r *Reconciler) announce(before, after *v1alpha1.RepoSync, p *pass) {
	moved := before.Status.LastAppliedRevision != after.Status.LastAppliedRevision
	switch arrived := condition.Is(after, v1alpha1.ConditionReady); {
	case !after.ReportsOnly() && moved:
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, "Applied", "Apply", "Applied revision %s", after.Status.LastAppliedRevision)
	case after.ReportsOnly() && arrived && (moved || !condition.Is(before, v1alpha1.ConditionReady)):
		is := condition.Get(after, v1alpha1.ConditionReady)
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, is.Reason, v1alpha1.ConditionReady, "%s", is.Message)
	}
	if len(p.pruned) > 0 {
		r.Events.Eventf(after, nil, corev1.EventTypeNormal, "Pruned", "Prune", "Deleted what revision %s dropped: %s", after.Status.LastAttemptedRevision, joinIDs(p.pruned))
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionPruneHeld, v1alpha1.ConditionReported} {
		warnWhenNew(r.Events, before, after, kind)
	}
}
