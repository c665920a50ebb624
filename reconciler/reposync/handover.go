// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// handOver lets go of what the RepoSync applied before its mode was ReportOnly, so
// that it is nobody's until somebody else applies it: a later switch back must
// prune nothing that belongs to Flux by then (docs/design/0026).
func (r *Reconciler) handOver(ctx context.Context, p *pass) error {
	s := p.sync
	applied, err := r.labelled(ctx, r.own(), r.Client, s, anything)
	if err != nil {
		return err
	}
	var failed []error
	n := 0
	for _, e := range inventory.Union(s.Status.Inventory, entriesOfAll(applied)) {
		released, err := r.letGo(ctx, s, e)
		if err != nil {
			failed = append(failed, err)
		}
		if released {
			n++
		}
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	s.Status.Inventory = nil
	p.kept.applied, p.kept.built, p.kept.assembled = map[string]apply.Mark{}, built{}, assembled{}
	if n > 0 {
		r.Events.Eventf(s, nil, corev1.EventTypeNormal, "HandedOver", "Release",
			"%d objects that were applied before are nobody's now: what applies the Workspaces takes them over", n)
	}
	return nil
}

// marks are what applying has noted on an object.
var marks = []string{
	repolayout.AnnotationDigest, repolayout.AnnotationRevision, repolayout.AnnotationSource,
	repolayout.AnnotationSubstituted, repolayout.AnnotationDefaulted,
}

// letGo takes our labels and notes off an object, and our claim to its fields: a
// field that its next owner drops must go. It says whether there was anything.
func (r *Reconciler) letGo(ctx context.Context, s *v1alpha1.RepoSync, e v1alpha1.InventoryEntry) (bool, error) {
	live, err := r.own().owned(ctx, s, e)
	if live == nil || err != nil {
		return false, err
	}
	before := live.DeepCopy()
	delete(live.Labels, repolayout.LabelSyncName)
	delete(live.Labels, repolayout.LabelSyncNamespace)
	for _, key := range marks {
		delete(live.Annotations, key)
	}
	live.ManagedFields = slices.DeleteFunc(slices.Clone(live.ManagedFields), func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == repolayout.FieldManager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == ""
	})
	if len(live.ManagedFields) == 0 {
		live.ManagedFields = []metav1.ManagedFieldsEntry{{}} // how the API server is asked for none
	}
	err = r.Client.Patch(ctx, live, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("letting go of %s: %w", e.ID, err)
	}
	return true, nil
}
