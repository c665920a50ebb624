// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"
	"regexp"

	fluxmeta "github.com/fluxcd/pkg/apis/meta"
	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// +kubebuilder:rbac:groups=source.toolkit.fluxcd.io,resources=gitrepositories;ocirepositories;buckets;externalartifacts,verbs=get;list;watch

// fluxSource is an object of Flux that has an artifact.
type fluxSource interface {
	client.Object
	sourcev1.Source
	GetConditions() []metav1.Condition
}

// fluxKinds are the kinds that a RepoSync may follow.
var fluxKinds = map[v1alpha1.SourceKind]func() fluxSource{
	v1alpha1.GitRepositoryKind:    func() fluxSource { return &sourcev1.GitRepository{} },
	v1alpha1.OCIRepositoryKind:    func() fluxSource { return &sourcev1.OCIRepository{} },
	v1alpha1.BucketKind:           func() fluxSource { return &sourcev1.Bucket{} },
	v1alpha1.ExternalArtifactKind: func() fluxSource { return &sourcev1.ExternalArtifact{} },
}

// indexSource finds the RepoSyncs of a Flux source.
const indexSource = "spec.source.ref"

// readArtifact reads the artifact that a Flux source offers now.
func (r *Reconciler) readArtifact(ctx context.Context, s *v1alpha1.RepoSync) (*source.Commit, error) {
	ref := s.Spec.Source.Ref
	obj := fluxKinds[ref.Kind]()
	name := types.NamespacedName{Namespace: s.Namespace, Name: ref.Name}
	err := r.Reader.Get(ctx, name, obj)
	switch {
	case meta.IsNoMatchError(err):
		return nil, fault.Retry(v1alpha1.ReasonSourceUnreachable,
			fmt.Errorf("this cluster has no kind %s: install Flux's source-controller, or use spec.source.git", ref.Kind))
	case apierrors.IsNotFound(err):
		return nil, fault.Retry(v1alpha1.ReasonRefNotFound, fmt.Errorf("%s %s does not exist", ref.Kind, name))
	case err != nil:
		return nil, fmt.Errorf("reading %s %s: %w", ref.Kind, name, err)
	}
	artifact := obj.GetArtifact()
	if artifact == nil {
		return nil, fault.Retry(v1alpha1.ReasonSourceUnreachable,
			fmt.Errorf("%s %s has no artifact yet: %s", ref.Kind, name, lacking(obj)))
	}
	return r.Source.FetchArtifact(ctx, source.Artifact{
		URL: artifact.URL, Revision: artifact.Revision, Digest: artifact.Digest, Timeout: s.Spec.Timeout.Duration,
	})
}

// ofConnection is the near end of a connection in an error of Go's: its port is another one
// with each try.
var ofConnection = regexp.MustCompile(`(\d+\.\d+\.\d+\.\d+|\[[0-9a-fA-F:.%a-z]+\]):\d+->`)

// maxLacking bounds what is repeated of a source, in characters.
const maxLacking = 500

// lacking says in the words of the source why it offers nothing: its server does not
// answer, or what was fetched is not signed. The same trouble has the same words. They
// are for readers of this namespace: a RepoSync names no source of another one.
func lacking(s fluxSource) string {
	c := meta.FindStatusCondition(s.GetConditions(), fluxmeta.ReadyCondition)
	if c == nil || c.Status == metav1.ConditionTrue || c.Message == "" {
		return "it has not been fetched"
	}
	return markdown.Clean(c.Reason+": "+ofConnection.ReplaceAllString(c.Message, ""), maxLacking)
}

// watchFlux watches the kinds of Flux that this cluster serves, so that a new
// artifact is seen when it is there. Where Flux comes later, RepoSyncs find it at
// their interval, and the watch begins with the next start of the controller.
func (r *Reconciler) watchFlux(ctx context.Context, mgr ctrl.Manager, b *builder.Builder) error {
	err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.RepoSync{}, indexSource, func(o client.Object) []string {
		if ref := o.(*v1alpha1.RepoSync).Spec.Source.Ref; ref != nil {
			return []string{string(ref.Kind) + "/" + ref.Name}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("indexing RepoSyncs by source: %w", err)
	}
	for kind, empty := range fluxKinds {
		_, err := mgr.GetRESTMapper().RESTMapping(schema.GroupKind{Group: sourcev1.GroupVersion.Group, Kind: string(kind)}, sourcev1.GroupVersion.Version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for kind %s: %w", kind, err)
		}
		b.Watches(empty(), handler.EnqueueRequestsFromMapFunc(r.following(kind)))
	}
	return nil
}

// following maps a Flux source to its RepoSyncs, which then look at it.
func (r *Reconciler) following(kind v1alpha1.SourceKind) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		list := &v1alpha1.RepoSyncList{}
		err := r.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{indexSource: string(kind) + "/" + o.GetName()})
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing the RepoSyncs of a source", "kind", kind, "name", o.GetName())
			return nil
		}
		var requests []reconcile.Request
		for _, s := range list.Items {
			r.asked.Store(s.UID, true)
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&s)})
		}
		return requests
	}
}
