// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const large = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: ` + harness.InferenceName + `
spec:
  resource:
    instanceType: Standard_ND96isr_H100_v5
  inference:
    preset: deepseek-ai/DeepSeek-R1-0528
`

// TestSeveralNodes serves a model that takes two nodes, with a second copy of it,
// and then a small one: each copy is a StatefulSet, and what only several nodes
// need goes with them.
func TestSeveralNodes(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "nodes")
	file := "clusters/staging/workspaces/" + harness.InferenceName + ".yaml"
	files := map[string]string{
		listFile: "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n- " + harness.InferenceName + ".yaml\n",
		file:     large,
	}
	push(t, team, files, "models: serve a large one")
	apply(t, team, team.RepoSync(nil))
	w := ready(t, team, harness.InferenceName)
	if w.Status.Sizing.Nodes != 2 || w.Status.Resolved.HelperImage == "" {
		t.Errorf("sizing %+v, resolved %+v", w.Status.Sizing, w.Status.Resolved)
	}
	sets := copiesOf(t, team)
	if len(sets) != 1 || *sets[0].Spec.Replicas != 2 || sets[0].Spec.Template.Labels[repolayout.LabelCopy] != harness.InferenceName+"-0" {
		t.Fatalf("one copy of two pods is a StatefulSet: %+v", sets)
	}

	replace(t, files, file, "  inference:\n", "  inference:\n    replicas: 2\n")
	push(t, team, files, "models: a second copy")
	readyWith(t, team, "four nodes", func(w *v1alpha1.Workspace) bool { return w.Status.Sizing.Nodes == 4 })
	if sets := copiesOf(t, team); len(sets) != 2 {
		t.Errorf("%d StatefulSets, want one for each copy", len(sets))
	}

	replace(t, files, file, "    replicas: 2\n", "")
	replace(t, files, file, "deepseek-ai/DeepSeek-R1-0528", "phi-4-mini-instruct")
	push(t, team, files, "models: a small one will do")
	readyWith(t, team, "one node", func(w *v1alpha1.Workspace) bool { return w.Status.Sizing.Nodes == 1 })
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(deployment(team)), deployment(team)); err != nil {
		t.Errorf("a copy on one node is a Deployment: %v", err)
	}
	meta := metav1.ObjectMeta{Namespace: team.Namespace, Name: repolayout.MembersName(harness.InferenceName)}
	first := metav1.ObjectMeta{Namespace: team.Namespace, Name: harness.InferenceName + "-0"}
	for _, o := range []client.Object{
		&appsv1.StatefulSet{ObjectMeta: first}, &corev1.Service{ObjectMeta: meta}, &networkingv1.NetworkPolicy{ObjectMeta: meta},
	} {
		if err := harness.Gone(patient(t), team.Stand, o); err != nil {
			t.Error(err)
		}
	}
}

func copiesOf(t *testing.T, team *harness.Team) []appsv1.StatefulSet {
	t.Helper()
	list := &appsv1.StatefulSetList{}
	if err := team.Client.List(t.Context(), list, client.InNamespace(team.Namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// readyWith waits until a changed Workspace is Ready as it should be now.
func readyWith(t *testing.T, team *harness.Team, what string, holds func(*v1alpha1.Workspace) bool) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "Ready with "+what, func(w *v1alpha1.Workspace) bool {
		return isReady(w) && w.Status.ObservedGeneration == w.Generation && w.Status.Sizing != nil && holds(w)
	})
	if err != nil {
		t.Fatal(err)
	}
}
