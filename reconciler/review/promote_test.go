// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/forge"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const (
	dolly       = "registry.example.com/models/dolly"
	serviceFile = "models/phi/workspace.yaml"
	serviceYAML = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: phi}\nspec:\n  resource: {instanceType: Standard_NC4as_T4_v3}\n" +
		"  inference:\n    preset: phi-4\n    adapters:\n    - name: dolly   # ours\n      image: IMAGE   # trained in March\n"
)

func adapterOf(digit string) string { return dolly + "@sha256:" + strings.Repeat(digit, 64) }

// tuning is a stage with a service whose adapter a run has published, and its file.
func promoted(t *testing.T, file string) *stage {
	t.Helper()
	s := newStage(t)
	delete(s.pulls, 7)
	var err error
	s.base, err = s.git.Push(repo, "main", map[string]string{serviceFile: file, "README.md": "hello", "run.sh": gitserver.Executable("#!/bin/sh")}, "models")
	if err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{repolayout.LabelSyncName: "models", repolayout.LabelSyncNamespace: "team"}
	service := workspaceOf("phi", waiting(v1alpha1.ReasonWaitingForAdapter))
	service.Labels, service.Annotations = labels, map[string]string{repolayout.AnnotationSource: serviceFile + ":1"}
	service.Spec.Inference.Adapters = []v1alpha1.Adapter{{Name: "dolly", Image: dolly + ":v1"}}
	run := workspaceOf("dolly-run", tuned)
	run.Labels, run.Status.ObservedGeneration = labels, run.Generation
	run.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: dolly + ":v1"}, Promote: &v1alpha1.Promote{To: "phi"}}
	run.Status.Tuning.Adapter = adapterOf("a")
	condition.True(run, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "The Job is complete")
	for _, w := range []*v1alpha1.Workspace{service, run} {
		if err := s.kube.Create(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// proposals are the branches of the pull requests that were made, with + for open.
func (s *stage) proposals() []string {
	var list []string
	for _, number := range slices.Sorted(maps.Keys(s.pulls)) {
		if p := s.pulls[number]; p.Open {
			list = append(list, p.Branch+" +")
		} else {
			list = append(list, p.Branch)
		}
	}
	return list
}

// trains publishes another adapter.
func (s *stage) trains(digit string) {
	s.t.Helper()
	run := &v1alpha1.Workspace{}
	if err := s.kube.Get(s.t.Context(), client.ObjectKey{Namespace: "team", Name: "dolly-run"}, run); err != nil {
		s.t.Fatal(err)
	}
	run.Status.Tuning.Adapter = adapterOf(digit)
	if err := s.kube.Update(s.t.Context(), run); err != nil {
		s.t.Fatal(err)
	}
}

// TestPromote: an adapter is proposed once, as one line of the user's own file, and
// the next one takes the place of the one that waits.
func TestPromote(t *testing.T) {
	s := promoted(t, strings.Replace(serviceYAML, "IMAGE", dolly+":v1", 1))
	r := s.controller()
	s.mustPass(r)
	s.mustPass(r)
	s.mustPass(s.controller())
	branch := "espalier/promote/prod/team/dolly-run/" + strings.Repeat("a", 12)
	if got := s.proposals(); !slices.Equal(got, []string{branch + " +"}) {
		t.Fatalf("proposed %q", got)
	}
	files, err := s.git.Files(repo, branch)
	if want := strings.Replace(serviceYAML, "IMAGE", adapterOf("a"), 1); err != nil || files[serviceFile] != want || len(files) != 3 {
		t.Errorf("%v: the branch holds\n%s", err, files[serviceFile])
	}
	log, err := s.git.Log(repo, branch)
	if err != nil || log[0].Subject() != "phi: serve adapter dolly as dolly-run trained it" || !slices.Equal(log[0].Parents, []string{s.base}) {
		t.Errorf("%v: the commit is %+v", err, log[0])
	}
	if head, _ := s.git.Head(repo, "main"); head != s.base {
		t.Error("main was written")
	}
	for _, part := range []string{adapterOf("a"), dolly + ":v1", serviceFile} {
		if !strings.Contains(s.bodies[0], part) {
			t.Errorf("the pull request does not say %q:\n%s", part, s.bodies[0])
		}
	}
	s.mustPass(r) // its own pull request is answered like any other
	if len(s.plans) != 1 {
		t.Errorf("planned %v", s.plans)
	}
	s.trains("b")
	s.mustPass(r)
	if got := s.proposals(); !slices.Equal(got, []string{branch, strings.ReplaceAll(branch, "aaaaaaaaaaaa", "bbbbbbbbbbbb") + " +"}) {
		t.Errorf("proposed %q, want the older one closed", got)
	}
}

// TestWithdrawnLater: what the next adapter takes the place of is closed also where the
// forge did not do so at first, and nothing is proposed twice.
func TestWithdrawnLater(t *testing.T) {
	s := promoted(t, strings.Replace(serviceYAML, "IMAGE", dolly+":v1", 1))
	r := s.controller()
	s.mustPass(r)
	s.trains("b")
	s.stuck = &forge.Error{Status: 502}
	if err := s.pass(r); err == nil {
		t.Fatal("nobody is told")
	}
	s.mustPass(r)
	branch := "espalier/promote/prod/team/dolly-run/"
	if got, want := s.proposals(), []string{branch + strings.Repeat("a", 12), branch + strings.Repeat("b", 12) + " +"}; !slices.Equal(got, want) {
		t.Errorf("proposed %q, want %q", got, want)
	}
}

// promotedElsewhere is promoted in another cluster.
func promotedElsewhere(t *testing.T) (*stage, []*v1alpha1.Workspace) {
	t.Helper()
	s := promoted(t, strings.Replace(serviceYAML, "IMAGE", dolly+":v1", 1))
	var all []*v1alpha1.Workspace
	for _, name := range []string{"phi", "dolly-run"} {
		w := &v1alpha1.Workspace{}
		if err := s.kube.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: name}, w); err != nil {
			t.Fatal(err)
		}
		if err := s.kube.Delete(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	s.elsewhere()
	return s, all
}

// TestPromoteElsewhere: an adapter of another cluster is proposed when the status tells of
// it, without a look at the forge, in a branch that names who applies to that cluster: a
// namesake in a third one is left alone.
func TestPromoteElsewhere(t *testing.T) {
	s, all := promotedElsewhere(t)
	other := "espalier/promote/prod/team_east_team/dolly-run/" + strings.Repeat("c", 12)
	s.pulls[50] = forge.PullRequest{Number: 50, Base: "main", Branch: other, Head: s.base, MergeBase: s.base, Open: true}
	r := s.controller()
	s.mustPass(r)
	if got := s.proposals(); !slices.Equal(got, []string{other + " +"}) {
		t.Fatalf("proposed %q before anything is told", got)
	}
	s.now = s.now.Add(-time.Minute) // the interval is not over
	s.tells(all...)
	s.mustPass(r)
	s.mustPass(s.controller())
	branch := "espalier/promote/prod/team_models_team/dolly-run/" + strings.Repeat("a", 12)
	if got := s.proposals(); !slices.Equal(got, []string{other + " +", branch + " +"}) {
		t.Fatalf("proposed %q", got)
	}
	if !strings.Contains(s.bodies[0], "`team/dolly-run` in the cluster that RepoSync `team/models` of cluster `prod` applies to") {
		t.Errorf("the pull request says\n%s", s.bodies[0])
	}
	files, err := s.git.Files(repo, branch)
	if want := strings.Replace(serviceYAML, "IMAGE", adapterOf("a"), 1); err != nil || files[serviceFile] != want {
		t.Errorf("%v: the branch holds\n%s", err, files[serviceFile])
	}
}

// TestPromoteElsewhereOften: a cluster that names another adapter all the time has one
// proposed an interval, and five a day.
func TestPromoteElsewhereOften(t *testing.T) {
	s, all := promotedElsewhere(t)
	r := s.controller()
	run := all[1]
	const digits = "0123456789abcdef"
	publish := func(n int) {
		run.Status.Tuning.Adapter = adapterOf(digits[n : n+1])
		s.tells(all...)
		s.mustPass(r)
	}
	for n := range 5 {
		publish(n)
		s.now = s.now.Add(-time.Minute) // that a pass takes
	}
	if got := s.proposals(); len(got) != 1 {
		t.Errorf("in one interval it proposed %q", got)
	}
	for n := range len(digits) {
		s.now = s.now.Add(interval(s.sync) + time.Minute)
		publish(n)
	}
	if got := s.proposals(); len(got) != proposalsADay {
		t.Errorf("in one day it proposed %q", got)
	}
	s.now = s.now.Add(24 * time.Hour)
	publish(15)
	if got := s.proposals(); len(got) != proposalsADay+1 {
		t.Errorf("on the next day it had proposed %q", got)
	}
}

// TestPromoteElsewhereMisnamed: the document that is edited is of the service, whatever is
// said of where it stands.
func TestPromoteElsewhereMisnamed(t *testing.T) {
	s, all := promotedElsewhere(t)
	all[0].Name, all[1].Spec.Tuning.Promote.To = "other", "other"
	s.tells(all...)
	s.mustPass(s.controller())
	if got := s.proposals(); len(got) > 0 {
		t.Errorf("proposed %q", got)
	}
	if got := <-s.events.Events; !strings.Contains(got, ReasonPromotionByHand) || !strings.Contains(got, "of another name than Workspace team/other") {
		t.Errorf("the event says %s", got)
	}
}

// TestConnectAgain: what a run has published is proposed also where the Secret of the
// forge came later.
func TestConnectAgain(t *testing.T) {
	s, all := promotedElsewhere(t)
	r := s.controller()
	s.mustPass(r)
	s.tells(all...)
	connect := r.Connect
	r.Connect = func(forge.Settings) (*forge.Forge, error) { return nil, errors.New("not now") }
	k, _ := r.kept.Load(s.sync.UID)
	k.(*kept).forge = nil
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.sync)}); err == nil {
		t.Fatal("it could connect")
	}
	r.Connect = connect
	s.mustPass(r)
	if got := s.proposals(); len(got) != 1 {
		t.Errorf("proposed %q", got)
	}
}

// TestPromoteDeclined: whoever closes the pull request is not asked again, also
// where the branch is gone and the controller starts anew.
func TestPromoteDeclined(t *testing.T) {
	s := promoted(t, strings.Replace(serviceYAML, "IMAGE", dolly+":v1", 1))
	s.mustPass(s.controller())
	for number := range s.pulls {
		if err := s.Withdraw(t.Context(), number); err != nil {
			t.Fatal(err)
		}
		if err := s.git.DeleteBranch(repo, s.pulls[number].Branch); err != nil {
			t.Fatal(err)
		}
	}
	s.mustPass(s.controller())
	if len(s.pulls) != 1 {
		t.Errorf("proposed again: %q", s.proposals())
	}
}

// TestPromoteByHand: what no program should edit, a person is told to, once.
func TestPromoteByHand(t *testing.T) {
	s := promoted(t, strings.Replace(serviceYAML, "IMAGE", "registry.example.com/other:v1", 1))
	r := s.controller()
	s.mustPass(r)
	s.mustPass(r)
	if len(s.pulls) != 0 {
		t.Errorf("proposed %q", s.proposals())
	}
	got := <-s.events.Events
	for _, part := range []string{ReasonPromotionByHand, "write image: " + adapterOf("a"), serviceFile, "comes from a patch"} {
		if !strings.Contains(got, part) {
			t.Errorf("the event does not say %q: %s", part, got)
		}
	}
	if len(s.events.Events) != 0 {
		t.Errorf("said again: %s", <-s.events.Events)
	}
}

// TestPromoteSettled: nothing is proposed that Git says already, or that is not done.
func TestPromoteSettled(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		file   string
		change func(run, service *v1alpha1.Workspace)
	}{
		"InGit":  {reason: "The cluster has not come to the merge yet.", file: adapterOf("a"), change: func(_, _ *v1alpha1.Workspace) {}},
		"Served": {reason: "It is served.", file: adapterOf("a"), change: func(_, s *v1alpha1.Workspace) { s.Spec.Inference.Adapters[0].Image = adapterOf("a") }},
		"Running": {reason: "An adapter of earlier inputs is not of this run.", file: dolly + ":v1", change: func(r, _ *v1alpha1.Workspace) {
			condition.False(r, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonJobRunning, "…")
		}},
		"Older":  {reason: "The status speaks of an older spec.", file: dolly + ":v1", change: func(r, _ *v1alpha1.Workspace) { r.Status.ObservedGeneration-- }},
		"NoTag":  {reason: "Without a digest there is nothing to pin.", file: dolly + ":v1", change: func(r, _ *v1alpha1.Workspace) { r.Status.Tuning.Adapter = dolly + ":v1" }},
		"Nobody": {reason: "It is promoted to nobody.", file: dolly + ":v1", change: func(r, _ *v1alpha1.Workspace) { r.Spec.Tuning.Promote = nil }},
		"Gone":   {reason: "The service is not there.", file: dolly + ":v1", change: func(r, _ *v1alpha1.Workspace) { r.Spec.Tuning.Promote.To = "other" }},
	} {
		t.Run(name, func(t *testing.T) {
			s := promoted(t, strings.Replace(serviceYAML, "IMAGE", tc.file, 1))
			run, service := &v1alpha1.Workspace{}, &v1alpha1.Workspace{}
			for name, w := range map[string]*v1alpha1.Workspace{"dolly-run": run, "phi": service} {
				if err := s.kube.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: name}, w); err != nil {
					t.Fatal(err)
				}
			}
			tc.change(run, service)
			for _, w := range []*v1alpha1.Workspace{run, service} {
				if err := s.kube.Update(t.Context(), w); err != nil {
					t.Fatal(err)
				}
			}
			s.mustPass(s.controller())
			if branches, _ := s.git.Branches(repo); len(s.pulls) != 0 || len(branches) != 2 || len(s.events.Events) != 0 {
				t.Errorf("%s\nproposed %q, branches %v", tc.reason, s.proposals(), branches)
			}
		})
	}
}

func (s *stage) Proposed(_ context.Context, head string) ([]forge.PullRequest, error) {
	var found []forge.PullRequest
	for _, p := range s.pulls {
		if p.Branch == head {
			found = append(found, p)
		}
	}
	return found, nil
}

func (s *stage) Propose(_ context.Context, p forge.Proposal) (forge.PullRequest, error) {
	head, err := s.git.Head(repo, p.Head)
	if err != nil {
		return forge.PullRequest{}, err
	}
	number := int64(100 + len(s.pulls))
	s.bodies = append(s.bodies, p.Title+"\n\n"+p.Body)
	s.pulls[number] = forge.PullRequest{Number: number, Base: p.Base, Branch: p.Head, Head: head, MergeBase: s.base, Open: true}
	return s.pulls[number], s.broken[-1]
}

func (s *stage) Withdraw(_ context.Context, number int64) error {
	if err := s.stuck; err != nil {
		s.stuck = nil
		return err
	}
	p := s.pulls[number]
	p.Open = false
	s.pulls[number] = p
	return nil
}

func (s *stage) GitAuth(context.Context) (map[string][]byte, error) { return nil, nil }
