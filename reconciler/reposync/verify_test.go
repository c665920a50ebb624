// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/source"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
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
	server := gitserver.Serve(t, gitserver.Options{}, signedRepo)
	_, err := server.Push(signedRepo, "main", map[string]string{"a.yaml": "a: 1"}, "something")
	if err == nil && commit {
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
		{"No Secret yet.", v1alpha1.ReasonVerificationError, func() error {
			r.asked.Store(p.sync.UID, true) // as the watch of Secrets does
			return r.Client.Create(t.Context(), trusts, &client.CreateOptions{})
		}},
		{"A light tag.", v1alpha1.ReasonInvalidTagSignature, func() error {
			r.asked.Store(p.sync.UID, true) // as a hook does
			return server.SignTag(signedRepo, "v1", "v1", "main", key)
		}},
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

// TestVerifiedInEveryPass: the status of the pass that looked may have met a conflict
// and be lost; the next says the same without a look.
func TestVerifiedInEveryPass(t *testing.T) {
	key, trusts := signer(t)
	for name, c := range map[string]struct {
		reason   string
		signed   bool
		demanded bool
		stale    metav1.ConditionStatus // of the status that is left; "": none
		want     metav1.ConditionStatus
	}{
		"Good":          {"It was looked at and found good.", true, true, "", metav1.ConditionTrue},
		"GoodAgain":     {"What was said of an earlier commit is no longer true.", true, true, metav1.ConditionFalse, metav1.ConditionTrue},
		"Bad":           {"The status of the commit before must not speak for this one.", false, true, metav1.ConditionTrue, metav1.ConditionFalse},
		"NotDemanded":   {"Nobody looks at signatures any more.", true, false, metav1.ConditionTrue, ""},
		"NeverDemanded": {"Nobody ever did.", true, false, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := signedServer(t, key, c.signed, "")
			r := newReconciler(t, interceptor.Funcs{}, trusts)
			r.Source = source.NewStore(source.Options{})
			s := verifying(server, v1alpha1.VerifyHEAD)
			if !c.demanded {
				s.Spec.Source.Git.Verify = nil
			}
			k := &kept{}
			first := r.source(t.Context(), &pass{sync: s.DeepCopy(), kept: k})
			server.Break(gitserver.Fault{Status: http.StatusServiceUnavailable})
			if c.stale != "" {
				s.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionVerified, Status: c.stale, Reason: "Stale"}}
			}
			second := r.source(t.Context(), &pass{sync: s, kept: k})
			if (first == nil) != (second == nil) || second != nil && second.Error() != first.Error() {
				t.Errorf("%s\nfirst %v, then %v", c.reason, first, second)
			}
			var got metav1.ConditionStatus
			if condition := condition.Get(s, v1alpha1.ConditionVerified); condition != nil {
				got = condition.Status
			}
			if got != c.want || s.Status.LastAttemptedRevision == "" {
				t.Errorf("%s\nSourceVerified is %q of %q, want %q", c.reason, got, s.Status.LastAttemptedRevision, c.want)
			}
		})
	}
}

// TestUnsignedOnce: a commit that is refused is not asked for again with every event,
// and is when there is a cause.
func TestUnsignedOnce(t *testing.T) {
	key, trusts := signer(t)
	for name, c := range map[string]struct {
		mode  v1alpha1.VerificationMode
		trust bool
	}{"Commit": {v1alpha1.VerifyHEAD, true}, "Tag": {v1alpha1.VerifyTag, true}, "NoKeys": {v1alpha1.VerifyHEAD, false}} {
		t.Run(name, func(t *testing.T) {
			server := signedServer(t, key, false, "")
			r := newReconciler(t, interceptor.Funcs{})
			if c.trust {
				r = newReconciler(t, interceptor.Funcs{}, trusts)
			}
			now := time.Now()
			r.Source, r.Clock = source.NewStore(source.Options{}), func() time.Time { return now }
			p := &pass{sync: verifying(server, c.mode), kept: &kept{}}
			p.sync.Spec.Interval.Duration = 10 * time.Minute
			for _, cause := range []struct {
				reason string
				make   func()
			}{
				{"Nothing is known yet.", func() {}},
				{"The hook, or a Secret that changed.", func() { r.asked.Store(p.sync.UID, true) }},
				{"The interval is over.", func() { now = now.Add(10 * time.Minute) }},
				{"The annotation.", func() { p.sync.Annotations = map[string]string{repolayout.AnnotationReconcileAt: "now"} }},
				{"Another spec.", func() { p.sync.Generation++ }},
			} {
				server.ResetRequests()
				cause.make()
				first := r.source(t.Context(), p)
				asked := server.Requests()
				if first == nil || len(asked) == 0 {
					t.Errorf("%s It is looked at: %v, %v", cause.reason, asked, first)
				}
				for range 3 {
					if err := r.source(t.Context(), p); err == nil || err.Error() != first.Error() || fault.IsTerminal(err) != c.trust {
						t.Errorf("%s The event that follows says %v", cause.reason, err)
					}
				}
				if diff := cmp.Diff(asked, server.Requests()); diff != "" {
					t.Errorf("%s The events that follow ask again:\n%s", cause.reason, diff)
				}
			}
		})
	}
}
