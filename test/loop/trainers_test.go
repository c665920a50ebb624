// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	wideFile = "models/wide.yaml"
	wideRun  = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: wide
spec:
  resource: {instanceType: Standard_NC4as_T4_v3, count: 2}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/wide:0.0.1", pushSecret: registry-push}
`
)

// TestSeveralTrainers: a run over two nodes has a pod with an index on each, which
// count as one try; with another number of nodes the same run goes on in another
// Job; and the nodes are given back when it is done.
func TestSeveralTrainers(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "wide")
	files := map[string]string{"models/kustomization.yaml": "resources: [wide.yaml]\n", wideFile: wideRun + endless}
	push(t, team, files, "models: tune on two nodes")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	w := trains(t, team, 2)
	if w.Status.Sizing.Nodes != 2 || w.Status.Tuning.Attempts != 1 {
		t.Errorf("two pods are one try on two nodes: %+v, %+v", w.Status.Sizing, w.Status.Tuning)
	}
	run := w.Status.Tuning.Run
	pods := &corev1.PodList{}
	if err := team.Client.List(t.Context(), pods, client.InNamespace(team.Namespace), client.MatchingLabels{batchv1.JobNameLabel: run}); err != nil {
		t.Fatal(err)
	}
	hosts := map[string]string{}
	for _, pod := range pods.Items {
		hosts[pod.Spec.Hostname+"."+pod.Spec.Subdomain] = pod.Spec.NodeName
	}
	if first, second := hosts[run+"-0.wide-nodes"], hosts[run+"-1.wide-nodes"]; first == "" || second == "" || first == second {
		t.Errorf("a pod of a known name on each node: %v", hosts)
	}

	replace(t, files, wideFile, "count: 2", "count: 3")
	push(t, team, files, "models: three nodes")
	w = trains(t, team, 3)
	if w.Status.Tuning.Run != run {
		t.Errorf("another number of nodes is the same run: %s, then %s", run, w.Status.Tuning.Run)
	}

	replace(t, files, wideFile, ", count: 3", "")
	replace(t, files, wideFile, endless, "")
	push(t, team, files, "models: one node will do, and the run comes to an end")
	ready(t, team, "wide")
	err := harness.Until(patient(t), team.Stand, w, "its nodes released", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionResourceReady)
		return c != nil && c.Reason == v1alpha1.ReasonReleased
	})
	if err != nil {
		t.Error(err)
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, "wide")); err != nil {
		t.Error(err)
	}
	claim := &corev1.PersistentVolumeClaim{}
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: repolayout.WorkClaimName("wide")}, claim); err != nil {
		t.Fatal(err)
	}
	if claim.Spec.AccessModes[0] != corev1.ReadWriteMany {
		t.Errorf("the volume stays what it was: %v", claim.Spec.AccessModes)
	}
	meta := metav1.ObjectMeta{Namespace: team.Namespace, Name: repolayout.MembersName("wide")}
	for _, o := range []client.Object{&corev1.Service{ObjectMeta: meta}, &networkingv1.NetworkPolicy{ObjectMeta: meta}} {
		if err := harness.Gone(patient(t), team.Stand, o); err != nil {
			t.Error(err)
		}
	}
}

// trains waits until pods on so many nodes train together.
func trains(t *testing.T, team *harness.Team, nodes int32) *v1alpha1.Workspace {
	t.Helper()
	w := workspace(team, "wide")
	err := harness.Until(patient(t), team.Stand, w, "trained", func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionJobStarted) && w.Status.ObservedGeneration == w.Generation && w.Status.Sizing.Nodes == nodes
	})
	if err != nil {
		t.Fatal(err)
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: w.Status.Tuning.Run}}
	err = harness.Until(patient(t), team.Stand, job, "pods that run", func(j *batchv1.Job) bool {
		return ptr.Deref(j.Spec.CompletionMode, "") == batchv1.IndexedCompletion && j.Status.Active == nodes && ptr.Deref(j.Status.Ready, 0) == nodes
	})
	if err != nil {
		t.Fatal(err)
	}
	if policy := job.Spec.PodFailurePolicy; policy == nil || !strings.Contains(policy.String(), "75") {
		t.Errorf("a pod that ends for the sake of another counts as a failure: %v", policy)
	}
	return w
}
