// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// quotas reads what the main controller published of the cloud's quotas; nil where it
// did not, and for a RepoSync of another cluster, whose subscription may be another. This
// controller has no credential to ask with, and a plan without them says so.
func (r *Reconciler) quotas(ctx context.Context, s *v1alpha1.RepoSync) *quota.Snapshot {
	if r.Quota.Name == "" || s.Spec.KubeConfig != nil {
		return nil
	}
	held := &corev1.ConfigMap{}
	err := r.Reader.Get(ctx, r.Quota, held)
	if client.IgnoreNotFound(err) != nil {
		ctrl.LoggerFrom(ctx).Info("the plan does without the quotas of the cloud", "configMap", r.Quota.String(), "why", err.Error())
	}
	if err != nil {
		return nil
	}
	listed, err := quota.Read([]byte(held.Data[quota.Key]))
	if err != nil {
		ctrl.LoggerFrom(ctx).Info("the plan does without the quotas of the cloud", "configMap", r.Quota.String(), "why", err.Error())
		return nil
	}
	return listed
}
