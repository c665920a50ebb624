// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"maps"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

var moved = map[string]string{harness.RetiredSize: harness.MovedToSize}

// TestLoop is the whole story: a push provisions, tunes and serves, readiness
// comes back as commits, the tuning run gives its nodes back, and a second push
// changes one Workspace and removes the other.
func TestLoop(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "loop")
	files := exampleFiles(t)
	first := push(t, team, files, "models: tune phi-3, serve phi-4-mini")
	apply(t, team, team.RepoSync(moved))

	tuned := ready(t, team, harness.TuningName)
	served := ready(t, team, harness.InferenceName)
	for _, w := range []*v1alpha1.Workspace{tuned, served} {
		if !condition.Is(w, v1alpha1.ConditionWorkspaceReady) || !condition.Is(w, v1alpha1.ConditionResourceReady) {
			t.Errorf("%s: WorkspaceReady and ResourceReady must be True beside Ready: %v", w.Name, w.Status.Conditions)
		}
		if !strings.HasSuffix(w.Status.Revision, first) {
			t.Errorf("%s: revision %s, want the commit %s", w.Name, w.Status.Revision, first)
		}
	}
	if tuned.Status.Instance != harness.MovedToSize {
		t.Errorf("tuning ran on %s, want the substituted %s", tuned.Status.Instance, harness.MovedToSize)
	}
	// How the run ended is recorded first, then its nodes are given back.
	if err := harness.Until(patient(t), team.Stand, tuned, "released", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionResourceReady)
		return isReady(w) && c.Status == metav1.ConditionTrue && c.Reason == v1alpha1.ReasonReleased
	}); err != nil {
		t.Error(err)
	}
	if served.Status.Inference == nil || !strings.Contains(served.Status.Inference.Endpoint, harness.InferenceName) {
		t.Errorf("a served model says where: %+v", served.Status.Inference)
	}
	// The tuning pool is given back, the serving one stays.
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	oneAgentPoolEach(t, team, harness.MovedToSize, "Standard_NC24ads_A100_v4")
	oneJob(t, team)
	text := readme(t, team, "Ready for both", func(s string) bool { return strings.Count(s, "Ready") >= 2 && strings.Contains(s, first[:7]) })
	for _, name := range []string{harness.TuningName, harness.InferenceName} {
		if !strings.Contains(text, name) {
			t.Errorf("the README names every Workspace, %s is missing:\n%s", name, text)
		}
		if _, err := team.Git.ReadFile(team.Repo, team.StatusBranch(), repolayout.StatusFile(team.Namespace, name)); err != nil {
			t.Errorf("one YAML a Workspace: %v", err)
		}
	}

	second := maps.Clone(files)
	const config = "models/phi-4-mini/workspace.yaml"
	second[config] = strings.Replace(files[config], "contextLength: 32768", "contextLength: 16384", 1)
	if second[config] == files[config] {
		t.Fatal("the sample no longer says contextLength: 32768")
	}
	delete(second, "models/phi-3-dolly/workspace.yaml")
	delete(second, "models/phi-3-dolly/kustomization.yaml")
	replace(t, second, listFile, tuningLine, "")
	next := push(t, team, second, "models: shorter context, tuning is done")
	appliedCommit(t, team, next)
	if err := harness.Gone(patient(t), team.Stand, workspace(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: harness.InferenceName}}
	err := harness.Until(patient(t), team.Stand, deployment, "rolled to the shorter context", func(d *appsv1.Deployment) bool {
		return strings.Contains(strings.Join(d.Spec.Template.Spec.Containers[0].Args, " "), "16384") && d.Status.AvailableReplicas == 1
	})
	if err != nil {
		t.Error(err)
	}
	readme(t, team, "without the removed Workspace", func(s string) bool {
		return !strings.Contains(s, harness.TuningName) && strings.Contains(s, next[:7])
	})
	oneAgentPoolEach(t, team, harness.MovedToSize, "Standard_NC24ads_A100_v4")
	noDuplicateCommits(t, team)
}

func pool(team *harness.Team, name string) *v1alpha1.GPUNodePool {
	return &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name}}
}

// oneAgentPoolEach asserts that exactly one agent pool of each size was ever
// ordered for a team.
func oneAgentPoolEach(t *testing.T, team *harness.Team, sizes ...string) {
	t.Helper()
	got := map[string]int{}
	for _, size := range agentPools(team) {
		got[size]++
	}
	want := map[string]int{}
	for _, s := range sizes {
		want[s] = 1
	}
	if !maps.Equal(got, want) {
		t.Errorf("agent pools ever ordered: %v, want %v", got, want)
	}
}

// oneJob asserts that the team's tuning ran once.
func oneJob(t *testing.T, team *harness.Team) {
	t.Helper()
	jobs := &batchv1.JobList{}
	if err := team.Client.List(t.Context(), jobs, client.InNamespace(team.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(jobs.Items) != 1 || jobs.Items[0].Status.Succeeded != 1 {
		t.Errorf("%d Jobs, want one that succeeded once: %+v", len(jobs.Items), jobs.Items)
	}
}

// noDuplicateCommits asserts that no two status commits in a row say the same.
func noDuplicateCommits(t *testing.T, team *harness.Team) {
	t.Helper()
	log, err := team.Git.Log(team.Repo, team.StatusBranch())
	if err != nil {
		t.Fatal(err)
	}
	if len(log) == 0 {
		t.Fatal("no status commit")
	}
	for i := 1; i < len(log); i++ {
		if log[i-1].Tree == log[i].Tree {
			t.Errorf("commits %s and %s hold the same tree", log[i-1].Hash, log[i].Hash)
		}
	}
}
