// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// onRack is a service on a GPU of a machine that exists.
const onRack = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
    provider: existing
    labelSelector: {matchLabels: {rack: RACK}}
  inference:
    preset: phi-4-mini-instruct
`

// TestSharedNode has a machine of two GPUs that somebody else uses up: the service
// says who, and starts when they are gone; a second one finds room beside it, and
// a third one is told by whom the GPUs are held.
func TestSharedNode(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "existing")
	node := rack(t, team)
	stranger := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "stranger"}}
	stranger.Spec.NodeSelector = map[string]string{"rack": team.Namespace}
	stranger.Spec.Containers = []corev1.Container{{Name: "train", Image: "registry.example.com/train:1", Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")},
	}}}
	if err := team.Client.Create(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), team.Stand, stranger, "placed", func(p *corev1.Pod) bool { return p.Spec.NodeName == node }); err != nil {
		t.Fatal(err)
	}

	files := map[string]string{}
	serve := func(names ...string) {
		list := "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n"
		for _, n := range names {
			files["clusters/staging/workspaces/"+n+".yaml"] = strings.NewReplacer("NAME", n, "RACK", team.Namespace).Replace(onRack)
			list += "- " + n + ".yaml\n"
		}
		files[listFile] = list
		push(t, team, files, "models: serve "+strings.Join(names, ", "))
	}
	serve("first")
	apply(t, team, team.RepoSync(nil))
	told(t, team, "first", "node "+node+" has 0 of its 2 GPUs free", "held by "+team.Namespace+"/stranger (2)")

	if err := team.Client.Delete(t.Context(), stranger); err != nil {
		t.Fatal(err)
	}
	ready(t, team, "first")
	serve("first", "second")
	ready(t, team, "second")
	serve("first", "second", "third")
	told(t, team, "third", "has 0 of its 2 GPUs free", team.Namespace+"/first-", team.Namespace+"/second-")
	ready(t, team, "first") // whoever has its GPU keeps it
}

// rack is a machine with two GPUs that nobody bought, known by a label.
func rack(t *testing.T, team *harness.Team) string {
	t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: team.Namespace + "-rack", Annotations: map[string]string{cluster.AnnotationFakeNode: "fake"},
		Labels: map[string]string{"rack": team.Namespace, "nvidia.com/gpu.count": "2", "nvidia.com/gpu.memory": "81920", corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64"},
	}}
	n.Status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("96"), corev1.ResourceMemory: resource.MustParse("900Gi"), corev1.ResourcePods: resource.MustParse("110"),
		corev1.ResourceEphemeralStorage: resource.MustParse("2Ti"), "nvidia.com/gpu": resource.MustParse("2"),
	}
	n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	if err := team.Client.Create(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = team.Client.Delete(t.Context(), n) }) // the cluster ends with the package
	return n.Name
}

// told waits until a Workspace says why it has no GPU.
func told(t *testing.T, team *harness.Team, name string, parts ...string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, name), "told who holds the GPUs", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionReady)
		if c == nil || c.Status == metav1.ConditionTrue {
			return false
		}
		for _, p := range parts {
			if !strings.Contains(c.Message, p) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}
