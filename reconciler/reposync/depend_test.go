// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// depending is a RepoSync of the namespace models that waits for others.
func depending(name string, on ...string) *v1alpha1.RepoSync {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name, UID: types.UID(name), Generation: 1}}
	s.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://git.example.com/models.git", Ref: v1alpha1.GitRef{Branch: "main"}}
	for _, o := range on {
		d := v1alpha1.Dependency{Name: o}
		if namespace, name, ok := strings.Cut(o, "/"); ok {
			d = v1alpha1.Dependency{Namespace: namespace, Name: name}
		}
		s.Spec.DependsOn = append(s.Spec.DependsOn, d)
	}
	return s
}

// readyAt is a RepoSync that is Ready at a revision.
func readyAt(s *v1alpha1.RepoSync, revision string) *v1alpha1.RepoSync {
	s.Status.ObservedGeneration, s.Status.LastAppliedRevision = s.Generation, revision
	condition.Ready(s, v1alpha1.ReasonSucceeded, "Applied revision "+revision)
	return s
}

func TestDepend(t *testing.T) {
	const at = "main@sha1:" + testHash
	elsewhere := func(s *v1alpha1.RepoSync) *v1alpha1.RepoSync {
		s.Spec.Source.Git.URL = "https://git.example.com/pools.git"
		return s
	}
	unready := readyAt(depending("pools"), at)
	condition.Stalled(unready, v1alpha1.ReasonBuildFailed, "broken")
	changed := readyAt(depending("pools"), at)
	changed.Generation = 2
	going := readyAt(depending("pools"), at)
	going.DeletionTimestamp, going.Finalizers = &metav1.Time{Time: metav1.Now().Time}, []string{"x"}
	platform := readyAt(depending("pools"), at)
	platform.Namespace = "platform"

	for name, c := range map[string]struct {
		reason string
		on     []string
		there  []client.Object
		strict bool
		cause  string // the reason of the condition, "" when it goes on
		says   string
	}{
		"Nothing":        {reason: "Most name nobody."},
		"Ready":          {reason: "At the revision that is about to be applied.", on: []string{"pools"}, there: []client.Object{readyAt(depending("pools"), at)}},
		"Missing":        {"It may be on its way, in another repository.", []string{"pools"}, nil, false, v1alpha1.ReasonDependencyNotReady, "RepoSync models/pools does not exist"},
		"NotReady":       {"Its reason helps to find out why.", []string{"pools"}, []client.Object{unready}, false, v1alpha1.ReasonDependencyNotReady, "is not Ready (BuildFailed)"},
		"NeverSeen":      {"Nothing is known of it.", []string{"pools"}, []client.Object{depending("pools")}, false, v1alpha1.ReasonDependencyNotReady, "has not been looked at yet"},
		"Changed":        {"It is Ready as it was.", []string{"pools"}, []client.Object{changed}, false, v1alpha1.ReasonDependencyNotReady, "has not been looked at yet"},
		"Going":          {"What it has applied goes.", []string{"pools"}, []client.Object{going}, false, v1alpha1.ReasonDependencyNotReady, "is being deleted"},
		"Behind":         {"A commit that changes both is applied in order.", []string{"pools"}, []client.Object{readyAt(depending("pools"), "main@sha1:0000")}, false, v1alpha1.ReasonDependencyNotReady, "is at main@sha1:0000 of the same source"},
		"AnotherSource":  {reason: "Revisions of two repositories say nothing about each other.", on: []string{"pools"}, there: []client.Object{elsewhere(readyAt(depending("pools"), "main@sha1:0000"))}},
		"Elsewhere":      {reason: "As Flux has it, unless the flag forbids it.", on: []string{"platform/pools"}, there: []client.Object{platform}},
		"ForbiddenThere": {"The flag is for clusters of several teams.", []string{"platform/pools"}, []client.Object{platform}, true, v1alpha1.ReasonAccessDenied, "--no-cross-namespace-refs"},
		"Circle": {
			reason: "Each would wait for the other, and none could say why.",
			on:     []string{"pools"}, there: []client.Object{depending("pools", "queues"), depending("queues", "team")},
			cause: v1alpha1.ReasonDependencyCycle, says: "models/team waits for models/pools waits for models/queues waits for models/team",
		},
		"CircleOfOthers": {
			reason: "They say it themselves.",
			on:     []string{"pools"}, there: []client.Object{depending("pools", "queues"), depending("queues", "pools")},
			cause: v1alpha1.ReasonDependencyNotReady, says: "has not been looked at yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := depending("team", c.on...)
			r := newReconciler(t, interceptor.Funcs{}, append(c.there, s)...)
			r.NoCrossNamespaceRefs = c.strict
			err := r.depend(t.Context(), passOf(s, built{}))
			if (err == nil) != (c.cause == "") {
				t.Fatalf("%s Got %v", c.reason, err)
			}
			if err != nil && (fault.Reason(err, "") != c.cause || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%s\ngot  %s: %v\nwant %s: … %s …", c.reason, fault.Reason(err, ""), err, c.cause, c.says)
			}
			if _, waits := fault.AsWaiting(err); waits != (c.cause == v1alpha1.ReasonDependencyNotReady) {
				t.Errorf("%s A dependency is waited for without an error", c.reason)
			}
		})
	}
}

// TestDependReports: reports on the branch that both follow make no order of commits,
// whichever of the two has seen more of them.
func TestDependReports(t *testing.T) {
	const mine, same, other = "main@sha1:" + testHash, "a tree", "another tree"
	on := func(content, attempted string) *v1alpha1.RepoSync {
		s := readyAt(depending("pools"), "main@sha1:0000")
		s.Status.Content, s.Status.LastAttemptedRevision = content, attempted
		return s
	}
	for name, c := range map[string]struct {
		reason  string
		on      *v1alpha1.RepoSync
		content string
		waits   bool
	}{
		"SameContent":  {"A report between the two commits changes nothing that is applied.", on(same, "main@sha1:0000"), same, false},
		"OtherContent": {"A person has pushed in between.", on(other, "main@sha1:0000"), same, true},
		"NotYet":       {"It has seen the commit and not applied it.", on(same, mine), same, true},
		"NoContent":    {"Two sources that say none are not alike by that.", on("", "main@sha1:0000"), "", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := depending("team", "pools")
			r := newReconciler(t, interceptor.Funcs{}, c.on, s)
			p := passOf(s, built{revision: mine})
			p.kept.judged = &judgement{revision: mine, content: c.content}
			err := r.depend(t.Context(), p)
			if _, waits := fault.AsWaiting(err); waits != c.waits || (err == nil) == c.waits {
				t.Errorf("%s Got %v", c.reason, err)
			}
		})
	}
}

// TestDependents: what others can notice wakes exactly those that wait, and lets them
// look at their source.
func TestDependents(t *testing.T) {
	pools := readyAt(depending("pools"), "main@sha1:1")
	r := newReconciler(t, interceptor.Funcs{}, pools, depending("team", "pools"), depending("other", "platform/pools"))
	got := r.dependents(t.Context(), pools)
	if len(got) != 1 || got[0].String() != "models/team" {
		t.Errorf("got %v, want models/team", got)
	}
	if _, asked := r.asked.Load(types.UID("team")); !asked {
		t.Error("the one that it waits for may have seen a newer commit")
	}
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.RepoSync)
		want   bool
	}{
		"Counting":   {"How many Workspaces are ready is no affair of theirs.", func(s *v1alpha1.RepoSync) { s.Status.Workspaces = "1/2" }, false},
		"Unready":    {"It is waited for again.", func(s *v1alpha1.RepoSync) { condition.Stalled(s, "X", "y") }, true},
		"Applied":    {"The revision that they wait for may be there.", func(s *v1alpha1.RepoSync) { s.Status.LastAppliedRevision = "main@sha1:2" }, true},
		"Content":    {"It may be what they are about to apply, for all that its revision is another.", func(s *v1alpha1.RepoSync) { s.Status.Content = "a tree" }, true},
		"Generation": {"It is not Ready as it is.", func(s *v1alpha1.RepoSync) { s.Generation++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			after := pools.DeepCopy()
			c.change(after)
			if got := matters.Update(event.UpdateEvent{ObjectOld: pools, ObjectNew: after}); got != c.want {
				t.Errorf("%s Got %v", c.reason, got)
			}
		})
	}
}
