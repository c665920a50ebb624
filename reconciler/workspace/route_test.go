// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAnswerOf: what Gateways say of a route, and what they do not.
func TestAnswerOf(t *testing.T) {
	const taken = `{parentRef: {name: public, namespace: gateways, group: gateway.networking.k8s.io, kind: Gateway}, controllerName: a, conditions: [
		{type: Accepted, status: "True", observedGeneration: 2, reason: Accepted}, {type: ResolvedRefs, status: "True", observedGeneration: 2, reason: ResolvedRefs}]}`
	for name, tc := range map[string]struct {
		reason, parents string
		want, says      string
		of              outlet
	}{
		"Silence":     {"no controller, no such Gateway, or none that looks at this namespace", "", v1alpha1.ReasonWaitingForGateway, "allow routes of namespace models", routes},
		"Taken":       {"it is published", taken, v1alpha1.ReasonSucceeded, "", routes},
		"OfBefore":    {"what was said of the route before its change does not count", strings.ReplaceAll(taken, "observedGeneration: 2", "observedGeneration: 1"), v1alpha1.ReasonWaitingForGateway, "not judged", routes},
		"Refused":     {"the Gateway says why", strings.Replace(taken, `{type: Accepted, status: "True", observedGeneration: 2, reason: Accepted}`, `{type: Accepted, status: "False", observedGeneration: 2, reason: NotAllowedByListeners, message: "no listener allows it"}`, 1), v1alpha1.ReasonRouteNotAccepted, "(NotAllowedByListeners): no listener allows it", routes},
		"Elsewhere":   {"another Gateway's word is not this one's", strings.Replace(taken, "name: public", "name: other", 1), v1alpha1.ReasonWaitingForGateway, "Gateway gateways/public", routes},
		"PoolTaken":   {"a Gateway takes a pool as a whole, and names no listener", taken, v1alpha1.ReasonSucceeded, "takes the InferencePool", inferencePools},
		"PoolUnheard": {"a controller that knows no pools says nothing", "", v1alpha1.ReasonWaitingForGateway, "supports InferencePools and looks at namespace models", inferencePools},
		"PoolRefused": {"there is no such endpoint picker", strings.Replace(taken, `{type: ResolvedRefs, status: "True", observedGeneration: 2, reason: ResolvedRefs}`, `{type: ResolvedRefs, status: "False", observedGeneration: 2, reason: InvalidExtensionRef, message: "no Service chat-epp"}`, 1), v1alpha1.ReasonPoolNotAccepted, "(InvalidExtensionRef): no Service chat-epp", inferencePools},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "chat"}}
			ws.Spec.Inference = &v1alpha1.InferenceSpec{Route: &v1alpha1.Route{ParentRefs: []v1alpha1.RouteParent{{Name: "public", Namespace: "gateways"}}}}
			route := &unstructured.Unstructured{}
			text := strings.ReplaceAll("{status: {parents: ["+tc.parents+"]}}", "\t", "  ")
			if err := yaml.Unmarshal([]byte(text), &route.Object); err != nil {
				t.Fatal(err)
			}
			route.SetGeneration(2)
			got, err := answerOf(ws, tc.of, route)
			if err != nil || got.reason != tc.want || !strings.Contains(got.message, tc.says) {
				t.Errorf("%s: %+v %v", tc.reason, got, err)
			}
		})
	}
}
