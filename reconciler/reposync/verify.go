// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// judgement is what a look at a commit has come to.
type judgement struct {
	revision string
	content  string // hash of its files without reports, where it is looked at
	by       string // who signed it; "": nobody was asked for
	refused  error  // why nothing of it gets any further
}

// say sets the condition that says so.
func (j *judgement) say(s *v1alpha1.RepoSync) {
	switch {
	case j.refused != nil:
		condition.False(s, v1alpha1.ConditionVerified, fault.Reason(j.refused, v1alpha1.ReasonVerificationError), j.refused.Error())
	case j.by != "":
		condition.True(s, v1alpha1.ConditionVerified, v1alpha1.ReasonSucceeded, j.by)
	default:
		condition.Remove(s, v1alpha1.ConditionVerified)
	}
}

// verify sees that what was read carries the signature that is demanded. It errs
// where it cannot tell.
func (r *Reconciler) verify(ctx context.Context, s *v1alpha1.RepoSync, commit *source.Commit) (*judgement, error) {
	judged, from := &judgement{revision: commit.Revision}, s.Spec.Source.Git
	if from == nil || from.Verify == nil {
		return judged, nil
	}
	keys, err := r.keys(ctx, s)
	if err == nil {
		judged.by, err = judge(from, commit, keys, s.Namespace)
	}
	if err == nil {
		return judged, nil
	}
	if fault.Reason(err, "") == "" {
		return nil, fault.Retry(v1alpha1.ReasonVerificationError, err)
	}
	judged.refused = err
	return judged, r.forget(ctx, s)
}

// forget makes the next look read the tag anew, where it is the tag that is signed.
func (r *Reconciler) forget(ctx context.Context, s *v1alpha1.RepoSync) error {
	if s.Spec.Source.Git.Ref.Tag == "" {
		return nil
	}
	req, err := r.request(ctx, s)
	if err == nil {
		r.Source.Forget(req)
	}
	return err
}

// keys reads the public keys of those who may sign.
func (r *Reconciler) keys(ctx context.Context, s *v1alpha1.RepoSync) (git.Keys, error) {
	key := types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.Source.Git.Verify.SecretRef.Name}
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return git.Keys{}, fault.Retry(v1alpha1.ReasonVerificationError,
			fmt.Errorf("secret %s of spec.source.git.verify does not exist: create it with the public keys of those who may sign, as NAME.asc or NAME.sshpub", key))
	}
	if err != nil {
		return git.Keys{}, fmt.Errorf("reading secret %s: %w", key, err)
	}
	keys, err := git.KeysOf(secret.Data)
	if err != nil {
		return git.Keys{}, fault.Stop(v1alpha1.ReasonVerificationError, fmt.Errorf("secret %s of spec.source.git.verify: %w", key, err))
	}
	return keys, nil
}

// judge says by whom a commit, its tag, or both are signed, as the mode demands.
func judge(from *v1alpha1.GitSource, commit *source.Commit, keys git.Keys, namespace string) (string, error) {
	secret := namespace + "/" + from.Verify.SecretRef.Name
	mode := cmp.Or(from.Verify.Mode, v1alpha1.VerifyHEAD)
	var by []string
	if mode != v1alpha1.VerifyHEAD {
		key, err := judgeTag(from.Ref.Tag, commit.Tag, keys)
		if err != nil {
			return "", unsigned(err, v1alpha1.ReasonInvalidTagSignature, "Tag "+from.Ref.Tag, "git tag -s --force", secret)
		}
		by = append(by, fmt.Sprintf("Tag %s is signed by %s", from.Ref.Tag, key))
	}
	if mode != v1alpha1.VerifyTag {
		key, err := commit.Commit.By(keys)
		if err != nil {
			return "", unsigned(err, v1alpha1.ReasonInvalidCommitSignature, "Commit "+commit.Hash, "git commit --amend -S, or another commit with -S", secret)
		}
		by = append(by, fmt.Sprintf("Commit %s is signed by %s", commit.Hash, key))
	}
	return strings.Join(by, "; "), nil
}

// judgeTag looks at the name as well: a signed tag under another name is what its
// signer never said.
func judgeTag(name string, tag *git.Signed, keys git.Keys) (string, error) {
	if tag == nil {
		return "", git.ErrNotSigned
	}
	key, err := tag.By(keys)
	if err == nil && tag.TagName != name {
		return "", fmt.Errorf("%w: it was made for tag %q", git.ErrNotTrusted, tag.TagName)
	}
	return key, err
}

func unsigned(err error, reason, what, how, secret string) error {
	if errors.Is(err, git.ErrNotSigned) {
		return fault.Stopf(reason, "%s carries no signature, which spec.source.git.verify demands: %s. Sign it (%s) with a key whose public half is in Secret %s, and push", what, undone, how, secret)
	}
	return fault.Stopf(reason, "%s is not verified by the keys of Secret %s: %w; %s. Have it signed by somebody whose key is there (%s), or add the public key to the Secret as NAME.asc or NAME.sshpub", what, secret, err, undone, how)
}
