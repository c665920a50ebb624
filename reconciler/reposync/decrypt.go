// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/keyvault"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// undone ends what is said where nothing of a revision can be read.
const undone = "nothing of it is applied, and what runs stays as it is"

// keysOf is the Secret with the keys; only where there is one.
func keysOf(s *v1alpha1.RepoSync) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Spec.Decryption.SecretRef.Name}
}

// keysVersion tells one state of the Secret of spec.decryption from another; "" where
// none is named. It is the cache that is asked, which has the metadata of Secrets: a
// pass in which nothing has changed reads no Secret.
func (r *Reconciler) keysVersion(ctx context.Context, s *v1alpha1.RepoSync) (string, error) {
	if s.Spec.Decryption == nil || s.Spec.Decryption.SecretRef == nil {
		return "", nil
	}
	key := keysOf(s)
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	switch err := r.Client.Get(ctx, key, secret); {
	case apierrors.IsNotFound(err):
		return "missing", nil // the read that follows says so, past the cache
	case err != nil:
		return "", fmt.Errorf("reading the metadata of secret %s: %w", key, err)
	}
	return string(secret.UID) + "/" + secret.ResourceVersion, nil
}

// decrypting is a tree whose encrypted files read as plain text, where the RepoSync
// has keys for them or a vault has, and who asks vaults as long as it is read; nil: nobody.
func (r *Reconciler) decrypting(ctx context.Context, s *v1alpha1.RepoSync, tree fs.FS) (fs.FS, *keyvault.Session, error) {
	if s.Spec.Decryption == nil {
		return tree, nil, nil
	}
	keys, err := r.privateKeys(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	if r.Vaults == nil {
		return keys.Tree(tree), nil, nil
	}
	asks := r.asksVaults(ctx, s)
	return keys.Asking(asks, asks.Mark()).Tree(tree), asks, nil
}

// asksVaults decides as whom vaults are asked: as an account of the RepoSync's namespace,
// and as the controller only where the RepoSync acts as that and names no account for it.
func (r *Reconciler) asksVaults(ctx context.Context, s *v1alpha1.RepoSync) *keyvault.Session {
	who := r.Accounts.Sync(s)
	switch name := s.Spec.Decryption.ServiceAccountName; {
	case name != "":
		who = account.Account{Namespace: s.Namespace, Name: name}
	case s.Spec.KubeConfig != nil:
		return keyvault.Nobody("a RepoSync with kubeConfig acts as nobody of this cluster: name an account of it, with a workload identity, in spec.decryption.serviceAccountName")
	}
	return r.Vaults.Session(ctx, who)
}

// privateKeys are those of the Secret that is named; where none is, there are none.
func (r *Reconciler) privateKeys(ctx context.Context, s *v1alpha1.RepoSync) (*sops.Keys, error) {
	if s.Spec.Decryption.SecretRef == nil {
		return &sops.Keys{}, nil
	}
	key := keysOf(s)
	secret := &corev1.Secret{}
	err := r.Reader.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return nil, fault.Retry(v1alpha1.ReasonDecryptionFailed,
			fmt.Errorf("secret %s of spec.decryption does not exist: create it with NAME.agekey, an age identity, or NAME.asc, an OpenPGP private key; %s", key, undone))
	}
	if err != nil {
		return nil, fmt.Errorf("reading secret %s: %w", key, err)
	}
	keys, err := sops.KeysOf(secret.Data)
	if err != nil {
		return nil, fault.Stopf(v1alpha1.ReasonDecryptionFailed, "secret %s of spec.decryption: %w; %s", key, err, undone)
	}
	return keys, nil
}

// undecrypted stops a revision of which a file cannot be opened: what belongs together
// is not applied without it.
func undecrypted(s *v1alpha1.RepoSync, asked *keyvault.Session, units []build.Unit) error {
	var first *v1alpha1.Finding
	files := map[string]bool{}
	for _, u := range units {
		for _, f := range u.Findings {
			if f.Code != finding.DecryptionFailed {
				continue
			}
			if files[f.File] = true; first == nil {
				first = &f
			}
		}
	}
	if first == nil {
		return nil
	}
	more := ""
	if len(files) > 1 {
		more = fmt.Sprintf(" (and %d files more)", len(files)-1)
	}
	keys := ""
	if s.Spec.Decryption.SecretRef != nil && !asked.Refused() {
		keys = fmt.Sprintf("the keys are those of secret %s; ", keysOf(s))
	}
	err := fmt.Errorf("%s%s; %s%s", first.Message, more, keys, undone)
	if asked.Retryable() {
		return fault.Retry(v1alpha1.ReasonDecryptionFailed, err)
	}
	return fault.Stop(v1alpha1.ReasonDecryptionFailed, err)
}

// hides says that what the API server says of an object may quote what was decrypted.
func (p *pass) hides(w *wanted) bool {
	return p.sync.Spec.Decryption != nil && w.kind().Kind == "Secret"
}

// guarded takes the API server's words on a Secret away from a RepoSync that decrypts:
// they may quote what it holds.
func (p *pass) guarded(w *wanted, err error) string {
	if !p.hides(w) {
		return err.Error()
	}
	return fmt.Sprintf("the API server refuses it (%s); what it says is not shown, since it may quote what was decrypted: "+
		"try the decrypted file with kubectl apply --dry-run=server", apierrors.ReasonForError(err))
}

// guard does the same to an error, whichever it is: a proxy, a webhook and our own
// mistakes quote too. It stays terminal or not, and holds nothing else of what it was. A
// conflict is none of them: it names fields.
func (p *pass) guard(w *wanted, err error) error {
	if err == nil || !p.hides(w) {
		return err
	}
	words := fmt.Errorf("applying %s failed (%s); what was said is not shown, since it may quote what was decrypted: "+
		"try the decrypted file with kubectl apply --dry-run=server", w, cmp.Or(string(apierrors.ReasonForError(err)), "no reason given"))
	if fault.IsTerminal(err) {
		return fault.Stopf(fault.Reason(err, v1alpha1.ReasonApplyFailed), "%w; an account without the right needs a Role (docs/tenants.md)", words)
	}
	return words
}
