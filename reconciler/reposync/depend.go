// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxChain bounds how far a chain of dependencies is followed in search of a cycle.
const maxChain = 64

// depend lets nothing be applied before what spec.dependsOn names is Ready. It comes
// after the build, so that mistakes are said meanwhile.
func (r *Reconciler) depend(ctx context.Context, p *pass) error {
	if len(p.sync.Spec.DependsOn) == 0 {
		return nil
	}
	if err := r.mayRefer(p.sync); err != nil {
		return err
	}
	cycle, err := r.cycle(ctx, p.sync)
	if err != nil {
		return err
	}
	if cycle != "" {
		return fault.Stopf(v1alpha1.ReasonDependencyCycle, "spec.dependsOn goes round in a circle, so that none of these is ever applied: %s. Take one of them out", cycle)
	}
	var waiting []string
	for _, key := range dependencies(p.sync) {
		on := &v1alpha1.RepoSync{}
		err := r.Client.Get(ctx, key, on)
		switch {
		case apierrors.IsNotFound(err):
			waiting = append(waiting, fmt.Sprintf("RepoSync %s does not exist", key))
		case err != nil:
			return fmt.Errorf("reading RepoSync %s, which this one depends on: %w", key, err)
		default:
			if why := p.notReady(on); why != "" {
				waiting = append(waiting, why)
			}
		}
	}
	if len(waiting) > 0 {
		return fault.Wait(v1alpha1.ReasonDependencyNotReady, 0, "Nothing of %s is applied yet: %s", p.kept.built.revision, strings.Join(waiting, "; "))
	}
	return nil
}

// mayRefer refuses names of other namespaces under --no-cross-namespace-refs.
func (r *Reconciler) mayRefer(s *v1alpha1.RepoSync) error {
	if !r.NoCrossNamespaceRefs {
		return nil
	}
	for _, key := range dependencies(s) {
		if key.Namespace != s.Namespace {
			return fault.Stopf(v1alpha1.ReasonAccessDenied,
				"spec.dependsOn names RepoSync %s of another namespace, and this controller runs with --no-cross-namespace-refs: name one of namespace %s", key, s.Namespace)
		}
	}
	return nil
}

// notReady says why a dependency holds up a revision, "" when it does not. Ready
// counts for what the dependency is now, and of one that follows the same source for
// the same files: else a commit that changes both would be applied out of order.
// Reports are none of them: the two may have seen another number of those.
func (p *pass) notReady(on *v1alpha1.RepoSync) string {
	name := on.Namespace + "/" + on.Name
	is := condition.Get(on, v1alpha1.ConditionReady)
	switch {
	case !on.DeletionTimestamp.IsZero():
		return fmt.Sprintf("RepoSync %s is being deleted", name)
	case is == nil || on.Status.ObservedGeneration != on.Generation:
		return fmt.Sprintf("RepoSync %s has not been looked at yet", name)
	case !condition.Is(on, v1alpha1.ConditionReady):
		return fmt.Sprintf("RepoSync %s is not Ready (%s)", name, is.Reason)
	case sameSource(p.sync, on) && on.Status.LastAppliedRevision != p.kept.built.revision && !p.sameContent(on):
		return fmt.Sprintf("RepoSync %s is at %s of the same source", name, on.Status.LastAppliedRevision)
	}
	return ""
}

// sameContent says that what another has applied is, beside reports, what is about to
// be applied.
func (p *pass) sameContent(on *v1alpha1.RepoSync) bool {
	k, is := p.kept, &on.Status
	return k.judged != nil && k.judged.content != "" && k.judged.content == is.Content && is.LastAppliedRevision == is.LastAttemptedRevision
}

// sameSource says that two RepoSyncs follow the same commits.
func sameSource(a, b *v1alpha1.RepoSync) bool {
	x, y := a.Spec.Source, b.Spec.Source
	if x.Git != nil && y.Git != nil {
		return x.Git.URL == y.Git.URL && x.Git.Ref == y.Git.Ref
	}
	return x.Ref != nil && y.Ref != nil && a.Namespace == b.Namespace && *x.Ref == *y.Ref
}

// dependencies are the names in spec.dependsOn, whole.
func dependencies(s *v1alpha1.RepoSync) []types.NamespacedName {
	var keys []types.NamespacedName
	for _, d := range s.Spec.DependsOn {
		key := types.NamespacedName{Namespace: d.Namespace, Name: d.Name}
		if key.Namespace == "" {
			key.Namespace = s.Namespace
		}
		keys = append(keys, key)
	}
	return keys
}

// cycle is a chain of dependencies that leads back to the RepoSync, in words.
func (r *Reconciler) cycle(ctx context.Context, s *v1alpha1.RepoSync) (string, error) {
	self := client.ObjectKeyFromObject(s)
	seen := map[types.NamespacedName]bool{}
	var follow func(at *v1alpha1.RepoSync, chain []string) (string, error)
	follow = func(at *v1alpha1.RepoSync, chain []string) (string, error) {
		for _, key := range dependencies(at) {
			longer := append(slices.Clip(chain), key.String())
			if key == self {
				return strings.Join(longer, " waits for "), nil
			}
			if seen[key] || len(longer) > maxChain {
				continue
			}
			seen[key] = true
			next := &v1alpha1.RepoSync{}
			if err := r.Client.Get(ctx, key, next); err != nil {
				if apierrors.IsNotFound(err) {
					continue
				}
				return "", fmt.Errorf("reading RepoSync %s, which others depend on: %w", key, err)
			}
			if found, err := follow(next, longer); found != "" || err != nil {
				return found, err
			}
		}
		return "", nil
	}
	return follow(s, []string{self.String()})
}

// indexDependency finds the RepoSyncs that wait for one.
const indexDependency = "spec.dependsOn"

func addDependencyIndex(ctx context.Context, mgr ctrl.Manager) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.RepoSync{}, indexDependency, dependencyNames)
	if err != nil {
		return fmt.Errorf("indexing RepoSyncs by what they depend on: %w", err)
	}
	return nil
}

func dependencyNames(o client.Object) []string {
	var names []string
	for _, key := range dependencies(o.(*v1alpha1.RepoSync)) {
		names = append(names, key.String())
	}
	return names
}

// dependents maps a RepoSync to those that wait for it. They look at their source
// again: the one they wait for may have seen a newer commit of the same.
func (r *Reconciler) dependents(ctx context.Context, o client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, s := range r.waiting(ctx, o) {
		r.asked.Store(s.UID, true)
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&s)})
	}
	return requests
}

// waiting are the RepoSyncs that wait for one.
func (r *Reconciler) waiting(ctx context.Context, o client.Object) []v1alpha1.RepoSync {
	list := &v1alpha1.RepoSyncList{}
	if err := r.Client.List(ctx, list, client.MatchingFields{indexDependency: client.ObjectKeyFromObject(o).String()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the RepoSyncs that depend on another", "name", o.GetName())
	}
	return list.Items
}

// isOrdered says that a RepoSync waits for others, or others for it.
func (r *Reconciler) isOrdered(ctx context.Context, s *v1alpha1.RepoSync) bool {
	return len(s.Spec.DependsOn) > 0 || len(r.waiting(ctx, s)) > 0
}

// matters passes what dependents can notice of a RepoSync.
var matters = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, before := e.ObjectOld.(*v1alpha1.RepoSync)
	is, after := e.ObjectNew.(*v1alpha1.RepoSync)
	if !before || !after {
		return true
	}
	return was.Generation != is.Generation || was.Status.ObservedGeneration != is.Status.ObservedGeneration ||
		was.Status.LastAppliedRevision != is.Status.LastAppliedRevision || was.Status.Content != is.Status.Content ||
		condition.Is(was, v1alpha1.ConditionReady) != condition.Is(is, v1alpha1.ConditionReady) ||
		!equality.Semantic.DeepEqual(was.DeletionTimestamp, is.DeletionTimestamp)
}}
