// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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

// sweeps are the waits between looks for monitors that services no longer have.
var sweeps = wait.Backoff{Duration: retryFirst, Factor: 2, Steps: 10, Cap: time.Minute}

// dropMonitors removes the monitors that services had from an earlier release, or while
// the installation gave them one. Both are settled when the controller starts, so that it
// ends when none is left: no pass asks for what a cluster may not even have a kind for.
func (r *Reconciler) dropMonitors(ctx context.Context) error {
	_ = sweeps.DelayFunc().Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		left, err := r.deleteMonitors(ctx)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "removing monitors that services no longer have: it is tried again")
		}
		return err == nil && left == 0, nil
	})
	return nil // it ended, or the controller does
}

// deleteMonitors removes what nobody needs any more, and says how many still wait: a
// service whose one monitor went before the other is there would be seen by nobody, and
// KEDA takes that for a service without requests.
func (r *Reconciler) deleteMonitors(ctx context.Context) (left int, err error) {
	former, err := r.monitors(ctx, formerMonitors)
	if err != nil || r.Render.ServiceMonitors && len(former) == 0 {
		return 0, err
	}
	now, err := r.monitors(ctx, render.KindServiceMonitor)
	if err != nil {
		return 0, err
	}
	if !r.Render.ServiceMonitors {
		return 0, r.deleteEach(ctx, append(former, now...))
	}
	there := map[types.UID]bool{}
	for i := range now {
		there[metav1.GetControllerOf(&now[i]).UID] = now[i].DeletionTimestamp.IsZero()
	}
	replaced := slices.DeleteFunc(slices.Clone(former), func(m metav1.PartialObjectMetadata) bool { return !there[metav1.GetControllerOf(&m).UID] })
	return len(former) - len(replaced), r.deleteEach(ctx, replaced)
}

// monitors are those of a kind that a Workspace owns.
func (r *Reconciler) monitors(ctx context.Context, kind string) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(monitorKind(kind))
	err := r.Reader.List(ctx, list, client.HasLabels{repolayout.LabelWorkspace}, client.MatchingLabels{"app.kubernetes.io/managed-by": "espalier"})
	if meta.IsNoMatchError(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing %ss: %w", kind, err)
	}
	ours := list.Items[:0]
	for i := range list.Items {
		m := &list.Items[i]
		m.SetGroupVersionKind(monitorKind(kind))
		if owner := metav1.GetControllerOf(m); owner != nil && owner.Kind == v1alpha1.WorkspaceKind && owner.APIVersion == v1alpha1.GroupVersion.String() {
			ours = append(ours, *m)
		}
	}
	return ours, nil
}

func (r *Reconciler) deleteEach(ctx context.Context, monitors []metav1.PartialObjectMetadata) error {
	for i := range monitors {
		m := &monitors[i]
		if err := r.Client.Delete(ctx, m, client.Preconditions{UID: &m.UID}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %s %s/%s: %w", m.Kind, m.Namespace, m.Name, err)
		}
	}
	return nil
}
