// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"encoding/json"
	"fmt"
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

const (
	// whatItMeasured is what `espalier adapter push` leaves of an adapter that is not
	// good enough, and whatItPublished of the same with a threshold that it meets.
	whatItMeasured  = `{"evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100", "withheld": true}}`
	whatItPublished = `{"adapter": "registry.example.com/models/judged@sha256:%s", "evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100"}}`

	judgedRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: judged
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/judged:0.0.1", pushSecret: registry-push}
    evaluation: {split: 5%, maxLoss: "1.2"}
  patches:
  - target: {kind: Job}
    patch: |
      apiVersion: batch/v1
      kind: Job
      metadata: {name: any}
      spec: {template: {metadata: {annotations: {
        pod-complete.stage.kwok.x-k8s.io/delay: 8s,
        simulation.example.com/termination: '` + whatItMeasured + `'}}}}
`
)

// TestEvaluation: an adapter that misses a threshold is not published, the run has
// failed for good and gives its nodes back; a threshold in Git that its numbers meet
// publishes it from its last checkpoint.
func TestEvaluation(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "judged")
	files := map[string]string{"models/kustomization.yaml": "resources: [judged.yaml]\n", "models/judged.yaml": judgedRun}
	push(t, team, files, "models: a run that is measured")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	w := workspace(team, "judged")
	missed := func(w *v1alpha1.Workspace) bool {
		c, r := condition.Get(w, v1alpha1.ConditionStalled), condition.Get(w, v1alpha1.ConditionResourceReady)
		return c != nil && c.Reason == v1alpha1.ReasonEvaluationFailed && r != nil && r.Reason == v1alpha1.ReasonReleased
	}
	if err := harness.Until(patient(t), team.Stand, w, "failed for its evaluation", missed); err != nil {
		t.Fatal(err)
	}
	if c := condition.Get(w, v1alpha1.ConditionTuningSucceeded); !strings.Contains(c.Message, "is 1.2100, and evaluation.maxLoss allows 1.2") {
		t.Errorf("it says %s", c.Message)
	}
	first := w.Status.Tuning
	if first.Adapter != "" || !first.Evaluation.Withheld {
		t.Errorf("nothing is published: %+v", first)
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, "judged")); err != nil {
		t.Fatal(err)
	}
	readme(t, team, "told of what was missed", func(text string) bool {
		return strings.Contains(text, "loss 1.8300 → 1.2100") && strings.Contains(text, "evaluation.maxLoss allows 1.2")
	})

	// Nothing but Git brings it back: neither a look, nor a wish to try again.
	edit(t, team, w, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, repolayout.AnnotationRetry, first.UID))
	replace(t, files, "models/judged.yaml", `maxLoss: "1.2"`, `maxLoss: "1.25"`)
	push(t, team, files, "models: accept what was measured")
	publishes(t, team, first.UID)
	done := func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionReady) && repolayout.Pinned(w.Status.Tuning.Adapter)
	}
	if err := harness.Until(patient(t), team.Stand, w, "published", done); err != nil {
		t.Fatal(err)
	}
	if w.Status.Tuning.Run != first.Run || w.Status.Tuning.UID == first.UID {
		t.Errorf("want the same run in a new Job: %+v after %+v", w.Status.Tuning, first)
	}
	if c := condition.Get(w, v1alpha1.ConditionReady); !strings.Contains(c.Message, "loss 1.8300 → 1.2100 (33.8 % less)") {
		t.Errorf("it says %s", c.Message)
	}
	if got := agentPools(team); len(got) != 2 {
		t.Errorf("nodes are bought for the training and for publishing, and not for a wish: %v", got)
	}
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "judged-config"}}
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(config), config); err != nil || !strings.Contains(config.Data[repolayout.EvaluationFile], `"maxLoss": "1.25"`) {
		t.Errorf("the pod reads the thresholds of before: %v", err)
	}
}

// publishes plays the pod of a Job after the one of that UID: it leaves what a push
// does.
func publishes(t *testing.T, team *harness.Team, before string) {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace}}
	w := workspace(team, "judged")
	if err := harness.Until(patient(t), team.Stand, w, "in a new Job", func(w *v1alpha1.Workspace) bool {
		return w.Status.Tuning != nil && w.Status.Tuning.UID != "" && w.Status.Tuning.UID != before
	}); err != nil {
		t.Fatal(err)
	}
	job.Name = w.Status.Tuning.Run
	if err := harness.Until(patient(t), team.Stand, job, "with a pod", func(j *batchv1.Job) bool { return j.Status.Active == 1 }); err != nil {
		t.Fatal(err)
	}
	left, err := json.Marshal(fmt.Sprintf(whatItPublished, strings.Repeat("ab12", 16)))
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range podsOf(t.Context(), t, team, job) {
		edit(t, team, &pod, fmt.Sprintf(`{"metadata":{"annotations":{"simulation.example.com/termination":%s}}}`, left))
	}
}

func podsOf(ctx context.Context, t *testing.T, team *harness.Team, job *batchv1.Job) []corev1.Pod {
	t.Helper()
	pods := &corev1.PodList{}
	if err := team.Client.List(ctx, pods, client.InNamespace(team.Namespace), client.MatchingLabels{batchv1.ControllerUidLabel: string(job.UID)}); err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatal("the Job has no pod")
	}
	return pods.Items
}
