// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// queuedRun is a run that waits in a queue, and does not end by itself.
const queuedRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  queue: team-a
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/NAME:0.0.1", pushSecret: registry-push}
`

const endless = `  patches:
  - target: {kind: Job}
    patch: |
      - op: add
        path: /spec/template/metadata/annotations/pod-complete.stage.kwok.x-k8s.io~1delay
        value: 1h
`

// TestQueue: Kueue decides when nodes are bought, and when they are given back.
// The test plays Kueue: it writes what its Job integration writes.
func TestQueue(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "queue")
	files := map[string]string{
		"models/kustomization.yaml": "resources: [slow.yaml, quick.yaml]\n",
		"models/slow.yaml":          strings.ReplaceAll(queuedRun, "NAME", "slow") + endless,
		"models/quick.yaml":         strings.ReplaceAll(queuedRun, "NAME", "quick"),
	}
	push(t, team, files, "models: two runs in a queue")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	queueSays(t, team, "slow", v1alpha1.ReasonInputMissing, "LocalQueue queue/team-a")
	create(t, team, kueueObject("LocalQueue", "team-a", team.Namespace, map[string]any{"clusterQueue": "all"}))

	slow := waitingJob(t, team, "slow")
	quick := waitingJob(t, team, "quick")
	refuseQuota(t, team, slow)
	queueSays(t, team, "slow", v1alpha1.ReasonWaitingForQueue, "no node is bought before Kueue admits it; Kueue says: insufficient unused quota for nvidia.com/gpu")
	if got := agentPools(team); len(got) != 0 {
		t.Errorf("nodes were bought for runs that wait: %v", got)
	}

	admit(t, team, quick)
	ready(t, team, "quick")
	if got := agentPools(team); len(got) != 1 {
		t.Errorf("nodes are bought for the run that was admitted, and for no other: %v", got)
	}

	admit(t, team, slow)
	running(t, team, "slow")
	edit(t, team, slow, `{"spec":{"suspend":true}}`) // another run has taken its quota
	if err := harness.Gone(patient(t), team.Stand, pool(team, "slow")); err != nil {
		t.Error(err)
	}
	queueSays(t, team, "slow", v1alpha1.ReasonWaitingForQueue, "")

	admit(t, team, slow)
	running(t, team, "slow")
	files["models/slow.yaml"] += "  suspend: true\n"
	push(t, team, files, "models: stop")
	if err := harness.Gone(patient(t), team.Stand, slow); err != nil {
		t.Errorf("a suspended run leaves the queue: %v", err)
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, "slow")); err != nil {
		t.Error(err)
	}
}

// waitingJob waits for the Job of a Workspace, which is suspended and in its queue.
func waitingJob(t *testing.T, team *harness.Team, name string) *batchv1.Job {
	t.Helper()
	w := workspace(team, name)
	err := harness.Until(patient(t), team.Stand, w, "with a Job in the queue", func(w *v1alpha1.Workspace) bool { return w.Status.Tuning != nil && w.Status.Tuning.Run != "" })
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: w.Status.Tuning.Run}}
	err = harness.Until(patient(t), team.Stand, job, "suspended", func(job *batchv1.Job) bool {
		return ptr.Deref(job.Spec.Suspend, false) && job.Labels[repolayout.LabelQueue] == "team-a"
	})
	if err != nil {
		t.Fatal(err)
	}
	return job
}

// admit does what Kueue does to a Job that it admits: the flavor's labels go into
// the pod template, and the Job goes.
func admit(t *testing.T, team *harness.Team, job *batchv1.Job) {
	t.Helper()
	edit(t, team, job, `{"spec":{"suspend":false,"template":{"spec":{"nodeSelector":{"node.kubernetes.io/instance-type":"Standard_NC4as_T4_v3"}}}}}`)
}

// running waits until a run is started on nodes of its own.
func running(t *testing.T, team *harness.Team, name string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, name), "running", func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionResourceReady) && condition.Is(w, v1alpha1.ConditionJobStarted)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// queueSays waits until a Workspace's nodes are not there for a reason.
func queueSays(t *testing.T, team *harness.Team, name, reason, part string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, name), "not ready: "+reason, func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionWorkspaceReady)
		return c != nil && c.Reason == reason && strings.Contains(c.Message, part)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func kueueObject(kind, name, namespace string, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind,
		"metadata": map[string]any{"name": name, "namespace": namespace}, "spec": spec,
	}}
}

func create(t *testing.T, team *harness.Team, o *unstructured.Unstructured) {
	t.Helper()
	if err := team.Client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// refuseQuota writes the Workload that Kueue makes for a Job, without quota.
func refuseQuota(t *testing.T, team *harness.Team, job *batchv1.Job) {
	t.Helper()
	workload := kueueObject("Workload", "job-"+job.Name, team.Namespace, map[string]any{
		"queueName": "team-a",
		"podSets":   []any{map[string]any{"name": "main", "count": int64(1), "template": map[string]any{"spec": map[string]any{}}}},
	})
	workload.SetLabels(map[string]string{"kueue.x-k8s.io/job-uid": string(job.UID)})
	create(t, team, workload)
	workload.Object["status"] = map[string]any{"conditions": []any{map[string]any{
		"type": "QuotaReserved", "status": "False", "reason": "Pending", "lastTransitionTime": "2026-01-01T00:00:00Z",
		"message": "insufficient unused quota for nvidia.com/gpu",
	}}}
	if err := team.Client.Status().Update(t.Context(), workload); err != nil {
		t.Fatal(err)
	}
	edit(t, team, workspace(team, "slow"), `{"metadata":{"annotations":{"example.com/look":"now"}}}`) // no watch tells
}
