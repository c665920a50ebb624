// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// signer is who signs the status commits; nil: nobody does.
func (r *Reconciler) signer(ctx context.Context, s *v1alpha1.RepoSync) (git.Signer, error) {
	signing := s.Spec.Report.Commit.Signing
	if signing == nil {
		return nil, nil
	}
	const field = "spec.report.commit.signing"
	key := types.NamespacedName{Namespace: s.Namespace, Name: signing.SecretRef.Name}
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, fault.Retry(v1alpha1.ReasonSigningFailed,
			fmt.Errorf("secret %s of %s does not exist: create it with git.asc, an OpenPGP private key, or identity, an SSH private key", key, field))
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", key, err)
	}
	signer, err := git.SignerOf(secret.Data)
	if err != nil {
		return nil, fault.Stop(v1alpha1.ReasonSigningFailed, fmt.Errorf("secret %s of %s: %w: nothing is written unsigned", key, field, err))
	}
	return signer, nil
}
