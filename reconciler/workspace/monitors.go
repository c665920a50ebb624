// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var podMonitors = schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: "PodMonitor"}

// dropMonitors removes the PodMonitors that services had while the installation
// gave them one. Whether it does is a flag, so that once at the start is enough:
// no pass asks for what a cluster may not even have a kind for.
func (r *Reconciler) dropMonitors(ctx context.Context) error {
	backoff := wait.Backoff{Duration: retryFirst, Factor: 2, Steps: 10, Cap: time.Minute}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		err := r.deleteMonitors(ctx)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "removing PodMonitors, which --pod-monitors no longer asks for")
		}
		return err == nil, nil
	})
	if err != nil && ctx.Err() == nil {
		ctrl.LoggerFrom(ctx).Error(err, "PodMonitors are left: restart the controller, or delete them by their label app.kubernetes.io/managed-by=espalier")
	}
	return nil // what is left over is no reason to end the controller
}

func (r *Reconciler) deleteMonitors(ctx context.Context) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(podMonitors)
	err := r.Reader.List(ctx, list, client.HasLabels{repolayout.LabelWorkspace}, client.MatchingLabels{"app.kubernetes.io/managed-by": "espalier"})
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing PodMonitors: %w", err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		owner := metav1.GetControllerOf(m)
		if owner == nil || owner.Kind != v1alpha1.WorkspaceKind || owner.APIVersion != v1alpha1.GroupVersion.String() {
			continue
		}
		m.SetGroupVersionKind(podMonitors)
		if err := r.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting PodMonitor %s/%s: %w", m.Namespace, m.Name, err)
		}
	}
	return nil
}
