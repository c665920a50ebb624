// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"
	"slices"
	"strings"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Labels by which kustomize-controller marks what a Kustomization applies, and the
// kind they name.
const (
	fluxName      = "kustomize.toolkit.fluxcd.io/name"
	fluxNamespace = "kustomize.toolkit.fluxcd.io/namespace"
)

var fluxKustomization = schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}

// +kubebuilder:rbac:groups=kustomize.toolkit.fluxcd.io,resources=kustomizations,verbs=get;list;watch

// watchKustomizations watches Flux's Kustomizations where this cluster has them, so
// that a RepoSync that only reports sees when one has applied. Their metadata alone
// is kept.
func (r *Reconciler) watchKustomizations(mgr ctrl.Manager, b *builder.Builder) error {
	_, err := mgr.GetRESTMapper().RESTMapping(fluxKustomization.GroupKind(), fluxKustomization.Version)
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for kind %s: %w", fluxKustomization.Kind, err)
	}
	kind := &unstructured.Unstructured{}
	kind.SetGroupVersionKind(fluxKustomization)
	b.WatchesMetadata(kind, handler.EnqueueRequestsFromMapFunc(r.reportedFor), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{}))
	return nil
}

// reportedFor maps a Kustomization to the RepoSyncs that report on what it applies.
func (r *Reconciler) reportedFor(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(ctx, list, client.MatchingLabels{fluxName: o.GetName(), fluxNamespace: o.GetNamespace()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the Workspaces of a Kustomization", "name", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		for _, request := range r.reportedBy(ctx, &list.Items[i]) {
			if !slices.Contains(requests, request) {
				requests = append(requests, request)
			}
		}
	}
	return requests
}

// lagging says which Kustomization of Flux has not applied the revision yet that
// the source offers, "" where none is known: until then the Workspaces are as the
// revision before wants them. Only one that follows the same source can be compared.
func (r *Reconciler) lagging(ctx context.Context, p *pass) (string, error) {
	if p.sync.Spec.Source.Ref == nil {
		return "", nil
	}
	workspaces, err := r.workspaces(ctx, p)
	if err != nil {
		return "", err
	}
	var asked []types.NamespacedName
	for _, w := range workspaces {
		l := w.Labels
		key := types.NamespacedName{Namespace: l[fluxNamespace], Name: l[fluxName]}
		if key.Namespace == "" || key.Name == "" || slices.Contains(asked, key) {
			continue
		}
		asked = append(asked, key)
		status, err := r.kustomization(ctx, p.sync, key)
		if err != nil {
			return "", err
		}
		if at := p.kept.commit.Revision; !status.hasApplied(at) {
			return fmt.Sprintf("Kustomization %s of Flux has applied %s, and the source is at %s", key, status.LastAppliedRevision, at), nil
		}
	}
	return "", nil
}

// kustomizationStatus is what a Kustomization says about revisions.
type kustomizationStatus struct {
	LastAppliedRevision   string             `json:"lastAppliedRevision"`
	LastAttemptedRevision string             `json:"lastAttemptedRevision"`
	Conditions            []metav1.Condition `json:"conditions"`
}

// hasApplied says that the objects are as a revision wants them, or that nothing is
// known of it. lastAppliedRevision comes too late where Flux waits for health: it is
// set once all is healthy, our RepoSync among it, and for ever not where something
// fails. Health is looked at after all is applied, and Healthy says of which revision.
func (k *kustomizationStatus) hasApplied(revision string) bool {
	if k == nil || k.LastAppliedRevision == "" || k.LastAppliedRevision == revision {
		return true
	}
	healthy := meta.FindStatusCondition(k.Conditions, fluxmeta.HealthyCondition)
	if k.LastAttemptedRevision != revision || healthy == nil {
		return false
	}
	if healthy.Status == metav1.ConditionUnknown {
		return strings.Contains(healthy.Message, revision)
	}
	ready := meta.FindStatusCondition(k.Conditions, fluxmeta.ReadyCondition)
	return ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == fluxmeta.HealthCheckFailedReason
}

// kustomization is the status of a Kustomization of the RepoSync's own source; nil
// for one that is gone, or follows another.
func (r *Reconciler) kustomization(ctx context.Context, s *v1alpha1.RepoSync, key types.NamespacedName) (*kustomizationStatus, error) {
	k := &unstructured.Unstructured{}
	k.SetGroupVersionKind(fluxKustomization)
	err := r.Reader.Get(ctx, key, k)
	if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading Kustomization %s of Flux: %w", key, err)
	}
	from := func(field string) string {
		v, _, _ := unstructured.NestedString(k.Object, "spec", "sourceRef", field)
		return v
	}
	namespace := from("namespace")
	if namespace == "" {
		namespace = key.Namespace
	}
	ref := s.Spec.Source.Ref
	if from("kind") != string(ref.Kind) || from("name") != ref.Name || namespace != s.Namespace {
		return nil, nil
	}
	status := &kustomizationStatus{}
	fields, _, err := unstructured.NestedMap(k.Object, "status")
	if err == nil {
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(fields, status)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the status of Kustomization %s of Flux: %w", key, err)
	}
	return status, nil
}
