// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Indexes over Workspaces, so that a changed input wakes exactly those that
// name it.
const (
	indexConfigMap = "spec.configMaps"
	indexSecret    = "spec.secrets"
	indexNodePool  = "spec.resource.nodePool"
	indexClaim     = "spec.claims"
	indexAdapter   = "spec.inference.adapters"
)

func addIndexes(ctx context.Context, mgr ctrl.Manager) error {
	for field, names := range map[string]func(*v1alpha1.WorkspaceSpec) []string{
		indexConfigMap: (*v1alpha1.WorkspaceSpec).ConfigMaps,
		indexSecret:    (*v1alpha1.WorkspaceSpec).Secrets,
		indexClaim:     claimsOf,
		indexAdapter:   adapterRepositories,
		indexNodePool:  func(s *v1alpha1.WorkspaceSpec) []string { return nonEmpty(s.Resource.NodePool) },
	} {
		err := slim.Index(ctx, mgr.GetCache(), &v1alpha1.Workspace{}, field, slim.WithinNamespace, func(o client.Object) []string {
			return names(&o.(*v1alpha1.Workspace).Spec)
		})
		if err != nil {
			return err
		}
	}
	return nil
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
		list := &v1alpha1.WorkspaceList{}
		err := r.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{index: o.GetName()})
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing the Workspaces that use an input", "index", index, "name", o.GetName())
			return nil
		}
		requests := make([]reconcile.Request, len(list.Items))
		for i, w := range list.Items {
			requests[i].NamespacedName = types.NamespacedName{Namespace: w.Namespace, Name: w.Name}
		}
		return requests
	}
}

// sharing maps a node pool to the Workspaces that share it.
func (r *Reconciler) sharing(ctx context.Context, o client.Object) []reconcile.Request {
	return r.using(indexNodePool)(ctx, o)
}
