// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// cosignKey is a private key as cosign keeps it.
func cosignKey(t *testing.T, password string) []byte {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := encrypted.Encrypt(der, []byte(password))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: closed})
}

// TestSignable: a Secret that cannot sign is told before a node is requested, and only
// then.
func TestSignable(t *testing.T) {
	key := cosignKey(t, "p4ss")
	with := func(key []byte, password string) map[string][]byte {
		return map[string][]byte{"cosign.key": key, "cosign.password": []byte(password)}
	}
	for name, tc := range map[string]struct {
		reason string
		data   map[string][]byte
		change func(*v1alpha1.Workspace)
		want   string
	}{
		"Key":           {reason: "as cosign makes it", data: with(key, "p4ss")},
		"OfAnother":     {reason: "the Secret of something else", data: map[string][]byte{"tls.key": []byte("k")}, want: "Secret models/key, which is to sign the adapter, has no cosign.key: cosign generate-key-pair k8s://models/key makes it"},
		"Empty":         {reason: "an empty key signs nothing", data: with(nil, "p4ss"), want: "has no cosign.key"},
		"WrongPassword": {reason: "the push would find out when the run is paid for", data: with(key, "p5ss"), want: "Secret models/key, which is to sign the adapter, cannot: cosign.password does not open cosign.key"},
		"NoPassword":    {reason: "the password was left out of the Secret", data: map[string][]byte{"cosign.key": key}, want: "cosign.password does not open cosign.key"},
		"NoKeyOfCosign": {reason: "a key of openssl", data: with([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), ""), want: "cosign.key is no private key of cosign"},
		"Suspended":     {reason: "nothing is bought", change: func(w *v1alpha1.Workspace) { w.Spec.Suspend = true }},
		"Unsigned":      {reason: "no key is asked for", change: func(w *v1alpha1.Workspace) { w.Spec.Tuning.Output.SigningSecret = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := beforeNodes(t, newRegistry(t), "hunter2")
			p.ws.Namespace = "models"
			p.ws.Spec.Tuning.Output.SigningSecret = "key"
			if tc.change != nil {
				tc.change(p.ws)
			}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "key"}, Data: tc.data}
			r.Reader = kubefake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(secret).Build()
			err := r.signable(t.Context(), p)
			if (err != nil) != (tc.want != "") || err != nil && !strings.Contains(err.Error(), tc.want) || fault.IsTerminal(err) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
			if err != nil && (strings.Contains(err.Error(), "p5ss") || strings.Contains(err.Error(), "BEGIN")) {
				t.Errorf("the message repeats a secret: %v", err)
			}
		})
	}
}

// TestKeyring: a key is opened once, and again when its Secret has changed.
func TestKeyring(t *testing.T) {
	var keys keyring
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{UID: "u", ResourceVersion: "1"},
		Data:       map[string][]byte{"cosign.key": cosignKey(t, "p4ss"), "cosign.password": []byte("p5ss")},
	}
	if err := keys.open(secret); err == nil {
		t.Error("a wrong password opened it")
	}
	secret.Data["cosign.password"] = []byte("p4ss")
	if err := keys.open(secret); err == nil {
		t.Error("the same version was opened again")
	}
	secret.ResourceVersion = "2"
	if err := keys.open(secret); err != nil {
		t.Errorf("the mended Secret does not open: %v", err)
	}
}
