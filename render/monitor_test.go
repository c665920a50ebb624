// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/render"
)

// TestMonitoredService: a ServiceMonitor asks what is behind every Service that it
// selects, so that two of them would count each pod twice.
func TestMonitoredService(t *testing.T) {
	for name, g := range cases(t) {
		if !strings.Contains(name, "monitored") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			in := g.input(t)
			out, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			if found := monitoredBy(t, out); len(found) != 1 || found[0] != in.Workspace.Name {
				t.Errorf("the monitor asks Services %q, want that of the Workspace alone", found)
			}
			pods := out.Pods
			in.Options.ServiceMonitors = false
			if out, err = render.Render(in); err != nil {
				t.Fatal(err)
			}
			if out.Pods != pods {
				t.Error("who is asked for metrics moves pods")
			}
		})
	}
}

// monitoredBy names the Services that the one ServiceMonitor selects, and that have the
// port that it asks.
func monitoredBy(t *testing.T, out render.Output) []string {
	t.Helper()
	var monitor *unstructured.Unstructured
	for _, o := range out.Support {
		if o.GetKind() == render.KindServiceMonitor {
			monitor = o
		}
	}
	if monitor == nil {
		t.Fatal("there is no ServiceMonitor")
	}
	selector, _, _ := unstructured.NestedStringMap(monitor.Object, "spec", "selector", "matchLabels")
	endpoints, _, _ := unstructured.NestedSlice(monitor.Object, "spec", "endpoints")
	port, _, _ := unstructured.NestedString(endpoints[0].(map[string]any), "port")
	var found []string
	for _, o := range out.Support {
		if o.GetKind() != "Service" || !labels.SelectorFromSet(selector).Matches(labels.Set(o.GetLabels())) {
			continue
		}
		var service corev1.Service
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &service); err != nil {
			t.Fatal(err)
		}
		for _, p := range service.Spec.Ports {
			if p.Name == port {
				found = append(found, service.Name)
			}
		}
	}
	return found
}
