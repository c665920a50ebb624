// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"bytes"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestRefusedBeforeAnythingIsPaid pushes the sample without the substitution: the
// retired size is refused with the reason and the cheapest that works, and the
// cloud is never asked for it.
func TestRefusedBeforeAnythingIsPaid(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "refused")
	push(t, team, exampleFiles(t), "models: as KAITO's cookbook prints it")
	apply(t, team, team.RepoSync(nil))

	w := workspace(team, harness.TuningName)
	err := harness.Until(patient(t), team.Stand, w, "Stalled", func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionStalled)
	})
	if err != nil {
		t.Fatal(err)
	}
	message := condition.Get(w, v1alpha1.ConditionReady).Message
	for _, part := range []string{harness.RetiredSize, "2025-09-30", "7.0", harness.MovedToSize, "$"} {
		if !strings.Contains(message, part) {
			t.Errorf("the refusal does not say %q: %s", part, message)
		}
	}
	ready(t, team, harness.InferenceName) // one bad workspace holds up no other
	oneAgentPoolEach(t, team, "Standard_NC24ads_A100_v4")
	readme(t, team, "Refused for the tuning", func(s string) bool { return strings.Contains(s, "Refused") })
}

// TestBrokenBesideGood pushes a Workspace that does not decode beside one that
// does: the good one proceeds, the broken one is reported with file and line,
// and nothing of the last good state is pruned.
func TestBrokenBesideGood(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "broken")
	files := exampleFiles(t)
	appliedFirst := push(t, team, files, "models: both are good")
	apply(t, team, team.RepoSync(moved))
	appliedCommit(t, team, appliedFirst)

	broken := maps.Clone(files)
	broken["models/phi-3-dolly/workspace.yaml"] = strings.Replace(files["models/phi-3-dolly/workspace.yaml"], "  method: qlora", "  metod: qlora", 1)
	broken["models/phi-4-mini/workspace.yaml"] = strings.Replace(files["models/phi-4-mini/workspace.yaml"], "32768", "8192", 1)
	commit := push(t, team, broken, "models: a slip of the pen")

	c := syncCondition(t, team, v1alpha1.ConditionBuilt, v1alpha1.ReasonBuildFailed)
	const place = "models/phi-3-dolly/workspace.yaml:13"
	if !strings.Contains(c.Message, place) || !strings.Contains(c.Message, "metod") {
		t.Errorf("the condition names file, line and field (%s): %s", place, c.Message)
	}
	w := workspace(team, harness.InferenceName)
	if err := harness.Until(patient(t), team.Stand, w, "at the new commit", func(w *v1alpha1.Workspace) bool {
		return w.Spec.Inference.ContextLength == 8192 && strings.HasSuffix(w.Status.Revision, commit)
	}); err != nil {
		t.Errorf("the good Workspace must proceed: %v", err)
	}
	readme(t, team, "telling the place", func(s string) bool { return strings.Contains(s, place) })
	kept := workspace(team, harness.TuningName)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(kept), kept); err != nil || !kept.DeletionTimestamp.IsZero() {
		t.Errorf("the last good state of the broken Workspace must stay: %v", err)
	}
}

// TestEmptiedFolder pushes a commit that empties the folder: nothing is deleted,
// the condition says how to approve, and an approval of just that deletes.
func TestEmptiedFolder(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "emptied")
	files := exampleFiles(t)
	first := push(t, team, files, "models: two")
	apply(t, team, team.RepoSync(moved))
	appliedCommit(t, team, first)

	emptied := maps.Clone(files)
	maps.DeleteFunc(emptied, func(name, _ string) bool { return strings.HasPrefix(name, repolayout.PathRoot(example.Staging)) })
	commit := push(t, team, emptied, "models: oops")
	c := syncCondition(t, team, v1alpha1.ConditionPruneHeld, v1alpha1.ReasonNothingBuilt)
	token := regexp.MustCompile(repolayout.AnnotationApprovePrune + "=(" + commit[:12] + "-[0-9a-f]{8})$").FindStringSubmatch(c.Message)
	if token == nil {
		t.Fatalf("the condition says how to approve: %s", c.Message)
	}
	for _, name := range []string{harness.TuningName, harness.InferenceName} {
		w := workspace(team, name)
		if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil || !w.DeletionTimestamp.IsZero() {
			t.Errorf("%s must not be deleted: %v", name, err)
		}
	}
	readme(t, team, "telling what is held", func(s string) bool { return strings.Contains(s, token[1]) && strings.Contains(s, "approve") })

	s := repoSync(team)
	patch := []byte(`{"metadata":{"annotations":{"` + repolayout.AnnotationApprovePrune + `":"` + token[1] + `"}}}`)
	if err := team.Client.Patch(t.Context(), s, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{harness.TuningName, harness.InferenceName} {
		if err := harness.Gone(patient(t), team.Stand, workspace(team, name)); err != nil {
			t.Error(err)
		}
	}
}

// TestSourceTrouble gives a RepoSync what cannot be read: each trouble has a
// clear condition within one try, and is cured without a restart.
func TestSourceTrouble(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason string
		spoil  func(*testing.T, *harness.Team, *v1alpha1.RepoSync)
		want   string
		says   string
		cure   func(*testing.T, *harness.Team)
	}{
		"WrongCredential": {
			reason: "A wrong password is not an unreachable server.",
			spoil: func(t *testing.T, team *harness.Team, _ *v1alpha1.RepoSync) {
				setPassword(t, team, "wrong-horse")
			},
			want: v1alpha1.ReasonAuthFailed, says: "models-git",
			cure: func(t *testing.T, team *harness.Team) { setPassword(t, team, harness.GitPassword) },
		},
		"NoSuchBranch": {
			reason: "A branch that is not there is named.",
			spoil:  func(_ *testing.T, _ *harness.Team, s *v1alpha1.RepoSync) { s.Spec.Source.Git.Ref.Branch = "release" },
			want:   v1alpha1.ReasonRefNotFound, says: "release",
			cure: func(t *testing.T, team *harness.Team) {
				if _, err := team.Git.Push(team.Repo, "release", exampleFiles(t), "models: release"); err != nil {
					t.Fatal(err)
				}
			},
		},
		"Unreachable": {
			reason: "A server that does not answer is named; its return cures it.",
			spoil: func(t *testing.T, team *harness.Team, _ *v1alpha1.RepoSync) {
				if err := team.Git.Pause(); err != nil {
					t.Fatal(err)
				}
			},
			want: v1alpha1.ReasonSourceUnreachable, says: "127.0.0.1",
			cure: func(t *testing.T, team *harness.Team) {
				if err := team.Git.Resume(); err != nil {
					t.Fatal(err)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			team := newTeam(t, "trouble-"+strings.ToLower(name))
			files := exampleFiles(t)
			replace(t, files, listFile, tuningLine, "")
			push(t, team, files, "models: one")
			s := team.RepoSync(moved)
			c.spoil(t, team, s)
			apply(t, team, s)
			got := syncCondition(t, team, v1alpha1.ConditionSourceReady, c.want)
			if strings.Contains(got.Message, "horse") {
				t.Errorf("a password is in the condition: %s", got.Message)
			}
			if !strings.Contains(got.Message, c.says) {
				t.Errorf("%s\nthe message does not say %q: %s", c.reason, c.says, got.Message)
			}
			c.cure(t, team)
			if err := harness.Until(patient(t), team.Stand, repoSync(team), "Ready", isReady[*v1alpha1.RepoSync]); err != nil {
				t.Errorf("%s\nnot cured without a restart: %v", c.reason, err)
			}
		})
	}
}

func setPassword(t *testing.T, team *harness.Team, password string) {
	t.Helper()
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: harness.GitSecret}}
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	secret.Data["password"] = []byte(password)
	if err := team.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
}

// TestWebhookAndAnnotation makes the controller look without waiting for the
// interval, once by the webhook and once by the annotation.
func TestWebhookAndAnnotation(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "hook")
	files := exampleFiles(t)
	replace(t, files, listFile, tuningLine, "")
	first := push(t, team, files, "models: one")
	s := hooked(t, team)
	s.Spec.Interval = metav1.Duration{Duration: 24 * time.Hour}
	apply(t, team, s)
	appliedCommit(t, team, first)

	files["models/phi-4-mini/workspace.yaml"] = strings.Replace(files["models/phi-4-mini/workspace.yaml"], "32768", "8192", 1)
	second := push(t, team, files, "models: shorter")
	url := team.HookURL(team.Namespace, team.Sync)
	if code := call(t, url, "wrong"); code != http.StatusNotFound {
		t.Errorf("a wrong token is answered with %d, want 404", code)
	}
	if code := call(t, url, "t0ken"); code != http.StatusAccepted {
		t.Errorf("the webhook is answered with %d, want 202", code)
	}
	appliedCommit(t, team, second)

	files["models/phi-4-mini/workspace.yaml"] = strings.Replace(files["models/phi-4-mini/workspace.yaml"], "8192", "4096", 1)
	third := push(t, team, files, "models: shorter still")
	live := repoSync(team)
	patch := []byte(`{"metadata":{"annotations":{"` + repolayout.AnnotationReconcileAt + `":"now"}}}`)
	if err := team.Client.Patch(t.Context(), live, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		t.Fatal(err)
	}
	appliedCommit(t, team, third)
}

// hooked is a RepoSync with a webhook, whose token is t0ken.
func hooked(t *testing.T, team *harness.Team) *v1alpha1.RepoSync {
	t.Helper()
	hook := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "hook"}, StringData: map[string]string{"token": "t0ken"}}
	if err := team.Client.Create(t.Context(), hook); err != nil {
		t.Fatal(err)
	}
	s := team.RepoSync(moved)
	s.Spec.Hook = &v1alpha1.Hook{SecretRef: v1alpha1.LocalObjectReference{Name: hook.Name}}
	return s
}

func call(t *testing.T, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte("{}")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Gitlab-Token", token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}
