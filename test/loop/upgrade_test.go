// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// The base that a later release changes.
const (
	baseFile  = "presets/runtimes/vllm/0.26.0/deployment.yaml"
	thisGrace = "terminationGracePeriodSeconds: 150"
	nextGrace = "terminationGracePeriodSeconds: 200"
)

// TestUpgradeMovesNothing runs a service, then a later release of Espalier whose
// base has another pod: no pod changes, also when a copy is added, until what the
// Workspace asks for does.
func TestUpgradeMovesNothing(t *testing.T) {
	team := newTeam(t, "upgrade")
	files := onlyInference(t)
	push(t, team, files, "models: serve")
	apply(t, team, team.RepoSync(moved))
	ready(t, team, harness.InferenceName)
	before := served(t, team)
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

	replace(t, files, inferenceFile, "contextLength: 32768", "contextLength: 4096")
	servesAgain(t, team, push(t, team, files, "models: a shorter context"))
	if got := *served(t, team).Spec.Template.Spec.TerminationGracePeriodSeconds; got != 200 {
		t.Errorf("what changed in Git is rendered by today's release: %d s of grace, want 200", got)
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
	back, err := team.UseRelease(t.Context(), os.Stderr, harness.Edit{File: baseFile, Old: thisGrace, New: nextGrace})
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
