// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	moverFile = "models/mover.yaml"
	mover     = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: mover
spec:
  resource: {nodePool: rack}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/mover:0.0.1", pushSecret: registry-push}
`

	boughtRack = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata:
  name: rack
spec:
  provider: aks
  replicas: 1
  candidates:
  - instanceType: Standard_NC4as_T4_v3
`
)

// TestOtherPool: a run whose Workspace goes from a shared pool to nodes of its own, and back,
// is the same run, goes on there in another Job, and holds nothing where it was.
func TestOtherPool(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "mover")
	files := map[string]string{"models/kustomization.yaml": "resources: [pool.yaml, mover.yaml]\n", "models/pool.yaml": boughtRack, moverFile: mover + endless}
	push(t, team, files, "models: tune on the shared nodes")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	shared := trainsOn(t, team, "rack", "")

	replace(t, files, moverFile, "nodePool: rack", "instanceType: Standard_NC4as_T4_v3")
	push(t, team, files, "models: nodes of its own")
	own := trainsOn(t, team, "mover", shared.UID)
	if own.Name != shared.Name {
		t.Errorf("other nodes are the same run: %s, then %s", shared.Name, own.Name)
	}

	replace(t, files, moverFile, "instanceType: Standard_NC4as_T4_v3", "nodePool: rack")
	push(t, team, files, "models: the shared nodes again")
	trainsOn(t, team, "rack", own.UID)
	if err := harness.Gone(patient(t), team.Stand, pool(team, "mover")); err != nil {
		t.Error(err)
	}
}

// trainsOn waits until another Job than the one before trains on a pool.
func trainsOn(t *testing.T, team *harness.Team, pool string, before types.UID) *batchv1.Job {
	t.Helper()
	w := workspace(team, "mover")
	err := harness.Until(patient(t), team.Stand, w, "a run", func(w *v1alpha1.Workspace) bool {
		return w.Status.ObservedGeneration == w.Generation && w.Status.Tuning != nil && w.Status.Tuning.Run != ""
	})
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: w.Status.Tuning.Run}}
	err = harness.Until(patient(t), team.Stand, job, "a pod that runs on "+pool, func(j *batchv1.Job) bool {
		on := j.Spec.Template.Spec.NodeSelector[repolayout.LabelPool]
		return j.UID != before && on == repolayout.PoolLabelValue(team.Namespace, pool) && j.Status.Ready != nil && *j.Status.Ready == 1
	})
	if err != nil {
		t.Fatal(err)
	}
	return job
}
