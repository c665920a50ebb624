// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/remote"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// goneAgain is how often to look whether the Workspaces are gone; their own
// events mostly say so earlier.
const goneAgain = 15 * time.Second

func (r *Reconciler) ensureFinalizer(ctx context.Context, obj *v1alpha1.RepoSync) (bool, error) {
	before := obj.DeepCopy()
	if !controllerutil.AddFinalizer(obj, repolayout.Finalizer) {
		return false, nil
	}
	err := r.Client.Patch(ctx, obj, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) { // somebody was quicker: look again
		r.again(obj)
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("adding the finalizer to RepoSync %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	r.again(obj)
	return true, nil
}

// finalize takes down what was applied: Workspaces first, and the inputs they
// use when those are gone. With deletionPolicy Orphan, or where others apply
// them, everything stays.
func (r *Reconciler) finalize(ctx context.Context, obj *v1alpha1.RepoSync) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(obj, repolayout.Finalizer) {
		r.drop(ctx, obj)
		return ctrl.Result{}, nil
	}
	if obj.Spec.DeletionPolicy != v1alpha1.Orphan && leavesSomething(obj) {
		if gone, err := r.takeDownAs(ctx, obj); err != nil {
			return ctrl.Result{}, err
		} else if !gone {
			return ctrl.Result{RequeueAfter: goneAgain}, nil
		}
	}
	r.drop(ctx, obj)
	before := obj.DeepCopy()
	controllerutil.RemoveFinalizer(obj, repolayout.Finalizer)
	if err := r.Client.Patch(ctx, obj, client.MergeFrom(before)); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("removing the finalizer of RepoSync %s/%s: %w", obj.Namespace, obj.Name, err)
	}
	return ctrl.Result{}, nil
}

// takeDownAs is takeDown as whom the RepoSync acts. A right that is missing is said,
// and waited for.
func (r *Reconciler) takeDownAs(ctx context.Context, obj *v1alpha1.RepoSync) (gone bool, err error) {
	if err := r.unpack(obj); err != nil {
		return false, r.sayDenied(ctx, obj, err)
	}
	at, err := r.placeOf(ctx, obj)
	// What has a reason lasts, and there may never have been anything; any other error is tried again.
	if fault.Reason(err, "") != "" && obj.Status.Cluster == "" && !inventoried(obj) {
		r.Events.Eventf(obj, nil, corev1.EventTypeWarning, "LeftUnseen", "Finalize", "Nothing is known to be applied, and nobody could look: %v", err)
		return true, nil
	}
	if err == nil {
		err = (&pass{sync: obj, at: at}).moved()
	}
	if err != nil {
		return false, r.sayLeft(ctx, obj, err)
	}
	return r.takeDownAt(ctx, at, obj)
}

func (r *Reconciler) takeDownAt(ctx context.Context, at place, obj *v1alpha1.RepoSync) (gone bool, err error) {
	acting, err := at.accounts.As(ctx, at.accounts.Sync(obj))
	if err != nil {
		return false, err
	}
	gone, err = r.takeDown(remote.Limited(acting), at, obj)
	switch {
	case err != nil && at.remote():
		return false, r.sayLeft(ctx, obj, err)
	case fault.IsTerminal(err):
		return false, r.sayDenied(ctx, obj, err)
	}
	return gone, err
}

// takeDown deletes what was applied. Until the Workspaces and node pools are
// gone the status says so; what is annotated to be kept stays, and is not waited
// for.
func (r *Reconciler) takeDown(ctx context.Context, at place, obj *v1alpha1.RepoSync) (gone bool, err error) {
	applied, err := r.labelled(ctx, at, paged{at.reader}, obj, anything)
	if err != nil {
		return false, err
	}
	all := inventory.Union(obj.Status.Inventory, entriesOfAll(applied))
	k := r.recall(obj)
	for _, o := range applied {
		if o.GetDeletionTimestamp().IsZero() {
			delete(k.taken, inventory.EntryOf(o).ID) // it is back, or may go now
		}
	}
	if err := r.deleteThose(ctx, at, obj, all, true); err != nil {
		return false, err
	}
	if applied, err = r.labelled(ctx, at, paged{at.reader}, obj, anything); err != nil {
		return false, err
	}
	going, err := at.goingElsewhere(ctx, obj)
	if err != nil {
		return false, err
	}
	going = append(going, slices.DeleteFunc(applied, func(o client.Object) bool { return o.GetDeletionTimestamp().IsZero() })...)
	if len(going) > 0 {
		return false, r.sayDeleting(ctx, obj, going)
	}
	return true, r.deleteThose(ctx, at, obj, all, false)
}

// deleteThose deletes our kinds, or the inputs. What an earlier pass has deleted it does
// not ask for again: it would get no further in another cluster that is slow.
func (r *Reconciler) deleteThose(ctx context.Context, at place, obj *v1alpha1.RepoSync, entries []v1alpha1.InventoryEntry, ours bool) error {
	k := r.recall(obj)
	var failed []error
	for _, e := range entries {
		if inventory.IsOurs(e) != ours || k.taken[e.ID] {
			continue
		}
		switch _, err := r.deleteAll(ctx, at, obj, k, []v1alpha1.InventoryEntry{e}); {
		case fault.IsTerminal(err) || isAway(err):
			return err
		case err != nil:
			failed = append(failed, err)
		default:
			k.take(e.ID)
		}
	}
	return errors.Join(failed...)
}

// take notes what the end of the RepoSync has deleted.
func (k *kept) take(id string) {
	if k.taken == nil {
		k.taken = map[string]bool{}
	}
	k.taken[id] = true
}

// sayDenied says that what it once applied may not be deleted, or is not known.
func (r *Reconciler) sayDenied(ctx context.Context, obj *v1alpha1.RepoSync, err error) error {
	before := obj.DeepCopy()
	message := fmt.Sprintf("%s. Or set spec.deletionPolicy: %s, which leaves what was applied", err, v1alpha1.Orphan)
	condition.Stalled(obj, fault.Reason(err, v1alpha1.ReasonAccessDenied), message)
	return r.patchStatus(ctx, before, obj)
}

// leavesSomething says whether there may be something to take down. In another cluster
// there may be whatever the mode is since, and without an inventory too: a person may have
// taken away one that could not be read, and a backup brings no status back.
func leavesSomething(obj *v1alpha1.RepoSync) bool {
	return obj.Spec.KubeConfig != nil || obj.Status.Cluster != "" && inventoried(obj) || !obj.ReportsOnly()
}

func inventoried(obj *v1alpha1.RepoSync) bool {
	return len(obj.Status.Inventory) > 0 || obj.Status.PackedInventory != nil
}

// sayLeft says that what was applied is in a cluster that cannot be asked, and how to
// let go of it. Waiting may help: the error is returned then.
func (r *Reconciler) sayLeft(ctx context.Context, obj *v1alpha1.RepoSync, err error) error {
	before := obj.DeepCopy()
	message := fmt.Sprintf("%d objects are not deleted: %s. To leave them where they are, running and paid, set spec.deletionPolicy: %s", len(obj.Status.Inventory), err, v1alpha1.Orphan)
	if len(obj.Status.Inventory) == 0 {
		message = fmt.Sprintf("Nothing is known to be applied, and nobody could look: %s. To let go of what may be there, set spec.deletionPolicy: %s", err, v1alpha1.Orphan)
	}
	reason := fault.Reason(err, v1alpha1.ReasonClusterUnreachable)
	if fault.IsTerminal(err) {
		condition.Stalled(obj, reason, message)
		return r.patchStatus(ctx, before, obj)
	}
	condition.Progressing(obj, reason, message)
	return errors.Join(r.patchStatus(ctx, before, obj), err)
}

func (r *Reconciler) sayDeleting(ctx context.Context, obj *v1alpha1.RepoSync, going []client.Object) error {
	before := obj.DeepCopy()
	message := fmt.Sprintf("Waiting for %d Workspaces and node pools to go, %s first", len(going), apply.Describe(going[0]))
	condition.Progressing(obj, v1alpha1.ReasonDeleting, message)
	return r.patchStatus(ctx, before, obj)
}
