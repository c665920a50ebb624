// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// nextRelease is what a later release changes: both bases, and the image of vLLM.
var nextRelease = []harness.Edit{
	{File: "presets/runtimes/vllm/0.26.0/deployment.yaml", Old: "terminationGracePeriodSeconds: 150", New: "terminationGracePeriodSeconds: 200"},
	{File: "presets/runtimes/axolotl/0.19.0/job.yaml", Old: "terminationGracePeriodSeconds: 300", New: "terminationGracePeriodSeconds: 400"},
	{File: "presets/runtimes/pins.yaml", Old: "v0.26.0@sha256:ffb2d59b", New: "v0.26.0@sha256:" + nextImage},
}

const nextImage = "00000000" // of the digest

// TestUpgradeMovesNothing runs a service and a tuning run, then a later release of
// Espalier that has other pods and another image: no pod changes, also when a copy is
// added, and no Job is made, until what a Workspace asks for changes.
func TestUpgradeMovesNothing(t *testing.T) {
	team := newTeam(t, "upgrade")
	files := exampleFiles(t)
	push(t, team, files, "models: tune and serve")
	apply(t, team, team.RepoSync(moved))
	ready(t, team, harness.InferenceName)
	ready(t, team, harness.TuningName)
	before, run := served(t, team), theJob(t, team)
	useNextRelease(t, team)

	replace(t, files, inferenceFile, "  inference:\n", "  inference:\n    replicas: 2\n")
	replace(t, files, budgetFile, `maxUSDPerHour: "8"`, `maxUSDPerHour: "16"`)
	servesAgain(t, team, push(t, team, files, "models: two copies"))
	after := served(t, team)
	if n := ptr.Deref(after.Spec.Replicas, 1); n != 2 {
		t.Errorf("%d replicas, want the 2 of the last push", n)
	}
	if diff := cmp.Diff(before.Spec.Template, after.Spec.Template); diff != "" {
		t.Errorf("a later release restarts pods (-before +after):\n%s", diff)
	}

	if again := theJob(t, team); again.UID != run.UID || again.Generation != run.Generation {
		t.Errorf("a later release makes another run of the same inputs: %s, generation %d", again.Name, again.Generation)
	}

	replace(t, files, inferenceFile, "contextLength: 32768", "contextLength: 4096")
	servesAgain(t, team, push(t, team, files, "models: a shorter context"))
	changed := served(t, team).Spec.Template.Spec
	if got := *changed.TerminationGracePeriodSeconds; got != 200 || !strings.Contains(changed.Containers[0].Image, nextImage) {
		t.Errorf("what changed in Git is rendered by today's release: %d s of grace, want 200, and image %s", got, changed.Containers[0].Image)
	}
	list := &appsv1.ControllerRevisionList{}
	if err := team.Client.List(t.Context(), list, client.InNamespace(team.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: harness.InferenceName}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Errorf("%d ControllerRevisions are kept, want that of the pods that run", len(list.Items))
	}
}

func useNextRelease(t *testing.T, team *harness.Team) {
	t.Helper()
	back, err := team.UseRelease(t.Context(), os.Stderr, nextRelease...)
	if err != nil {
		t.Fatal(err)
	}
	restart := func(ctx context.Context) {
		if err := team.StopController(); err != nil {
			t.Error(err)
		}
		if err := team.StartController(ctx); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		back()
		restart(context.Background())
	})
	restart(t.Context())
}

// theJob is the only one of a team.
func theJob(t *testing.T, team *harness.Team) batchv1.Job {
	t.Helper()
	jobs := &batchv1.JobList{}
	if err := team.Client.List(t.Context(), jobs, client.InNamespace(team.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(jobs.Items) != 1 {
		t.Fatalf("%d Jobs, want one", len(jobs.Items))
	}
	return jobs.Items[0]
}

func served(t *testing.T, team *harness.Team) *appsv1.Deployment {
	t.Helper()
	d := deployment(team)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
		t.Fatal(err)
	}
	return d
}

// servesAgain waits until what a commit asks for is ready.
func servesAgain(t *testing.T, team *harness.Team, commit string) {
	t.Helper()
	appliedCommit(t, team, commit)
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "ready again", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && w.Status.ObservedGeneration == w.Generation
	})
	if err != nil {
		t.Fatal(err)
	}
}
