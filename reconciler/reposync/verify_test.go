// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const signedRepo = "models"

// signer is a person with a key, and the Secret that trusts it.
func signer(t *testing.T) (gitserver.Key, *corev1.Secret) {
	t.Helper()
	key, err := gitserver.PGPKey("Ada", "")
	if err != nil {
		t.Fatal(err)
	}
	return key, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "keys"}, Data: map[string][]byte{"ada.asc": []byte(key.Public)}}
}

// signedServer has commit and tag v1, each signed or not.
func signedServer(t *testing.T, key gitserver.Key, commit bool, tag string) *gitserver.Server {
	t.Helper()
	server, err := gitserver.Start(gitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.Create(signedRepo); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Push(signedRepo, "main", map[string]string{"a.yaml": "a: 1"}, "something"); err != nil {
		t.Fatal(err)
	}
	if commit {
		_, err = server.SignHead(signedRepo, "main", key)
	}
	switch {
	case err != nil:
	case tag != "":
		err = server.SignTag(signedRepo, tag, "v1", "main", key)
	default:
		err = server.Tag(signedRepo, "v1", "main", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return server
}

func verifying(server *gitserver.Server, mode v1alpha1.VerificationMode) *v1alpha1.RepoSync {
	s := team()
	s.Spec.Timeout.Duration = 20 * time.Second
	s.Spec.Source.Git = &v1alpha1.GitSource{
		URL: server.URL(signedRepo), Ref: v1alpha1.GitRef{Tag: "v1"},
		Verify: &v1alpha1.GitVerification{Mode: mode, SecretRef: v1alpha1.LocalObjectReference{Name: "keys"}},
	}
	return s
}

func TestVerify(t *testing.T) {
	key, trusts := signer(t)
	other, _ := signer(t)
	for name, c := range map[string]struct {
		reason string
		mode   v1alpha1.VerificationMode
		key    gitserver.Key
		commit bool
		tag    string
		want   string // reason of the condition, then words of its message
	}{
		"Commit":         {"The commit is what is demanded.", v1alpha1.VerifyHEAD, key, true, "", "Succeeded: Commit "},
		"CommitUnsigned": {"A signed tag is no signed commit.", v1alpha1.VerifyHEAD, key, false, "v1", "InvalidCommitSignature: carries no signature"},
		"CommitByOther":  {"Anybody can sign.", v1alpha1.VerifyHEAD, other, true, "", "InvalidCommitSignature: Secret models/keys"},
		"Tag":            {"The tag is what is demanded.", v1alpha1.VerifyTag, key, false, "v1", "Succeeded: Tag v1 is signed by OpenPGP key"},
		"TagUnsigned":    {"A signed commit is no signed tag.", v1alpha1.VerifyTag, key, true, "", "InvalidTagSignature: Tag v1 carries no signature"},
		"TagOfOther":     {"A release that was signed under one name is not pushed under another.", v1alpha1.VerifyTag, key, true, "v0", `InvalidTagSignature: it was made for tag "v0"`},
		"Both":           {"Both are looked at.", v1alpha1.VerifyTagAndHEAD, key, true, "v1", "Succeeded: Tag v1 is signed by OpenPGP key"},
		"BothOne":        {"One of two is not both.", v1alpha1.VerifyTagAndHEAD, key, false, "v1", "InvalidCommitSignature: carries no signature"},
	} {
		t.Run(name, func(t *testing.T) {
			server := signedServer(t, c.key, c.commit, c.tag)
			r := newReconciler(t, interceptor.Funcs{}, trusts)
			r.Source = source.NewStore(source.Options{})
			p := &pass{sync: verifying(server, c.mode), kept: &kept{}}
			err := r.source(t.Context(), p)
			reason, words, _ := strings.Cut(c.want, ": ")
			got := condition.Get(p.sync, v1alpha1.ConditionVerified)
			if got == nil || got.Reason != reason || !strings.Contains(got.Message, words) {
				t.Fatalf("%s\ngot %+v", c.reason, got)
			}
			if good := reason == v1alpha1.ReasonSucceeded; good != (err == nil) || good != (p.kept.commit != nil) || !good && !fault.IsTerminal(err) {
				t.Errorf("%s\nkept %v, error %v", c.reason, p.kept.commit, err)
			}
			if p.sync.Status.LastAttemptedRevision == "" {
				t.Error("it was looked at")
			}
		})
	}
}

// TestVerifyLater: keys that come are waited for, and a tag that is made anew on
// the same commit is read again.
func TestVerifyLater(t *testing.T) {
	key, trusts := signer(t)
	server := signedServer(t, key, false, "")
	r := newReconciler(t, interceptor.Funcs{})
	r.Source = source.NewStore(source.Options{})
	p := &pass{sync: verifying(server, v1alpha1.VerifyTag), kept: &kept{}}
	for _, step := range []struct {
		reason, want string
		then         func() error
	}{
		{"No Secret yet.", v1alpha1.ReasonVerificationError, func() error { return r.Client.Create(t.Context(), trusts, &client.CreateOptions{}) }},
		{"A light tag.", v1alpha1.ReasonInvalidTagSignature, func() error { return server.SignTag(signedRepo, "v1", "v1", "main", key) }},
		{"The same commit, tagged as it should be.", v1alpha1.ReasonSucceeded, func() error { p.sync.Spec.Source.Git.Verify = nil; p.sync.Generation++; return nil }},
	} {
		err := r.source(t.Context(), p)
		if got := condition.Get(p.sync, v1alpha1.ConditionVerified); got == nil || got.Reason != step.want {
			t.Fatalf("%s\ngot %+v, %v", step.reason, got, err)
		}
		if err := step.then(); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.source(t.Context(), p); err != nil || condition.Get(p.sync, v1alpha1.ConditionVerified) != nil {
		t.Errorf("nothing is demanded any more: %v", err)
	}
}
