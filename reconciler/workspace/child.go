// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/slim"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Children that are watched, and so need not be written again while they are as they
// were applied: those whose state matters whole, of the others the metadata.
var (
	watchedWhole = map[schema.GroupVersionKind]func() client.Object{
		appsv1.SchemeGroupVersion.WithKind("Deployment"):         func() client.Object { return &appsv1.Deployment{} },
		appsv1.SchemeGroupVersion.WithKind("StatefulSet"):        func() client.Object { return &appsv1.StatefulSet{} },
		v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind): func() client.Object { return &v1alpha1.GPUNodePool{} },
	}
	watchedByName = map[schema.GroupVersionKind]client.Object{
		corev1.SchemeGroupVersion.WithKind("Service"):               &corev1.Service{},
		policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"): &policyv1.PodDisruptionBudget{},
		networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"):   &networkingv1.NetworkPolicy{},
	}
)

// drift lets through what may be a change by hand of a child whose metadata is
// watched: neither its first sight nor its status.
var drift = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld, e.ObjectNew
		if is.GetGeneration() == 0 {
			return was.GetResourceVersion() != is.GetResourceVersion()
		}
		return was.GetGeneration() != is.GetGeneration() || slim.Carried(was) != slim.Carried(is)
	},
}

// isWatched says that a child need not be written again while it has its mark.
func isWatched(kind schema.GroupVersionKind) bool {
	return watchedWhole[kind] != nil || watchedByName[kind] != nil
}

// marks are those of the children of a Workspace, by kind and name: a handful, for which a
// map takes three times as much.
type marks []marked

type marked struct {
	child uint64 // apply.Sum of its kind and name
	mark  apply.Mark
}

// at is the mark of a child; the zero value where there is none.
func (m marks) at(key string) apply.Mark {
	child := apply.Sum(key)
	for i := range m {
		if m[i].child == child {
			return m[i].mark
		}
	}
	return apply.Mark{}
}

func (m *marks) note(key string, mark apply.Mark) {
	child := apply.Sum(key)
	for i := range *m {
		if (*m)[i].child == child {
			(*m)[i].mark = mark
			return
		}
	}
	*m = slices.Concat(*m, marks{{child, mark}}) // as long as they are, where append doubles
}

func (m *marks) forget(key string) {
	child := apply.Sum(key)
	*m = slices.DeleteFunc(*m, func(o marked) bool { return o.child == child })
}

// applyChild applies a child with the Workspace as its controller owner. What
// is there under its name and is not the Workspace's is never taken over.
func (r *Reconciler) applyChild(ctx context.Context, ws *v1alpha1.Workspace, child *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return r.applyChildBy(ctx, ws, child, apply.Object)
}

// applier is one of the ways that package apply has to write an object.
type applier func(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error)

// applyChildBy applies a child unless it is as it would be applied.
func (r *Reconciler) applyChildBy(ctx context.Context, ws *v1alpha1.Workspace, child *unstructured.Unstructured, write applier) (*unstructured.Unstructured, error) {
	child.SetNamespace(ws.Namespace)
	owned := child.GetKind() != "PersistentVolumeClaim" // a claim's end is the finalizer's to decide, not the garbage collector's
	if owned {
		if err := controllerutil.SetControllerReference(ws, child, r.Client.Scheme()); err != nil {
			return nil, fmt.Errorf("owning %s: %w", apply.Describe(child), err)
		}
	}
	digest, marks, key := note(child), &r.knownOf(ws).applied, child.GetKind()+"/"+child.GetName()
	there, err := r.asApplied(ctx, child, marks.at(key), digest)
	if err != nil {
		return nil, err
	}
	if there != nil {
		if marks.at(key).IsZero() { // another process applied it
			marks.note(key, apply.MarkOf(digest, there))
		}
		return there, nil
	}
	live, err := r.ours(ctx, ws, child, owned)
	if err != nil {
		return nil, err
	}
	applied, err := write(ctx, account.Writer(ctx, r.Client), child, live)
	if conflict, ok := apply.AsConflict(err); ok {
		return nil, fault.Stop(v1alpha1.ReasonFieldConflict, conflict)
	}
	if apierrors.IsInvalid(err) {
		return nil, fault.Stop(v1alpha1.ReasonApplyFailed, err)
	}
	if err == nil && isWatched(child.GroupVersionKind()) {
		marks.note(key, apply.MarkOf(digest, applied))
		r.written.Note(applied, r.Clock())
	}
	return applied, account.Explain(ctx, err)
}

// ours is what is there under the name of a child, past the cache; somebody else's is
// refused.
func (r *Reconciler) ours(ctx context.Context, ws *v1alpha1.Workspace, child *unstructured.Unstructured, owned bool) (client.Object, error) {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(child.GroupVersionKind())
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(child), live)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return nil, fmt.Errorf("reading %s: %w", apply.Describe(child), err)
	case err == nil && owned && formers(live, ws):
		return live, r.takeOver(ctx, live)
	case err == nil && owned && !metav1.IsControlledBy(live, ws), err == nil && !owned && live.Labels[repolayout.LabelWorkspace] != ws.Name:
		return nil, fault.Stopf(v1alpha1.ReasonNameTaken,
			"%s exists and is not this Workspace's: rename it, or the Workspace", apply.Describe(child))
	}
	return live, nil
}

// formers says whether an object is left of a Workspace of this name that is gone: the
// garbage collector has not taken it yet. After a restart of the API server it was seen to
// leave some for good.
func formers(o client.Object, ws *v1alpha1.Workspace) bool {
	owner := metav1.GetControllerOf(o)
	if owner == nil || owner.Kind != v1alpha1.WorkspaceKind || owner.Name != ws.Name || owner.UID == ws.UID {
		return false
	}
	group, err := schema.ParseGroupVersion(owner.APIVersion)
	return err == nil && group.Group == v1alpha1.GroupVersion.Group
}

// owns says whether a pool is a Workspace's to give back: its own, or what is left of one of
// its name that is gone, for which nobody else answers.
func owns(ws *v1alpha1.Workspace, pool *v1alpha1.GPUNodePool) bool {
	return pool != nil && (metav1.IsControlledBy(pool, ws) || formers(pool, ws))
}

// takeOver leaves what a former Workspace has left to be applied, which makes it the one's
// of now. A Job goes: it is the run of what was deleted, and is never rewritten.
func (r *Reconciler) takeOver(ctx context.Context, o *metav1.PartialObjectMetadata) error {
	if o.Kind != "Job" {
		return nil
	}
	// In the foreground: its pods, which write where the next one's will, go first.
	err := r.remove(ctx, o, client.Preconditions{UID: &o.UID}, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting Job %s/%s of a former Workspace: %w", o.Namespace, o.Name, err)
	}
	return fault.Wait(v1alpha1.ReasonProgressing, retryFirst, "Job %s of a Workspace of this name that was deleted goes first", o.Name)
}

// note notes the digest of a child on it, so that a start of the controller knows
// what the last one applied, and returns it.
func note(child *unstructured.Unstructured) string {
	digest := apply.Digest(child)
	annotations := child.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[repolayout.AnnotationDigest] = digest
	child.SetAnnotations(annotations)
	return digest
}

// asApplied is a child that need not be written, as the cluster has it: it is as it
// was applied, by this controller or the one before it. nil: it is to be written.
func (r *Reconciler) asApplied(ctx context.Context, child *unstructured.Unstructured, was apply.Mark, digest string) (*unstructured.Unstructured, error) {
	kind := child.GroupVersionKind()
	if of, ok := watchedWhole[kind]; ok {
		live := of()
		if err := r.Client.Get(ctx, client.ObjectKeyFromObject(child), live); err != nil {
			return nil, missing(child, err)
		}
		cached, err := asUnstructured(live, kind)
		if err != nil {
			return nil, err
		}
		return r.asWatched(ctx, child, cached, was, digest)
	}
	if _, ok := watchedByName[kind]; ok {
		return r.asNamed(ctx, child, was, digest)
	}
	return nil, nil
}

// asWatched is asApplied for a child whose state is watched.
func (r *Reconciler) asWatched(ctx context.Context, child, cached *unstructured.Unstructured, was apply.Mark, digest string) (*unstructured.Unstructured, error) {
	switch pool := child.GetKind() == v1alpha1.GPUNodePoolKind; {
	case was.IsZero() && !pool:
		return r.asFound(ctx, child, digest)
	case was.IsZero() && isSame(cached, child, digest), isAsApplied(cached, was, digest): // the caches hold pools whole
		return cached, nil
	}
	return nil, nil
}

// asNamed is asApplied for a child whose metadata is watched.
func (r *Reconciler) asNamed(ctx context.Context, child *unstructured.Unstructured, was apply.Mark, digest string) (*unstructured.Unstructured, error) {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(child.GroupVersionKind())
	if err := r.Client.Get(ctx, client.ObjectKeyFromObject(child), live); err != nil {
		return nil, missing(child, err)
	}
	switch {
	case was.Of(digest) && (was.Still(live) || was.Before(live) && r.written.Behind(live, r.Clock())):
		there := child.DeepCopy()
		there.SetUID(live.UID)
		there.SetGeneration(live.Generation)
		there.SetResourceVersion(live.ResourceVersion)
		return there, nil
	case !was.IsZero():
		return nil, nil
	}
	return r.asFound(ctx, child, digest)
}

// asFound is asApplied for a child that another process may have applied, and of which the
// caches hold parts: it is read whole, once.
func (r *Reconciler) asFound(ctx context.Context, child *unstructured.Unstructured, digest string) (*unstructured.Unstructured, error) {
	whole := &unstructured.Unstructured{}
	whole.SetGroupVersionKind(child.GroupVersionKind())
	if err := r.Reader.Get(ctx, client.ObjectKeyFromObject(child), whole); err != nil {
		return nil, missing(child, err)
	}
	if !isSame(whole, child, digest) {
		return nil, nil
	}
	return whole, nil
}

// isSame says of an object that was read whole that it is what would be applied, by the
// digest that is noted on it and by what it holds.
func isSame(whole, child *unstructured.Unstructured, digest string) bool {
	return whole.GetAnnotations()[repolayout.AnnotationDigest] == digest && apply.Holds(whole, child)
}

// isAsApplied says that nobody has changed a child since this process applied it. One that
// the cache has from before is not: its status is not of what was applied.
func isAsApplied(live *unstructured.Unstructured, was apply.Mark, digest string) bool {
	return was.Of(digest) && !was.Before(live) && was.Still(live)
}

func missing(child *unstructured.Unstructured, err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reading %s: %w", apply.Describe(child), err)
}

func asUnstructured(o client.Object, kind schema.GroupVersionKind) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("reading %s %s/%s: %w", kind.Kind, o.GetNamespace(), o.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(kind)
	return u, nil
}
