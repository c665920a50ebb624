// SPDX-License-Identifier: Apache-2.0

package review

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// warnShared makes an event, when it is new, where another RepoSync of this cluster that
// was there before sets statuses of the same names. A status belongs to a commit: on two
// branches they meet where two pull requests have one head, which no comment shows. What
// is asked is answered all the same, since most heads are of one pull request.
func (r *Reconciler) warnShared(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	var all v1alpha1.RepoSyncList
	if err := r.Client.List(ctx, &all, client.UnsafeDisableDeepCopy); err != nil { // nobody changes them
		return fmt.Errorf("listing RepoSyncs: %w", err)
	}
	shares := ""
	if first := firstOf(all.Items, s); first != nil {
		shares = first.Namespace + "/" + first.Name
	}
	if shares != "" && shares != k.shares {
		r.Events.Eventf(s, nil, corev1.EventTypeWarning, ReasonReviewConflict, "Review",
			"RepoSync %s sets the statuses %s/... in this repository too, and on a commit that is the head of pull requests to both branches one would hide the other's: give each its own review.statusPrefix",
			shares, s.Spec.Review.StatusPrefix)
	}
	k.shares = shares
	return nil
}

// firstOf is the RepoSync that was first to set statuses of the same names as another;
// nil where that one is alone or the first.
func firstOf(all []v1alpha1.RepoSync, s *v1alpha1.RepoSync) *v1alpha1.RepoSync {
	first := s
	for i := range all {
		if o := &all[i]; reviewed(o) && setsSame(o, s) && byAge(o, first) < 0 {
			first = o
		}
	}
	if first.Namespace == s.Namespace && first.Name == s.Name {
		return nil
	}
	return first
}

// byAge orders RepoSyncs, the oldest first.
func byAge(a, b *v1alpha1.RepoSync) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// reviewed says whether pull requests of a RepoSync are answered.
func reviewed(s *v1alpha1.RepoSync) bool {
	return s.Spec.Review != nil && !s.Spec.Suspend && s.DeletionTimestamp.IsZero()
}

// setsSame says whether two set statuses of the same names in the same repository.
func setsSame(a, b *v1alpha1.RepoSync) bool {
	return a.Spec.Review.StatusPrefix == b.Spec.Review.StatusPrefix && repositoryOf(a) == repositoryOf(b)
}

// repositoryOf is the address of the repository on its forge, as it may be written.
func repositoryOf(s *v1alpha1.RepoSync) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(addressOf(s), "/"), ".git"))
}

// addressOf is the address that a forge is connected by.
func addressOf(s *v1alpha1.RepoSync) string {
	if url := s.Spec.Review.URL; url != "" || s.Spec.Source.Git == nil {
		return url
	}
	return s.Spec.Source.Git.URL
}
