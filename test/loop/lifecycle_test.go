// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	tuningFile    = "models/phi-3-dolly/workspace.yaml"
	inferenceFile = "models/phi-4-mini/workspace.yaml"
	budgetFile    = "components/budget/kustomization.yaml"
	// listFile lists what runs, on these lines.
	listFile      = "clusters/staging/workspaces/kustomization.yaml"
	tuningLine    = "- ../../../models/phi-3-dolly\n"
	inferenceLine = "- phi-4-mini\n"
)

// onlyTuning and onlyInference reduce what runs of the sample to one Workspace.
func onlyTuning(t *testing.T) map[string]string    { return without(t, inferenceLine) }
func onlyInference(t *testing.T) map[string]string { return without(t, tuningLine) }

func without(t *testing.T, line string) map[string]string {
	t.Helper()
	files := exampleFiles(t)
	replace(t, files, listFile, line, "")
	return files
}

// replace changes a file, and fails when it no longer says what is replaced.
func replace(t *testing.T, files map[string]string, name, old, with string) {
	t.Helper()
	if !strings.Contains(files[name], old) {
		t.Fatalf("%s no longer says %q", name, old)
	}
	files[name] = strings.ReplaceAll(files[name], old, with)
}

func deployment(team *harness.Team) *appsv1.Deployment {
	return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: harness.InferenceName}}
}

// TestChangedInputRunsAgain changes the input of a finished run: that is another
// run, on nodes that are provisioned and released again; a commit that changes
// nothing of it is none.
func TestChangedInputRunsAgain(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "rerun")
	files := onlyTuning(t)
	push(t, team, files, "models: first run")
	apply(t, team, team.RepoSync(moved))
	first := ready(t, team, harness.TuningName).Status.Tuning.Run
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Fatal(err)
	}

	files["README.md"] += "\nA line that concerns no Workspace.\n"
	appliedCommit(t, team, push(t, team, files, "readme: a line"))
	oneJob(t, team)

	replace(t, files, tuningFile, "phi-3-dolly:0.0.1", "phi-3-dolly:0.0.2")
	push(t, team, files, "models: second run")
	w := workspace(team, harness.TuningName)
	err := harness.Until(patient(t), team.Stand, w, "tuned again", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && w.Status.ObservedGeneration == w.Generation && w.Status.Tuning != nil && w.Status.Tuning.Run != first
	})
	if err != nil {
		t.Fatal(err)
	}
	jobs := &batchv1.JobList{}
	if err := team.Client.List(t.Context(), jobs, client.InNamespace(team.Namespace)); err != nil {
		t.Fatal(err)
	}
	if len(jobs.Items) != 1 || jobs.Items[0].Name != w.Status.Tuning.Run {
		t.Errorf("the Job of the earlier inputs must be gone: %d Jobs", len(jobs.Items))
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	if got := agentPools(team); len(got) != 2 {
		t.Errorf("agent pools ever ordered: %v, want one a run", got)
	}
}

// TestOtherModelKeepsClaim tunes a large model, then a small one, then the large
// one's like: a claim never shrinks, and one that would have to grow says so.
func TestOtherModelKeepsClaim(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "claim")
	files := onlyTuning(t)
	tune := func(from, to string) *v1alpha1.Workspace {
		t.Helper()
		replace(t, files, tuningFile, from, to)
		appliedCommit(t, team, push(t, team, files, "models: tune "+to))
		return workspace(team, harness.TuningName)
	}
	apply(t, team, team.RepoSync(moved))
	const small, large = "phi-3-mini-128k-instruct", "mistral-7b-instruct-v0.3"
	for _, model := range []struct{ from, to string }{{small, large}, {large, small}} {
		w := tune(model.from, model.to)
		err := harness.Until(patient(t), team.Stand, w, "tuned", func(w *v1alpha1.Workspace) bool {
			return isReady(w) && w.Status.ObservedGeneration == w.Generation
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: team.Namespace, Name: harness.TuningName + "-work"}
	if err := team.Client.Get(t.Context(), key, claim); err != nil {
		t.Fatal(err)
	}
	if size := claim.Spec.Resources.Requests[corev1.ResourceStorage]; size.String() != "64Gi" {
		t.Errorf("the claim asks for %s, want the large model's 64Gi", size.String())
	}

	if err := team.Client.Delete(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, claim); err != nil {
		t.Fatal(err)
	}
	replace(t, files, tuningFile, "phi-3-dolly:0.0.1", "phi-3-dolly:0.0.2") // makes a claim of the small model's size
	push(t, team, files, "models: once more")
	w := workspace(team, harness.TuningName)
	err := harness.Until(patient(t), team.Stand, w, "tuned again", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && w.Status.ObservedGeneration == w.Generation && team.Client.Get(t.Context(), key, claim) == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	stalled := func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionStalled)
		return c != nil && c.Reason == v1alpha1.ReasonClaimTooSmall
	}
	if err := harness.Until(patient(t), team.Stand, tune(small, large), "refused for its claim", stalled); err != nil {
		t.Error(err)
	}
}

// TestSuspend stops the spending of a service and starts it again, by Git.
func TestSuspend(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "suspend")
	files := onlyInference(t)
	push(t, team, files, "models: serve")
	apply(t, team, team.RepoSync(nil))
	ready(t, team, harness.InferenceName)

	replace(t, files, inferenceFile, "spec:\n", "spec:\n  suspend: true\n")
	push(t, team, files, "models: stop over the holidays")
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.InferenceName)); err != nil {
		t.Fatal(err)
	}
	d := deployment(team)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil || *d.Spec.Replicas != 0 {
		t.Errorf("a suspended service keeps its Deployment with no replica: %v", err)
	}
	readme(t, team, "Suspended", func(s string) bool { return strings.Contains(s, "Suspended") })

	replace(t, files, inferenceFile, "  suspend: true\n", "")
	commit := push(t, team, files, "models: back")
	appliedCommit(t, team, commit)
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "Ready again", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && !w.Spec.Suspend && w.Status.ObservedGeneration == w.Generation
	})
	if err != nil {
		t.Error(err)
	}
}

// TestFieldConflict changes by hand what Git says: the change is not stolen but
// reported, with field and manager, until a person lets Espalier take it over.
func TestFieldConflict(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "conflict")
	appliedCommit(t, team, pushAndApply(t, team, onlyInference(t)))
	w := workspace(team, harness.InferenceName)
	edit(t, team, w, `{"spec":{"inference":{"contextLength":1024}}}`)

	c := syncCondition(t, team, v1alpha1.ConditionFieldConflict, v1alpha1.ReasonFieldConflict)
	for _, part := range []string{"contextLength", "somebody", repolayout.AnnotationForceConflicts} {
		if !strings.Contains(c.Message, part) {
			t.Errorf("the condition does not say %q: %s", part, c.Message)
		}
	}
	edit(t, team, w, `{"metadata":{"annotations":{"`+repolayout.AnnotationForceConflicts+`":"true"}}}`)
	if err := harness.Until(patient(t), team.Stand, w, "as Git says", func(w *v1alpha1.Workspace) bool { return w.Spec.Inference.ContextLength == 32768 }); err != nil {
		t.Error(err)
	}
	if err := harness.Until(patient(t), team.Stand, repoSync(team), "Ready", isReady[*v1alpha1.RepoSync]); err != nil {
		t.Error(err)
	}
}

func pushAndApply(t *testing.T, team *harness.Team, files map[string]string) string {
	t.Helper()
	commit := push(t, team, files, "models: serve")
	apply(t, team, team.RepoSync(moved))
	return commit
}

func edit(t *testing.T, team *harness.Team, o client.Object, patch string) {
	t.Helper()
	if err := team.Client.Patch(t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner("somebody")); err != nil {
		t.Fatal(err)
	}
}

// TestDriftIsUndone deletes a child by hand: it comes back.
func TestDriftIsUndone(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "drift")
	pushAndApply(t, team, onlyInference(t))
	ready(t, team, harness.InferenceName)
	d := deployment(team)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil {
		t.Fatal(err)
	}
	was := d.UID
	if err := team.Client.Delete(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), team.Stand, deployment(team), "there again", func(d *appsv1.Deployment) bool {
		return d.UID != was && d.Status.AvailableReplicas == 1
	}); err != nil {
		t.Error(err)
	}
}

// TestDeletedRepoSync deletes the RepoSync: with the policy Delete everything it
// applied goes, nodes included; with Orphan everything stays.
func TestDeletedRepoSync(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason string
		policy v1alpha1.DeletionPolicy
		check  func(context.Context, *harness.Team) error
	}{
		"Delete": {
			reason: "What a RepoSync applied goes with it, and the money stops.",
			policy: v1alpha1.Delete,
			check: func(ctx context.Context, team *harness.Team) error {
				if err := harness.Gone(ctx, team.Stand, pool(team, harness.InferenceName)); err != nil {
					return err
				}
				return harness.Gone(ctx, team.Stand, workspace(team, harness.InferenceName))
			},
		},
		"Orphan": {
			reason: "With Orphan the RepoSync goes alone; what runs, runs on.",
			policy: v1alpha1.Orphan,
			check: func(ctx context.Context, team *harness.Team) error {
				w := workspace(team, harness.InferenceName)
				return harness.Until(ctx, team.Stand, w, "untouched", func(w *v1alpha1.Workspace) bool {
					return w.DeletionTimestamp.IsZero() && condition.Is(w, v1alpha1.ConditionReady)
				})
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			team := newTeam(t, "deleted-"+strings.ToLower(name))
			push(t, team, onlyInference(t), "models: serve")
			s := team.RepoSync(moved)
			s.Spec.DeletionPolicy = c.policy
			apply(t, team, s)
			ready(t, team, harness.InferenceName)
			if err := team.Client.Delete(t.Context(), repoSync(team)); err != nil {
				t.Fatal(err)
			}
			if err := harness.Gone(patient(t), team.Stand, repoSync(team)); err != nil {
				t.Error(err)
			}
			if err := c.check(patient(t), team); err != nil {
				t.Errorf("%s\n%v", c.reason, err)
			}
		})
	}
}

// TestFailedRun lets a Job give up: the nodes are given back, the condition says
// how to go on, and a person who asks for it gets the same inputs run once more.
func TestFailedRun(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "failed")
	files := onlyTuning(t)
	files["models/phi-3-dolly/kustomization.yaml"] = "resources:\n- workspace.yaml\n"
	files[tuningFile] = hopelessRun
	push(t, team, files, "models: a run that cannot end in time")
	apply(t, team, team.RepoSync(nil))

	first := failedRun(t, team, "")
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	readme(t, team, "Failed", func(s string) bool { return strings.Contains(s, "Failed") })
	edit(t, team, workspace(team, harness.TuningName), `{"metadata":{"annotations":{"`+repolayout.AnnotationRetry+`":"`+first+`"}}}`)
	failedRun(t, team, first)
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	if got := agentPools(team); len(got) != 2 {
		t.Errorf("agent pools ever ordered: %v, want one a run", got)
	}
}

// failedRun waits until a run other than the given one has failed.
func failedRun(t *testing.T, team *harness.Team, not string) (uid string) {
	t.Helper()
	w := workspace(team, harness.TuningName)
	err := harness.Until(patient(t), team.Stand, w, "failed", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionReady)
		return condition.Is(w, v1alpha1.ConditionStalled) && c.Reason == v1alpha1.ReasonJobFailed && w.Status.Tuning.UID != not &&
			strings.Contains(c.Message, repolayout.AnnotationRetry+"="+w.Status.Tuning.UID)
	})
	if err != nil {
		t.Fatal(err)
	}
	return w.Status.Tuning.UID
}

// hopelessRun has a deadline that comes before its (simulated) end.
const hopelessRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: workspace-tuning-phi-3
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input:
      urls:
      - https://example.com/data.jsonl
    output:
      image: registry.example.com/models/never:0.0.1
      pushSecret: registry-push
  patches:
  - target:
      kind: Job
    patch: |
      - op: add
        path: /spec/activeDeadlineSeconds
        value: 2
      - op: add
        path: /spec/template/metadata/annotations/pod-complete.stage.kwok.x-k8s.io~1delay
        value: 1h
`

// TestRefusedEditStaysRefused pushes over a running service an edit that is over
// budget: what runs, runs on, and no later pass takes its readiness for the
// edit's.
func TestRefusedEditStaysRefused(t *testing.T) {
	team := newTeam(t, "overbudget")
	files := onlyInference(t)
	pushAndApply(t, team, files)
	ready(t, team, harness.InferenceName)
	replace(t, files, budgetFile, `maxUSDPerHour: "8"`, `maxUSDPerHour: "1"`)
	push(t, team, files, "models: be thrifty")
	w := workspace(team, harness.InferenceName)
	refused := func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionStalled) && w.Status.ObservedGeneration == w.Generation
	}
	if err := harness.Until(patient(t), team.Stand, w, "refused", refused); err != nil {
		t.Fatal(err)
	}
	// A new pass over the same spec, as a restart or a child's event brings it.
	if err := team.KillController(); err != nil {
		t.Fatal(err)
	}
	if err := team.StartController(patient(t)); err != nil {
		t.Fatal(err)
	}
	edit(t, team, w, `{"metadata":{"annotations":{"example.com/touched":"yes"}}}`)
	readme(t, team, "Refused", func(s string) bool { return strings.Contains(s, "Refused") })
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil || !refused(w) || isReady(w) {
		t.Errorf("an edit that is refused must stay refused: %v %v", err, w.Status.Conditions)
	}
	d := deployment(team)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(d), d); err != nil || d.Status.AvailableReplicas != 1 {
		t.Errorf("what runs must run on: %v", err)
	}

	// Suspending stops the spending even though the edit is refused.
	replace(t, files, inferenceFile, "spec:\n", "spec:\n  suspend: true\n")
	push(t, team, files, "models: stop")
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.InferenceName)); err != nil {
		t.Error(err)
	}
}
