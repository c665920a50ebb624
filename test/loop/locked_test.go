// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	lockedName = "smollm"
	lockedFile = "models/smollm/" + repolayout.LockFile
	lockedText = `id: HuggingFaceTB/SmolLM2-1.7B-Instruct
license: apache-2.0
revision: 1111111111111111111111111111111111111111
weights: {bytes: 3422777952}
shape: {kind: dense, layers: 24, hidden: 2048, intermediate: 8192, vocabulary: 49152, embeddings: 1, heads: 32, kvHeads: 32, headDim: 64, maxContext: 8192}
`
)

// lockedFiles are a repository that serves a model outside the catalogue. Its
// lock file is not in it yet.
func lockedFiles() map[string]string {
	return map[string]string{
		"models/kustomization.yaml":        "resources:\n- smollm\n",
		"models/smollm/kustomization.yaml": "resources:\n- workspace.yaml\n",
		"models/smollm/workspace.yaml": `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: ` + lockedName + `
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  inference:
    model:
      id: HuggingFaceTB/SmolLM2-1.7B-Instruct
      lock: smollm-lock
`,
	}
}

// TestLockedModel serves a model outside the catalogue. Without its lock file no
// node is bought; the file wakes the Workspace when it arrives; a changed one
// reaches the pods; a wrong one is refused and leaves what runs alone.
func TestLockedModel(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "locked")
	files := lockedFiles()
	push(t, team, files, "models: serve a model of our own")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	waits(t, team, v1alpha1.ReasonInputMissing)
	if got := agentPools(team); len(got) != 0 {
		t.Errorf("nodes were bought for a model that nobody can size: %v", got)
	}

	byHand := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "smollm-lock"},
		Data:       map[string]string{repolayout.LockFile: lockedText},
	}
	if err := team.Client.Create(t.Context(), byHand); err != nil {
		t.Fatal(err)
	}
	w := ready(t, team, lockedName)
	if r := w.Status.Resolved; r == nil || r.Preset != "HuggingFaceTB/SmolLM2-1.7B-Instruct" || r.ModelRevision != "1111111111111111111111111111111111111111" {
		t.Errorf("resolved to %+v, want what the lock file says", r)
	}
	if i := w.Status.Inference; i == nil || !slices.Equal(i.Models, []string{"smollm2-1.7b-instruct"}) {
		t.Errorf("served is %+v", i)
	}
	before := servedWith(t, team, "--revision=1111111111111111111111111111111111111111")

	files[lockedFile] = lockedText
	replace(t, files, lockedFile, "revision: 1", "revision: 2")
	files["models/smollm/kustomization.yaml"] += "configMapGenerator:\n- name: smollm-lock\n  files: [model.lock.yaml]\n"
	appliedCommit(t, team, push(t, team, files, "models: lock another commit"))
	after := servedWith(t, team, "--revision=2111111111111111111111111111111111111111")
	if before == after || after == "" {
		t.Errorf("the digest on the pod template is %q and was %q: a changed lock file must reach it", after, before)
	}

	replace(t, files, lockedFile, "id: HuggingFaceTB/", "id: somebody/")
	appliedCommit(t, team, push(t, team, files, "models: a lock file of another model"))
	waits(t, team, v1alpha1.ReasonRefused)
	if got := servedWith(t, team, "--revision=2111111111111111111111111111111111111111"); got != after {
		t.Errorf("a refused change touched the pods: %q", got)
	}
}

// waits until the Workspace is not ready for a reason.
func waits(t *testing.T, team *harness.Team, reason string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, lockedName), "not ready: "+reason, func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionWorkspaceReady)
		return c != nil && c.Status == metav1.ConditionFalse && c.Reason == reason && w.Status.ObservedGeneration == w.Generation
	})
	if err != nil {
		t.Fatal(err)
	}
}

// servedWith waits for a Deployment with an argument and returns the digest of
// its inputs.
func servedWith(t *testing.T, team *harness.Team, argument string) string {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: lockedName}}
	err := harness.Until(patient(t), team.Stand, d, "served with "+argument, func(d *appsv1.Deployment) bool {
		return slices.Contains(d.Spec.Template.Spec.Containers[0].Args, argument)
	})
	if err != nil {
		t.Fatal(err)
	}
	return d.Spec.Template.Annotations[repolayout.AnnotationInputDigest]
}
