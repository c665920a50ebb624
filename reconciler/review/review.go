// SPDX-License-Identifier: Apache-2.0

// Package review answers pull requests: it plans each head against the commit
// where it left the branch that a RepoSync follows, keeps one comment up to date,
// and sets commit statuses. It also says on the synced commit whether it is ready,
// and in the comment of a merged pull request what becomes of its Workspaces.
//
// It writes to the forge alone, and nothing to the cluster but events: it runs
// with an account that may read RepoSyncs, Workspaces and the Secrets that they name. What a
// pull request holds is read and judged by a Planner, out of its reach.
package review

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	crsource "sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/jitter"
	"github.com/espalier-dev/espalier/reconciler/trace"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Reasons of events.
const (
	ReasonReviewFailed   = "ReviewFailed"   // pull requests could not be answered
	ReasonReviewConflict = "ReviewConflict" // another RepoSync sets statuses of the same names
	// ReasonTooManyWorkspaces: those in another cluster do not fit into the status.
	ReasonTooManyWorkspaces = "TooManyWorkspaces"
)

// Deps is what the controller works with.
type Deps struct {
	Client client.Client
	// Reader reads past the cache: Secrets are never cached.
	Reader client.Reader
	Events events.EventRecorder
	// Connect makes a forge; forge.Connect.
	Connect func(forge.Settings) (*forge.Forge, error)
	Planner Planner
	Program Program
	// Cluster is the --cluster-name: comments are told apart by it.
	Cluster string
	// Quota names the ConfigMap with the quotas of the cloud; empty: plans say that
	// they are not checked.
	Quota types.NamespacedName
	// Jitter is by how much intervals are made longer or shorter.
	Jitter jitter.Percent
	Clock  func() time.Time
}

// Reconciler reconciles RepoSyncs with the pull requests to their branch.
type Reconciler struct {
	Deps
	kept  sync.Map // types.UID → *kept
	asked sync.Map // types.UID → true: somebody wants the forge looked at
	tuned sync.Map // types.NamespacedName → true: a run with a promotion has changed
	hook  chan event.GenericEvent

	inventories inventory.Memory
}

// kept is what is known of a RepoSync's forge. It is a cache: without it the
// forge is asked.
type kept struct {
	generation int64
	lookedAt   time.Time
	spread     jitter.Spread     // of the interval since
	triedAt    time.Time         // when it was last asked, however that went
	notBefore  time.Time         // when the forge wants to be asked again
	rest       backoff           // after a pass that failed
	rests      int64             // the generation that it was of
	failed     map[trial]backoff // of single pull requests
	problems   error             // of those in this pass
	answered   map[int64]subject // by number of the pull request
	unsaid     map[int64]*unsaid // by number too
	forge      *forge.Forge
	forgeKey   string // what forge was made of
	ready      string // what was last said of the synced commit

	heard     heard
	proposed  map[string]bool     // adapters that need no pull request any more, by branch
	following map[int64]*followed // merged pull requests, by number
	told      map[int64]bool      // of which nothing more is to be said
	followDue time.Duration       // when the next edit is due; 0: when something happens

	spoke elsewhere

	failure string // that an event was made of
	shares  string // the RepoSync that an event about the same statuses named
}

// AtOnce is how many heads are planned at once at most, by their RepoSyncs.
const AtOnce = 2

// New returns a Reconciler.
func New(d Deps) *Reconciler {
	return &Reconciler{Deps: d, hook: make(chan event.GenericEvent, 64)}
}

// SetupWithManager registers the controller and its watches. Every change of a
// RepoSync brings a pass: its status is what the ready status says. So does every
// change of a Workspace, for the pull requests that are followed.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("review").
		For(&v1alpha1.RepoSync{}).
		Watches(&v1alpha1.Workspace{}, handler.EnqueueRequestsFromMapFunc(r.syncOf)).
		WatchesRawSource(crsource.Channel(r.hook, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: AtOnce,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost),
		}).
		Complete(trace.Passes("RepoSync review", r))
}

// LookNow asks for a pass that looks at the forge.
func (r *Reconciler) LookNow(obj *v1alpha1.RepoSync) {
	r.asked.Store(obj.UID, true)
	select {
	case r.hook <- event.GenericEvent{Object: obj}:
	default: // the queue is full of the same question
	}
}

// Reconcile makes one pass over a RepoSync.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	obj := &v1alpha1.RepoSync{}
	if err := r.Client.Get(ctx, req.NamespacedName, obj); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !reviewed(obj) {
		r.kept.Delete(obj.UID)
		r.inventories.Forget(req.NamespacedName)
		return ctrl.Result{}, nil
	}
	k := r.recall(obj)
	if rest := r.waits(obj, k); rest > 0 {
		return ctrl.Result{RequeueAfter: rest}, nil
	}
	k.problems = nil
	err := r.pass(ctx, obj, k)
	r.announce(obj, k, errors.Join(k.troubles(), err))
	return r.result(obj, k, err)
}

func (r *Reconciler) recall(obj *v1alpha1.RepoSync) *kept {
	k, _ := r.kept.LoadOrStore(obj.UID, &kept{spread: r.Jitter.Draw(), answered: map[int64]subject{}, unsaid: map[int64]*unsaid{}, heard: heard{until: map[int64]time.Time{}, strays: map[int64]bool{}, answered: map[int64]int64{}, planned: map[int64]int64{}}})
	return k.(*kept)
}

// pass looks at the forge when it is time to, and says whether the synced commit
// is ready when that has changed.
func (r *Reconciler) pass(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	if r.Cluster == "" {
		return fault.Stopf(v1alpha1.ReasonClusterNameMissing,
			"pull requests cannot be answered: the controller was started without --cluster-name, which tells its comments from another cluster's")
	}
	look := r.due(s, k)
	ready, says := readiness(s)
	tuned := r.isTuned(s, k)
	if !look && !tuned && !k.owes(ready, says) {
		return nil
	}
	f, err := r.connect(ctx, s, k)
	if err != nil {
		if tuned {
			r.tuned.Store(client.ObjectKeyFromObject(s), true) // it still may
		}
		return err
	}
	var problems []error
	if says {
		problems = append(problems, k.say(ctx, f, ready))
	}
	if look {
		problems = append(problems, r.look(ctx, s, k), r.warnShared(ctx, s, k))
	}
	if r.crowded(s, k) {
		return errors.Join(problems...)
	}
	problems = append(problems, r.follow(ctx, s, k))
	if look || tuned {
		problems = append(problems, r.promoteAll(ctx, s, k))
	}
	return errors.Join(problems...)
}

// owes says whether the forge is to be told anything that it was not.
func (k *kept) owes(ready readyStatus, says bool) bool {
	return says && ready.key() != k.ready || len(k.following) > 0
}

// isTuned says whether a run may have published what is to be promoted.
func (r *Reconciler) isTuned(s *v1alpha1.RepoSync, k *kept) bool {
	_, tuned := r.tuned.LoadAndDelete(client.ObjectKeyFromObject(s))
	return k.news(s) || tuned
}

// promoteAll is promote, which is tried again with the next pass where it failed.
func (r *Reconciler) promoteAll(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	err := r.promote(ctx, s, k)
	if err != nil {
		r.tuned.Store(client.ObjectKeyFromObject(s), true)
	}
	return err
}

// say sets the status of the synced commit, unless that was the last thing said.
func (k *kept) say(ctx context.Context, f *forge.Forge, ready readyStatus) error {
	if ready.key() == k.ready {
		return nil
	}
	if err := f.Set(ctx, ready.commit, ready.status); err != nil {
		return fmt.Errorf("setting the commit status %s: %w", ready.status.Name, err)
	}
	k.ready = ready.key()
	return nil
}

// connect prepares to talk to the forge. It is the same as long as nothing of it
// changes, and so remembers who it is signed in as.
func (r *Reconciler) connect(ctx context.Context, s *v1alpha1.RepoSync, k *kept) (*forge.Forge, error) {
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.Review.SecretRef.Name}
	if err := r.Reader.Get(ctx, key, secret); err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", key, err)
	}
	url := addressOf(s)
	made := fmt.Sprint(s.Spec.Review.Provider, " ", url, " ", secret.UID, " ", secret.ResourceVersion)
	if k.forge != nil && k.forgeKey == made {
		return k.forge, nil
	}
	f, err := r.Connect(forge.Settings{Provider: s.Spec.Review.Provider, URL: url, Auth: secret.Data})
	if err != nil {
		return nil, err
	}
	k.forge, k.forgeKey = f, made
	return f, nil
}

// secret reads the data of a Secret; nil where none is named.
func (r *Reconciler) secret(ctx context.Context, namespace string, ref *v1alpha1.LocalObjectReference) (map[string][]byte, error) {
	if ref == nil {
		return nil, nil
	}
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, secret); err != nil {
		return nil, fmt.Errorf("reading secret %s/%s: %w", namespace, ref.Name, err)
	}
	return secret.Data, nil
}

// announce makes an event of what has gone wrong, when it is new.
func (r *Reconciler) announce(s *v1alpha1.RepoSync, k *kept, err error) {
	text, reason := "", ReasonReviewFailed
	if err != nil && !errors.Is(err, context.Canceled) {
		text, reason = err.Error(), fault.Reason(err, ReasonReviewFailed)
	}
	if text != "" && text != k.failure {
		r.Events.Eventf(s, nil, corev1.EventTypeWarning, reason, "Review", "%s", text)
	}
	k.failure = text
}

// result says when to look again: after the interval, when the forge wants it, or when
// it is time to try again. err has failed for all pull requests.
func (r *Reconciler) result(s *v1alpha1.RepoSync, k *kept, err error) (ctrl.Result, error) {
	all := errors.Join(k.problems, err)
	limited, after := leftAlone(all)
	switch {
	case err != nil:
		k.rest, k.rests = k.rest.after(err, r.Clock(), k.interval(s)), s.Generation
	case limited:
		k.rest, k.rests = k.rest.after(all, r.Clock(), k.interval(s)), s.Generation
	default:
		k.rest = backoff{}
	}
	switch {
	case limited:
		after = cmp.Or(after, k.rest.until.Sub(r.Clock()))
		k.notBefore = r.Clock().Add(after)
		return ctrl.Result{RequeueAfter: after}, nil
	case fault.IsTerminal(err):
		return ctrl.Result{RequeueAfter: k.interval(s)}, nil
	case err != nil, k.problems != nil && !fault.IsTerminal(k.problems):
		return ctrl.Result{}, all // which calls again: then the rest says when
	}
	next := r.next(s, k).Sub(r.Clock())
	if k.followDue > 0 {
		next = min(next, k.followDue)
	}
	return ctrl.Result{RequeueAfter: max(next, 100*time.Millisecond)}, nil
}

// interval is that of the RepoSync, out of step with others.
func (k *kept) interval(s *v1alpha1.RepoSync) time.Duration {
	return max(k.spread.Of(interval(s)), repolayout.MinInterval)
}

// interval is how often to look at the forge, never so often that it is a loop.
func interval(s *v1alpha1.RepoSync) time.Duration {
	return max(s.Spec.Interval.Duration, repolayout.MinInterval)
}
