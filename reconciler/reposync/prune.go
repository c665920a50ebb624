// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// prune deletes what Git dropped, behind the guard of inventory.DecidePrune. One
// object that cannot be deleted holds up no other.
func (r *Reconciler) prune(ctx context.Context, p *pass) error {
	s := p.sync
	wantedNow, known := p.kept.built.inventory(), p.sync.Status.Inventory
	applied, err := r.inventory(ctx, p, wantedNow)
	if err != nil {
		return err
	}
	decision := inventory.DecidePrune(inventory.PruneInput{
		Inventory: applied,
		Wanted:    wantedNow,
		Failed:    len(errorsOf(p.kept.built.findings)) + len(p.refusals),
		Commit:    p.kept.commit.Hash,
		Approved:  s.Annotations[repolayout.AnnotationApprovePrune],
		Disabled:  !prunes(s),
	})
	if p.pruned, err = r.deleteAll(ctx, p.at, s, p.kept, decision.Delete); err != nil {
		// Whole as it was: an approval names all that it is for.
		s.Status.Inventory = inventory.Union(wantedNow, known)
		return err
	}
	// What labels alone say to be ours is pruned, and never inventoried: the
	// inventory says as whom a Workspace's children are written.
	strays := inventory.Stale(decision.Keep, known)
	s.Status.Inventory = inventory.Union(wantedNow, inventory.Stale(decision.Keep, strays))
	p.held = decision.HeldMessage
	p.concludeSettled(len(decision.Keep) > 0, len(strays) > 0)
	if p.held == "" {
		condition.Remove(s, v1alpha1.ConditionPruneHeld)
		return nil
	}
	condition.True(s, v1alpha1.ConditionPruneHeld, decision.HeldReason, p.held)
	return nil
}

func prunes(s *v1alpha1.RepoSync) bool { return s.Spec.Prune == nil || *s.Spec.Prune }

// inventory is what earlier passes applied, whether or not the status says so.
func (r *Reconciler) inventory(ctx context.Context, p *pass, wanted []v1alpha1.InventoryEntry) ([]v1alpha1.InventoryEntry, error) {
	s := p.sync
	if !prunes(s) {
		return s.Status.Inventory, nil
	}
	known := func(id string) bool { return inventory.Has(wanted, id) || inventory.Has(s.Status.Inventory, id) }
	if p.partly && p.stirs.none(known) {
		return s.Status.Inventory, nil // events spoke of nothing else
	}
	strays, err := r.strays(ctx, p.at, s, known)
	return inventory.Union(s.Status.Inventory, strays), err
}

// deleteAll deletes one by one, and returns what it did. A right that is missing
// holds up all, but for what the inventory never held: anybody may have given it
// the labels, and it is passed over.
func (r *Reconciler) deleteAll(ctx context.Context, at place, s *v1alpha1.RepoSync, k *kept, entries []v1alpha1.InventoryEntry) ([]v1alpha1.InventoryEntry, error) {
	strays := inventory.Stale(entries, s.Status.Inventory)
	var deleted []v1alpha1.InventoryEntry
	var failed []error
	for _, e := range entries {
		uid, err := r.deleteEntry(ctx, at, s, e)
		stray, denied := slices.Contains(strays, e), fault.IsTerminal(err) || apierrors.IsForbidden(err)
		switch {
		case stray && denied:
			r.passOver(s, k, e, err)
			continue
		case fault.IsTerminal(err) || isAway(err):
			return deleted, err
		case err != nil:
			failed = append(failed, err)
			continue
		case uid != "":
			deleted = append(deleted, e)
		}
		if uid != "" && !stray {
			k.going = append(k.going, uid)
		}
		delete(k.applied, e.ID)
	}
	return deleted, errors.Join(failed...)
}

// passOver says once of a stray that it stays.
func (r *Reconciler) passOver(s *v1alpha1.RepoSync, k *kept, e v1alpha1.InventoryEntry, err error) {
	if slices.Contains(k.denied, e.ID) {
		return
	}
	k.denied = append(k.denied, e.ID)
	r.Events.Eventf(s, nil, corev1.EventTypeWarning, "StrayKept", "Prune",
		"%s has the labels of this RepoSync, is not in its inventory, and stays, because it may not be deleted: remove it or its labels: %v", e.ID, err)
}

// deleteEntry deletes an object of the inventory, if it is still this
// RepoSync's and nobody has asked to keep it. It returns what it deleted, "" for
// nothing.
func (r *Reconciler) deleteEntry(ctx context.Context, at place, s *v1alpha1.RepoSync, e v1alpha1.InventoryEntry) (types.UID, error) {
	live, err := at.deletable(ctx, s, e)
	if live == nil || err != nil {
		return "", err
	}
	// Asked for only now: a namespace that goes takes the account with it, and all
	// that would have to be deleted.
	if err := at.accounts.Exists(ctx, at.accounts.Sync(s)); err != nil {
		return "", err
	}
	if err := at.deleteExact(ctx, live); err != nil {
		return "", err
	}
	return live.UID, nil
}

// deletable reads the object of an entry. It is nil when there is nothing to
// delete: it is gone or going, not this RepoSync's, or annotated to be kept.
func (at place) deletable(ctx context.Context, s *v1alpha1.RepoSync, e v1alpha1.InventoryEntry) (*metav1.PartialObjectMetadata, error) {
	live, err := at.owned(ctx, s, e)
	if live == nil || err != nil || !live.DeletionTimestamp.IsZero() || live.Annotations[repolayout.AnnotationPrune] == "disabled" {
		return nil, err
	}
	return live, nil
}

// owned reads the object of an entry. It is nil when it is gone, or not this
// RepoSync's.
func (at place) owned(ctx context.Context, s *v1alpha1.RepoSync, e v1alpha1.InventoryEntry) (*metav1.PartialObjectMetadata, error) {
	stub, err := inventory.Stub(e)
	if err != nil {
		return nil, nil //nolint:nilerr,nilnil // an entry that cannot be read names nothing that could be deleted
	}
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(stub.GroupVersionKind())
	err = at.reader.Get(ctx, client.ObjectKeyFromObject(stub), live)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // gone is no error, and nothing to delete
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s as it is: %w", apply.Describe(stub), err)
	}
	if !at.ownedBy(live, s) {
		return nil, nil //nolint:nilnil // as above
	}
	return live, nil
}

// deleteExact deletes the very object that was looked at, not one that took its
// name meanwhile.
func (at place) deleteExact(ctx context.Context, live *metav1.PartialObjectMetadata) error {
	err := account.Writer(ctx, at.client).Delete(ctx, live, client.Preconditions{UID: &live.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return account.Explain(ctx, fmt.Errorf("deleting %s: %w", apply.Describe(live), err))
	}
	return nil
}
