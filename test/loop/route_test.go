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
	replace(t, files, routedFile, "  inference:\n", "  inference:\n"+route)
	pushAndApply(t, team, files)
	gatewaysSay(t, team, v1alpha1.ConditionRouteAccepted, v1alpha1.ReasonInputMissing)
	if err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "served all the same", func(w *v1alpha1.Workspace) bool {
		return condition.Is(w, v1alpha1.ConditionInferenceReady)
	}); err != nil {
		t.Fatal(err)
	}

	if err := cluster.InstallCRDs(t.Context(), team.Cluster.Config, filepath.Join("..", "rendered", "testdata", "gateway")); err != nil {
		t.Fatal(err)
	}
	gatewaysSay(t, team, v1alpha1.ConditionRouteAccepted, v1alpha1.ReasonWaitingForGateway)
	published := routedTo(t, team, "Service")
	judge(t, team, published)
	ready(t, team, harness.InferenceName)

	picked(t, team, files)

	replace(t, files, routedFile, route, "")
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

const (
	routedFile = "models/phi-4-mini/workspace.yaml"
	route      = "    route: {parentRefs: [{name: public, namespace: gateways}], hostnames: [models.example.com]}\n"
)

// picked has an endpoint picker choose the copies. Until the cluster knows pools the
// route stays with the Service; then it names the pool, whose word counts as well; and
// the pool goes when nobody asks for it.
func picked(t *testing.T, team *harness.Team, files map[string]string) {
	t.Helper()
	const behind = "    route: {parentRefs: [{name: public, namespace: gateways}], hostnames: [models.example.com], inferencePool: {endpointPickerRef: {name: picker}}}\n"
	replace(t, files, routedFile, route, behind)
	push(t, team, files, "models: an endpoint picker")
	gatewaysSay(t, team, v1alpha1.ConditionPoolAccepted, v1alpha1.ReasonInputMissing)
	routedTo(t, team, "Service")
	if err := cluster.InstallCRDs(t.Context(), team.Cluster.Config, filepath.Join("..", "rendered", "testdata", "inference")); err != nil {
		t.Fatal(err)
	}
	gatewaysSay(t, team, v1alpha1.ConditionPoolAccepted, v1alpha1.ReasonWaitingForGateway)
	judge(t, team, routedTo(t, team, "InferencePool"))
	pool := child(t, team, "inference.networking.k8s.io/v1", "InferencePool")
	judge(t, team, pool)
	ready(t, team, harness.InferenceName)

	replace(t, files, routedFile, behind, route)
	push(t, team, files, "models: no endpoint picker")
	if err := harness.Gone(patient(t), team.Stand, pool); err != nil {
		t.Fatal(err)
	}
	judge(t, team, routedTo(t, team, "Service"))
	if err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "ready without a pool", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && condition.Get(w, v1alpha1.ConditionPoolAccepted) == nil
	}); err != nil {
		t.Fatal(err)
	}
}

// child reads an object of the name of the Workspace.
func child(t *testing.T, team *harness.Team, version, kind string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(version)
	o.SetKind(kind)
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: harness.InferenceName}, o); err != nil {
		t.Fatal(err)
	}
	return o
}

// routedTo is the HTTPRoute, which sends requests to a kind of object.
func routedTo(t *testing.T, team *harness.Team, kind string) *unstructured.Unstructured {
	t.Helper()
	o := child(t, team, "gateway.networking.k8s.io/v1", "HTTPRoute")
	rules, _, _ := unstructured.NestedSlice(o.Object, "spec", "rules")
	backends, _, _ := unstructured.NestedSlice(rules[0].(map[string]any), "backendRefs")
	if is := backends[0].(map[string]any)["kind"]; is != kind {
		t.Fatalf("the HTTPRoute sends requests to %v, want %s", is, kind)
	}
	return o
}

// gatewaysSay waits for what the Workspace says of what publishes it, which it is not
// ready for.
func gatewaysSay(t *testing.T, team *harness.Team, kind, reason string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "published, but for: "+reason, func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, kind)
		return c != nil && c.Reason == reason && !isReady(w)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// judge writes what a controller of Gateway API writes.
func judge(t *testing.T, team *harness.Team, route *unstructured.Unstructured) {
	t.Helper()
	said := make([]any, 0, 2)
	for _, kind := range []string{"Accepted", "ResolvedRefs"} {
		said = append(said, map[string]any{
			"type": kind, "status": string(metav1.ConditionTrue), "reason": kind, "message": "", "observedGeneration": route.GetGeneration(), "lastTransitionTime": "2026-11-26T00:00:00Z",
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
