// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func decrypting() *v1alpha1.RepoSync {
	return &v1alpha1.RepoSync{
		ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team"},
		Spec:       v1alpha1.RepoSyncSpec{Decryption: &v1alpha1.Decryption{Provider: v1alpha1.DecryptionSOPS, SecretRef: &v1alpha1.LocalObjectReference{Name: "keys"}}},
	}
}

// TestUndecrypted: one file that is not opened stops the revision, and the message
// names the keys that were tried.
func TestUndecrypted(t *testing.T) {
	bad := func(file string) build.Unit {
		return build.Unit{Path: file, Findings: []v1alpha1.Finding{{Severity: finding.Error, Code: finding.DecryptionFailed, File: file, Message: file + " is encrypted for none"}}}
	}
	other := build.Unit{Path: "o", Findings: []v1alpha1.Finding{{Severity: finding.Error, Code: build.BuildFailed, File: "o", Message: "no"}}}
	if err := undecrypted(decrypting(), nil, []build.Unit{other}); err != nil {
		t.Errorf("another mistake stops its own unit alone: %v", err)
	}
	err := undecrypted(decrypting(), nil, []build.Unit{other, bad("a"), bad("b"), bad("c"), bad("c")})
	want := "a is encrypted for none (and 2 files more); the keys are those of secret models/keys; nothing of it is applied, and what runs stays as it is"
	if err == nil || !fault.IsTerminal(err) || fault.Reason(err, "") != v1alpha1.ReasonDecryptionFailed || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// TestGuarded: the API server's words on a Secret may quote it.
func TestGuarded(t *testing.T) {
	refusal := apierrors.NewBadRequest(`.stringData.token: expected string, got &value.valueUnstructured{Value:"hunter2"}`)
	of := func(kind string) *wanted {
		return &wanted{entry: v1alpha1.InventoryEntry{ID: "models_hf__" + kind, Version: "v1"}}
	}
	plain := decrypting()
	plain.Spec.Decryption = nil
	for name, c := range map[string]struct {
		reason string
		sync   *v1alpha1.RepoSync
		kind   string
		quotes bool
	}{
		"Secret":    {"Of a Secret that was decrypted nothing is repeated.", decrypting(), "Secret", false},
		"ConfigMap": {"A ConfigMap is in plain text in Git.", decrypting(), "ConfigMap", true},
		"Plain":     {"So is a Secret where nothing is decrypted.", plain, "Secret", true},
	} {
		got := (&pass{sync: c.sync}).guarded(of(c.kind), refusal)
		if strings.Contains(got, "hunter2") != c.quotes || !c.quotes && !strings.Contains(got, "(BadRequest)") {
			t.Errorf("%s: %s\ngot %s", name, c.reason, got)
		}
	}
}

// TestGuard: nor may any other error, whoever it is of, and a terminal one stays one.
func TestGuard(t *testing.T) {
	secret := &wanted{entry: v1alpha1.InventoryEntry{ID: "_hf__Secret", Version: "v1"}}
	for name, c := range map[string]struct {
		reason   string
		err      error
		terminal bool
		says     string
	}{
		"Webhook":  {"A webhook fails with what it was sent.", apierrors.NewInternalError(errors.New("calling the webhook: hunter2")), false, "(InternalError)"},
		"TooLarge": {"So does a server that takes no more.", apierrors.NewRequestEntityTooLargeError("hunter2"), false, "(RequestEntityTooLarge)"},
		"Proxy":    {"Or what is before it.", errors.New("502: hunter2"), false, "(no reason given)"},
		"Right":    {"A right that is missing stops all.", fault.Stop(v1alpha1.ReasonAccessDenied, errors.New("hunter2")), true, "docs/tenants.md"},
	} {
		got := (&pass{sync: decrypting()}).guard(secret, c.err)
		if got == nil || strings.Contains(fmt.Sprintf("%v %+v", got, got), "hunter2") || errors.Is(got, c.err) || fault.IsTerminal(got) != c.terminal ||
			!strings.Contains(got.Error(), c.says) || fault.Reason(got, "") != fault.Reason(c.err, "") {
			t.Errorf("%s: %s\ngot %v", name, c.reason, got)
		}
	}
	if err := (&pass{sync: decrypting()}).guard(secret, nil); err != nil {
		t.Errorf("nothing failed: %v", err)
	}
}

// panicking is a client that says what it was asked, at the top of its voice.
type panicking struct{ client.Client }

func (panicking) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	panic("hunter2")
}

// TestGuardedPanic: what a panic says may be anything.
func TestGuardedPanic(t *testing.T) {
	var logged strings.Builder
	ctx := logr.NewContext(t.Context(), funcr.New(func(_, args string) { logged.WriteString(args) }, funcr.Options{}))
	secret := &wanted{entry: v1alpha1.InventoryEntry{ID: "_hf__Secret", Version: "v1"}}
	r := &Reconciler{Deps: Deps{Client: panicking{}}}
	err := r.applyGuarded(ctx, &pass{sync: decrypting(), kept: &kept{}}, secret)
	if err == nil || strings.Contains(err.Error()+logged.String(), "hunter2") || !strings.Contains(logged.String(), "panicked") {
		t.Errorf("got %v, logged %s", err, logged.String())
	}
}

// TestBuiltOf: other keys make something else of the same revision.
func TestBuiltOf(t *testing.T) {
	s := decrypting()
	b := built{revision: "main@sha1:1", keys: "uid/1"}
	if !b.of(s, "main@sha1:1", "uid/1") || b.of(s, "main@sha1:1", "uid/2") || b.of(s, "main@sha1:2", "uid/1") {
		t.Error("what was built is of one revision and of one state of the keys")
	}
}
