// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestRoute publishes a service: without Gateway API it says so and serves; with
// it the Gateway's word counts, which the test plays; and the route is taken back.
func TestRoute(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "route")
	files := onlyInference(t)
	const file = "models/phi-4-mini/workspace.yaml"
	const route = "    route: {parentRefs: [{name: public, namespace: gateways}], hostnames: [models.example.com]}\n"
	replace(t, files, file, "  inference:\n", "  inference:\n"+route)
	pushAndApply(t, team, files)
	routeSays(t, team, v1alpha1.ReasonInputMissing)
	if err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "served all the same", func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionInferenceReady)
	}); err != nil {
		t.Fatal(err)
	}

	if err := cluster.InstallCRDs(t.Context(), team.Cluster.Config, filepath.Join("..", "rendered", "testdata", "gateway")); err != nil {
		t.Fatal(err)
	}
	routeSays(t, team, v1alpha1.ReasonWaitingForGateway)
	published := &unstructured.Unstructured{}
	published.SetAPIVersion("gateway.networking.k8s.io/v1")
	published.SetKind("HTTPRoute")
	key := client.ObjectKey{Namespace: team.Namespace, Name: harness.InferenceName}
	if err := team.Client.Get(t.Context(), key, published); err != nil {
		t.Fatal(err)
	}
	judge(t, team, published, metav1.ConditionTrue)
	ready(t, team, harness.InferenceName)

	replace(t, files, file, route, "")
	push(t, team, files, "models: within the cluster only")
	if err := harness.Gone(patient(t), team.Stand, published); err != nil {
		t.Error(err)
	}
	if err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "ready without a route", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && condition.Get(w, v1alpha1.ConditionRouteAccepted) == nil
	}); err != nil {
		t.Error(err)
	}
}

// routeSays waits for what the Workspace says of its route.
func routeSays(t *testing.T, team *harness.Team, reason string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "a route that is not there yet: "+reason, func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionRouteAccepted)
		return c != nil && c.Reason == reason && !isReady(w)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judge writes what a controller of Gateway API writes.
func judge(t *testing.T, team *harness.Team, route *unstructured.Unstructured, status metav1.ConditionStatus) {
	t.Helper()
	said := make([]any, 0, 2)
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		said = append(said, map[string]any{
			"type": kind, "status": string(status), "reason": kind, "message": "", "observedGeneration": route.GetGeneration(), "lastTransitionTime": "2026-11-26T00:00:00Z",
		})
	}
	parent := map[string]any{"parentRef": map[string]any{"name": "public", "namespace": "gateways"}, "controllerName": "example.com/gateway", "conditions": said}
	if err := unstructured.SetNestedSlice(route.Object, []any{parent}, "status", "parents"); err != nil {
		t.Fatal(err)
	}
	if err := team.Client.Status().Update(t.Context(), route); err != nil {
		t.Fatal(err)
	}
}
