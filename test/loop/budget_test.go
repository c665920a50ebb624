// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strconv"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// budgetedRun does not end by itself, and may cost as much as twenty seconds
// of its node do.
const budgetedRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: thrifty
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  budget: {maxUSD: "0.003"}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/thrifty:0.0.1", pushSecret: registry-push}
`

// TestBudgetSpent: a run whose money is spent is stopped and gives its nodes back,
// at the moment at which that is so and without anybody looking before; it stays so
// until Git allows more, and goes on then in the same Job.
func TestBudgetSpent(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "budget")
	files := map[string]string{
		"models/kustomization.yaml": "resources: [thrifty.yaml]\n",
		"models/thrifty.yaml":       budgetedRun + endless,
	}
	push(t, team, files, "models: a run that may cost next to nothing")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	w := workspace(team, "thrifty")
	started := func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionJobStarted) && w.Status.Spending != nil
	}
	if err := harness.Until(patient(t), team.Stand, w, "running, and counted", started); err != nil {
		t.Fatal(err)
	}
	run := w.Status.Tuning.UID

	broke := func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionStalled)
		return c != nil && c.Reason == v1alpha1.ReasonBudgetSpent && w.Status.Spending.USDPerHour == ""
	}
	if err := harness.Until(patient(t), team.Stand, w, "stopped for its budget, without nodes", broke); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, "thrifty")); err != nil {
		t.Fatal(err)
	}
	if got := agentPools(team); len(got) != 1 {
		t.Errorf("nodes are bought once, and not again while the money is spent: %v", got)
	}
	spentWithin(t, w, 0.003, 0.05) // what the last checkpoint and giving back took comes on top
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: w.Status.Tuning.Run}}
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(job), job); err != nil || job.Spec.Suspend == nil || !*job.Spec.Suspend {
		t.Errorf("want the Job to be suspended, with its checkpoints: %v", err)
	}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: repolayout.WorkClaimName("thrifty")}}
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(claim), claim); err != nil {
		t.Errorf("the checkpoints are kept: %v", err)
	}
	readme(t, team, "told that the money is spent", func(text string) bool { return strings.Contains(text, "budget.maxUSD allows it") })

	// Nothing but Git lets it go on: a pass that anything else brings leaves it.
	edit(t, team, w, `{"metadata":{"annotations":{"example.com/look":"now"}}}`)
	replace(t, files, "models/thrifty.yaml", `"0.003"`, `"40"`)
	push(t, team, files, "models: more money")
	if err := harness.Until(patient(t), team.Stand, w, "going on", func(w *v1alpha1.Workspace) bool {
		return w.Status.Spending.USDPerHour != "" && condition.Is(w, v1alpha1.ConditionResourceReady) && w.Status.Tuning != nil && w.Status.Tuning.UID == run
	}); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), team.Stand, job, "let go", func(j *batchv1.Job) bool {
		return string(j.UID) == run && j.Spec.Suspend != nil && !*j.Spec.Suspend && j.Status.Active == 1
	}); err != nil {
		t.Error(err)
	}
	spentWithin(t, w, 0.003, 0.05)
	if got := agentPools(team); len(got) != 2 {
		t.Errorf("and once more for the rest of the run: %v", got)
	}
}

// spentWithin asserts what the status says the run has cost.
func spentWithin(t *testing.T, w *v1alpha1.Workspace, least, most float64) {
	t.Helper()
	usd, err := strconv.ParseFloat(w.Status.Tuning.SpentUSD, 64)
	if err != nil || usd < least || usd > most {
		t.Errorf("the run has spent %q (%v), want $%v to $%v; spending %+v", w.Status.Tuning.SpentUSD, err, least, most, w.Status.Spending)
	}
}
