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

	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// monitorKind is a kind of the Prometheus operator.
func monitorKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "monitoring.coreos.com", Version: "v1", Kind: kind}
}

// formerMonitors is the kind that services had before they had ServiceMonitors. With both,
// whatever Prometheus adds up would count twice.
const formerMonitors = "PodMonitor"

// droppedMonitors are the kinds that no service has.
func (r *Reconciler) droppedMonitors() []schema.GroupVersionKind {
	kinds := []schema.GroupVersionKind{monitorKind(formerMonitors)}
	if !r.Render.ServiceMonitors {
		kinds = append(kinds, monitorKind(render.KindServiceMonitor))
	}
	return kinds
}

// dropMonitors removes the monitors that services had from an earlier release, or while
// the installation gave them one. Both are settled when the controller starts, so that once
// is enough: no pass asks for what a cluster may not even have a kind for.
func (r *Reconciler) dropMonitors(ctx context.Context) error {
	backoff := wait.Backoff{Duration: retryFirst, Factor: 2, Steps: 10, Cap: time.Minute}
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		err := r.deleteMonitors(ctx)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "removing monitors that services no longer have")
		}
		return err == nil, nil
	})
	if err != nil && ctx.Err() == nil {
		ctrl.LoggerFrom(ctx).Error(err, "monitors are left: restart the controller, or delete those with label app.kubernetes.io/managed-by=espalier of the kind that the error names")
	}
	return nil // what is left over is no reason to end the controller
}

func (r *Reconciler) deleteMonitors(ctx context.Context) error {
	for _, kind := range r.droppedMonitors() {
		if err := r.deleteMonitorsOf(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reconciler) deleteMonitorsOf(ctx context.Context, kind schema.GroupVersionKind) error {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(kind)
	err := r.Reader.List(ctx, list, client.HasLabels{repolayout.LabelWorkspace}, client.MatchingLabels{"app.kubernetes.io/managed-by": "espalier"})
	if meta.IsNoMatchError(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing %ss: %w", kind.Kind, err)
	}
	for i := range list.Items {
		m := &list.Items[i]
		owner := metav1.GetControllerOf(m)
		if owner == nil || owner.Kind != v1alpha1.WorkspaceKind || owner.APIVersion != v1alpha1.GroupVersion.String() {
			continue
		}
		m.SetGroupVersionKind(kind)
		if err := r.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s %s/%s: %w", kind.Kind, m.Namespace, m.Name, err)
		}
	}
	return nil
}
