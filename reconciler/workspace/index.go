// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"slices"
	"strconv"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Indexes over Workspaces, so that a changed input wakes exactly those that
// name it. All but the last are asked by using.
const (
	indexConfigMap = "spec.configMaps"
	indexSecret    = "spec.secrets"
	indexNodePool  = "spec.resource.nodePool"
	indexClaim     = "spec.claims"
	indexAdapter   = "spec.inference.adapters"
)

// namedBy are the names that a spec has, by the index that finds it by them.
var namedBy = map[string]func(*v1alpha1.WorkspaceSpec) []string{
	indexConfigMap: (*v1alpha1.WorkspaceSpec).ConfigMaps,
	indexSecret:    (*v1alpha1.WorkspaceSpec).Secrets,
	indexClaim:     claimsOf,
	indexNodePool:  func(s *v1alpha1.WorkspaceSpec) []string { return nonEmpty(s.Resource.NodePool) },
}

// buckets are the keys that each of these indexes has, among which a sum spreads the names:
// a key of its own for each name takes a quarter of a KiB, as Go's maps begin with eight
// places. Whoever asks looks through some twenty Workspaces of 10,000.
const buckets = 512

// bucket is the key of a name.
func bucket(namespace, name string) string {
	return strconv.FormatUint(apply.Sum(namespace+"/"+name)%buckets, 36)
}

// bucketsOf are the keys of a Workspace in an index.
func bucketsOf(index string) client.IndexerFunc {
	return func(o client.Object) []string {
		var keys []string
		for _, name := range namedBy[index](&o.(*v1alpha1.Workspace).Spec) {
			keys = append(keys, bucket(o.GetNamespace(), name))
		}
		return keys
	}
}

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	for field := range namedBy {
		if err := slim.Index(ctx, mgr.GetCache(), &v1alpha1.Workspace{}, field, slim.Everywhere, bucketsOf(field)); err != nil {
			return err
		}
	}
	return slim.Index(ctx, mgr.GetCache(), &v1alpha1.Workspace{}, indexAdapter, slim.WithinNamespace, func(o client.Object) []string {
		return adapterRepositories(&o.(*v1alpha1.Workspace).Spec)
	})
}

// claimsOf are the claims that a spec names: those of Espalier's own are its children.
func claimsOf(s *v1alpha1.WorkspaceSpec) []string {
	names := s.SharedClaims()
	if s.Inference != nil {
		names = append(names, s.Inference.Claims()...)
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "" })
}

func nonEmpty(name string) []string {
	if name == "" {
		return nil
	}
	return []string{name}
}

// using maps an input to the Workspaces that name it.
func (r *Reconciler) using(index string) func(context.Context, client.Object) []reconcile.Request {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		list, key := &v1alpha1.WorkspaceList{}, bucket(o.GetNamespace(), o.GetName())
		if err := r.Client.List(ctx, list, client.MatchingFields{index: key}, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
			ctrl.LoggerFrom(ctx).Error(err, "listing the Workspaces that use an input", "index", index, "name", o.GetName())
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			if w := &list.Items[i]; w.Namespace == o.GetNamespace() && slices.Contains(namedBy[index](&w.Spec), o.GetName()) {
				requests = append(requests, requestOf(w.Namespace, w.Name))
			}
		}
		return requests
	}
}

// sharing maps a node pool to the Workspaces that share it.
func (r *Reconciler) sharing(ctx context.Context, o client.Object) []reconcile.Request {
	return r.using(indexNodePool)(ctx, o)
}
