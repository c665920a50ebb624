// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// TestRoute: what no HTTPRoute can be is said before there is one.
func TestRoute(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, route string
		want          string // field and part of the message; "": none
	}{
		"Whole":      {"a Gateway, hostnames and a path", `{parentRefs: [{name: public, namespace: gateways, sectionName: https}], hostnames: [a.example.com, "*.example.com"], path: /chat/v2}`, ""},
		"Least":      {"what its listeners have", `{parentRefs: [{name: public}]}`, ""},
		"NoGateway":  {"nobody would take it", `{hostnames: [a.example.com]}`, "spec.inference.route.parentRefs: name the Gateway"},
		"NoName":     {"which Gateway is nobody's guess", `{parentRefs: [{namespace: a}]}`, "spec.inference.route.parentRefs[0].name: want the name"},
		"Namespace":  {"a typing error", `{parentRefs: [{name: a, namespace: A_b}]}`, "parentRefs[0].namespace: this is no namespace"},
		"URL":        {"a hostname is no address", `{parentRefs: [{name: a}], hostnames: ["https://a.example.com"]}`, "hostnames[0]: want a name such as"},
		"Port":       {"listeners have ports", `{parentRefs: [{name: a}], hostnames: ["a.example.com:443"]}`, "hostnames[0]: want a name such as"},
		"PathEnd":    {"two spellings of one path", `{parentRefs: [{name: a}], path: /chat/}`, "path: want the beginning of a path"},
		"PathBegins": {"a path begins with a slash", `{parentRefs: [{name: a}], path: chat}`, "path: want the beginning of a path"},
		"Picker":     {"the least of a pool is who picks", `{parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: w-epp}}}`, ""},
		"PickerHow":  {"its port, and what without it", `{parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: w-epp, port: 9002, failureMode: FailClose}}}`, ""},
		"NoPicker":   {"Gateways would ask nobody", `{parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {}}}`, "endpointPickerRef.name: name the Service of the endpoint picker"},
		"PickerSelf": {"the model picks nothing", `{parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: w}}}`, "endpointPickerRef.name: this is the Service of the model itself, which picks nothing: name that of the endpoint picker, such as w-epp"},
		"PickerName": {"a Service's name is a label of DNS", `{parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: w.epp}}}`, "endpointPickerRef.name: no Service can have this name"},
		"Query":      {"a query is no path", `{parentRefs: [{name: a}], path: "/a?b"}`, "path: want the beginning of a path"},
	} {
		t.Run(name, func(t *testing.T) {
			d, findings := repolayout.Decode([]byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\n"+
				"spec:\n  resource: {instanceType: A}\n  inference:\n    preset: phi-4\n    route: "+tc.route+"\n"), nil)
			found := findings
			if d.Workspace != nil {
				found = repolayout.ValidateWorkspace(d.Workspace, nil)
			}
			if tc.want == "" {
				if len(found) > 0 {
					t.Errorf("%s: %v", tc.reason, found)
				}
				return
			}
			if len(found) != 1 || found[0].Code != "RouteInvalid" || !strings.Contains(found[0].Message, tc.want) {
				t.Errorf("%s: %v, want %q", tc.reason, found, tc.want)
			}
		})
	}
}
