// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// prune deletes what Git dropped, behind the guard of apply.DecidePrune.
func (r *Reconciler) prune(ctx context.Context, p *pass) error {
	s := p.sync
	wantedNow := entriesOf(p.kept.built.wanted)
	decision := apply.DecidePrune(apply.PruneInput{
		Inventory: s.Status.Inventory,
		Wanted:    wantedNow,
		Failed:    len(errorsOf(p.kept.built.findings)) + len(p.refusals),
		Commit:    p.kept.commit.Hash,
		Approved:  s.Annotations[repolayout.AnnotationApprovePrune],
		Disabled:  s.Spec.Prune != nil && !*s.Spec.Prune,
	})
	kept := decision.Keep
	for _, e := range decision.Delete {
		deleted, err := r.deleteEntry(ctx, s, e)
		if err != nil {
			return err
		}
		if deleted {
			p.pruned = append(p.pruned, e)
		}
		delete(p.kept.applied, e.ID)
	}
	s.Status.Inventory = apply.Union(wantedNow, kept)
	p.held = decision.HeldMessage
	if p.held == "" {
		condition.Remove(s, v1alpha1.ConditionPruneHeld)
		return nil
	}
	condition.True(s, v1alpha1.ConditionPruneHeld, decision.HeldReason, p.held)
	return nil
}

// deleteEntry deletes an object of the inventory, if it is still this
// RepoSync's and nobody has asked to keep it. It says whether it did.
func (r *Reconciler) deleteEntry(ctx context.Context, s *v1alpha1.RepoSync, e v1alpha1.InventoryEntry) (bool, error) {
	stub, err := apply.Stub(e)
	if err != nil {
		return false, nil //nolint:nilerr // an entry that cannot be read names nothing that could be deleted
	}
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(stub.GroupVersionKind())
	err = r.Reader.Get(ctx, client.ObjectKeyFromObject(stub), live)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %s before deleting it: %w", apply.Describe(stub), err)
	}
	if !ownedBy(live, s) || live.Annotations[repolayout.AnnotationPrune] == "disabled" {
		return false, nil
	}
	if err := r.deleteExact(ctx, stub, live); err != nil {
		return false, err
	}
	return true, nil
}

// deleteExact deletes the very object that was looked at, not one that took its
// name meanwhile.
func (r *Reconciler) deleteExact(ctx context.Context, stub *unstructured.Unstructured, live *metav1.PartialObjectMetadata) error {
	err := r.Client.Delete(ctx, stub, client.Preconditions{UID: &live.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting %s: %w", apply.Describe(stub), err)
	}
	return nil
}

func ownedBy(o client.Object, s *v1alpha1.RepoSync) bool {
	return o.GetLabels()[repolayout.LabelSyncName] == s.Name && o.GetLabels()[repolayout.LabelSyncNamespace] == s.Namespace
}
