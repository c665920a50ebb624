// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestKubectl: `kubectl get workspaces` prints the columns people know from
// KAITO, and `kubectl wait` understands the conditions.
func TestKubectl(t *testing.T) {
	c := shared.Get(t)
	namespace := c.Namespace(t)
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), append([]string{"--namespace=" + namespace}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	objects := typedClient(t)
	workspace := &v1alpha1.Workspace{
		ObjectMeta: metav1.ObjectMeta{Name: "phi", Namespace: namespace},
		Spec: v1alpha1.WorkspaceSpec{
			Resource:  v1alpha1.ResourceSpec{InstanceType: "Standard_NC4as_T4_v3"},
			Inference: &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}},
		},
	}
	if err := objects.Create(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}

	wait := make(chan error, 1)
	go func() {
		_, err := c.Kubectl(t.Context(), "--namespace="+namespace, "wait", "--for=condition=Ready", "--timeout=60s", "workspace/phi")
		wait <- err
	}()
	setReady(t, objects, workspace)
	if err := <-wait; err != nil {
		t.Errorf("kubectl wait --for=condition=Ready: %v", err)
	}

	rows := strings.Split(strings.TrimSpace(kubectl("get", "workspaces")), "\n")
	if len(rows) != 2 {
		t.Fatalf("got %q, want a header and a row", rows)
	}
	header, row := strings.Fields(rows[0]), strings.Fields(rows[1])
	if want := []string{"NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "WORKSPACEREADY", "AGE"}; !slices.Equal(header, want) {
		t.Errorf("columns: got %v, want %v", header, want)
	}
	if want := []string{"phi", "Standard_NC4as_T4_v3", "True", "True", "True"}; !slices.Equal(row[:len(row)-1], want) {
		t.Errorf("row: got %v, want %v and an age", row, want)
	}
	for _, name := range []string{"ews", "gnp", "reposyncs", "espalier"} {
		kubectl("get", name)
	}
}

// setReady writes the status that a controller would.
func setReady(t *testing.T, objects client.Client, workspace *v1alpha1.Workspace) {
	t.Helper()
	workspace.Status.ObservedGeneration = workspace.Generation
	workspace.Status.Instance = workspace.Spec.Resource.InstanceType
	for _, condition := range []string{
		v1alpha1.ConditionResourceReady, v1alpha1.ConditionInferenceReady,
		v1alpha1.ConditionWorkspaceReady, v1alpha1.ConditionReady,
	} {
		apimeta.SetStatusCondition(&workspace.Status.Conditions, metav1.Condition{
			Type: condition, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded,
			LastTransitionTime: metav1.NewTime(time.Now()),
		})
	}
	if err := objects.Status().Update(t.Context(), workspace); err != nil {
		t.Fatal(err)
	}
}

func typedClient(t *testing.T) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects, err := client.New(shared.Get(t).Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return objects
}
