// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/cosign"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// signable sees, before a node is requested, that the Secret which is to sign the
// adapter holds a key, and the password that opens it: the push, which needs both,
// comes when the run is paid for.
func (r *Reconciler) signable(ctx context.Context, p *pass) error {
	if !p.beforeRun() || p.ws.Spec.Tuning.Output.SigningSecret == "" {
		return nil
	}
	key := types.NamespacedName{Namespace: p.ws.Namespace, Name: p.ws.Spec.Tuning.Output.SigningSecret}
	secret := &corev1.Secret{}
	if err := r.Reader.Get(ctx, key, secret); err != nil {
		return fmt.Errorf("reading Secret %s: %w", key, err)
	}
	// The watch of Secrets tells of a change in both cases.
	if len(secret.Data[cosign.KeyFile]) == 0 {
		return fault.Wait(v1alpha1.ReasonInputMissing, 0,
			"Secret %s, which is to sign the adapter, has no %s: cosign generate-key-pair k8s://%s/%s makes it. No node is requested before", key, cosign.KeyFile, key.Namespace, key.Name)
	}
	if err := r.keys.open(secret); err != nil {
		return fault.Wait(v1alpha1.ReasonInputMissing, 0,
			"Secret %s, which is to sign the adapter, cannot: %v. No node is requested before", key, err)
	}
	return nil
}

// keyring remembers of Secrets whether their keys open, and no key.
type keyring struct {
	mu    sync.Mutex // one at a time: each takes up to 128 MiB
	known map[types.UID]opened
}

// opened is what came of a version of a Secret.
type opened struct {
	version string
	err     error
}

func (k *keyring) open(secret *corev1.Secret) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if was, ok := k.known[secret.UID]; ok && was.version == secret.ResourceVersion {
		return was.err
	}
	_, err := cosign.Open(secret.Data[cosign.KeyFile], secret.Data[cosign.PasswordFile])
	if k.known == nil {
		k.known = map[types.UID]opened{}
	}
	k.known[secret.UID] = opened{version: secret.ResourceVersion, err: err}
	return err
}
