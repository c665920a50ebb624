// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/keyvault"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// noAccounts is an API server that has none.
type noAccounts struct{ client.Reader }

func (noAccounts) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Resource: "serviceaccounts"}, key.Name)
}

// TestAsksVaults: a vault is asked as an account of the namespace, and as the controller
// only where that writes.
func TestAsksVaults(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		own, named string // accounts of the RepoSync and of its decryption
		fallback   string // --default-service-account
		remote     bool
		as         string
	}{
		"Controller":   {"What is written as the controller is opened as it.", "", "", "", false, "system:serviceaccount::"},
		"Account":      {"What an account writes, it opens.", "models", "", "", false, "system:serviceaccount:models:models"},
		"Default":      {"With a default nobody reaches the controller's identity.", "", "", "tenant", false, "system:serviceaccount:models:tenant"},
		"Named":        {"An account for nothing else.", "models", "sops", "tenant", false, "system:serviceaccount:models:sops"},
		"Remote":       {"One who acts elsewhere is nobody here.", "models", "", "", true, ""},
		"RemoteNamed":  {"Unless it is said who.", "models", "sops", "", true, "system:serviceaccount:models:sops"},
		"RemoteNobody": {"The controller is not meant either.", "", "", "", true, ""},
	} {
		s := decrypting()
		s.Spec.ServiceAccountName, s.Spec.Decryption.ServiceAccountName = c.own, c.named
		if c.remote {
			s.Spec.KubeConfig = &v1alpha1.KubeConfig{}
		}
		r := &Reconciler{Deps: Deps{Accounts: account.New(account.Options{Config: &rest.Config{}, Default: c.fallback}), Vaults: keyvault.New(keyvault.Options{Reader: noAccounts{}})}}
		session := r.asksVaults(t.Context(), s)
		defer session.Close()
		if as := session.Mark(); as != c.as {
			t.Errorf("%s: %s\nasks as %q, want %q", name, c.reason, as, c.as)
		}
		if _, err := session.Decrypt(sops.VaultKey{URL: "https://evil.example.com"}, nil); c.as == "" && (err == nil || !strings.Contains(err.Error(), "spec.decryption.serviceAccountName")) {
			t.Errorf("%s: %s\n%v", name, c.reason, err)
		}
	}
}
