// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// indexSecret finds the RepoSyncs that read or write with a credential, so that
// a corrected Secret wakes exactly those, and indexConfig those that a ConfigMap leads to
// another cluster.
const (
	indexSecret = "spec.secrets"
	indexConfig = "spec.kubeConfig.configMapRef"
)

func addSecretIndex(ctx context.Context, mgr ctrl.Manager) error {
	for index, names := range map[string]client.IndexerFunc{indexSecret: credentials, indexConfig: clusterConfig} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.RepoSync{}, index, names); err != nil {
			return fmt.Errorf("indexing RepoSyncs by %s: %w", index, err)
		}
	}
	return nil
}

// clusterConfig is the name of the ConfigMap that leads a RepoSync to another cluster.
func clusterConfig(o client.Object) []string {
	there := o.(*v1alpha1.RepoSync).Spec.KubeConfig
	if there == nil || there.ConfigMapRef == nil {
		return nil
	}
	return []string{there.ConfigMapRef.Name}
}

// credentials are the names of the Secrets that a RepoSync reads, verifies, decrypts
// and writes with. The hook's token is read with every call instead.
func credentials(o client.Object) []string {
	s := o.(*v1alpha1.RepoSync)
	names := reportCredentials(s.Spec.Report)
	if git := s.Spec.Source.Git; git != nil && git.SecretRef != nil {
		names = append(names, git.SecretRef.Name)
	}
	if git := s.Spec.Source.Git; git != nil && git.Verify != nil {
		names = append(names, git.Verify.SecretRef.Name)
	}
	if keys := s.Spec.Decryption; keys != nil && keys.SecretRef != nil {
		names = append(names, keys.SecretRef.Name)
	}
	if there := s.Spec.KubeConfig; there != nil && there.SecretRef != nil {
		names = append(names, there.SecretRef.Name)
	}
	return names
}

func reportCredentials(to *v1alpha1.Report) (names []string) {
	if to == nil || to.Commit == nil {
		return nil
	}
	if to.Commit.SecretRef != nil {
		names = append(names, to.Commit.SecretRef.Name)
	}
	if to.Commit.Signing != nil {
		names = append(names, to.Commit.Signing.SecretRef.Name)
	}
	return names
}

// naming maps what an index is of to the RepoSyncs that name it, which then look at
// their source.
func (r *Reconciler) naming(index string) handler.MapFunc {
	return func(ctx context.Context, o client.Object) []reconcile.Request {
		list := &v1alpha1.RepoSyncList{}
		err := r.Client.List(ctx, list, client.InNamespace(o.GetNamespace()), client.MatchingFields{index: o.GetName()})
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "listing the RepoSyncs that name an object", "name", o.GetName(), "in", index)
			return nil
		}
		var requests []reconcile.Request
		for i := range list.Items {
			r.asked.Store(list.Items[i].UID, true)
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
		return requests
	}
}
