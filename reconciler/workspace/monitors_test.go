// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMonitorsGiveWay: a monitor of an earlier release goes when the one in its place is
// there, and not before: without either, KEDA would see a service that nobody asks.
func TestMonitorsGiveWay(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		on     bool     // --service-monitors
		there  []string // kind/name, owned by the Workspace of that name
		stays  []string
		left   int
	}{
		"NotYet":   {"A pass may come late, or lack the right to make it.", true, []string{"PodMonitor/a"}, []string{"PodMonitor/a"}, 1},
		"Replaced": {"Both would count twice.", true, []string{"PodMonitor/a", "ServiceMonitor/a"}, []string{"ServiceMonitor/a"}, 0},
		"Each":     {"One service does not speak for another.", true, []string{"PodMonitor/a", "PodMonitor/b", "ServiceMonitor/b"}, []string{"PodMonitor/a", "ServiceMonitor/b"}, 1},
		"Off":      {"Nobody asks for monitors any more.", false, []string{"PodMonitor/a", "ServiceMonitor/b"}, nil, 0},
		"None":     {"There is nothing to do.", true, []string{"ServiceMonitor/a"}, []string{"ServiceMonitor/a"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			scheme := runtime.NewScheme()
			var objects []client.Object
			for _, kind := range []string{formerMonitors, render.KindServiceMonitor} {
				scheme.AddKnownTypeWithName(monitorKind(kind), &unstructured.Unstructured{})
				scheme.AddKnownTypeWithName(monitorKind(kind+"List"), &unstructured.UnstructuredList{})
			}
			for _, id := range c.there {
				objects = append(objects, monitorFor(id))
			}
			kube := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
			r := New(Deps{Client: kube, Reader: kube, Clock: time.Now, Render: render.Options{ServiceMonitors: c.on}})
			left, err := r.deleteMonitors(t.Context())
			if err != nil || left != c.left {
				t.Errorf("%s\n%d wait, want %d (%v)", c.reason, left, c.left, err)
			}
			var stays []string
			for _, kind := range []string{formerMonitors, render.KindServiceMonitor} {
				list, err := r.monitors(t.Context(), kind)
				if err != nil {
					t.Fatal(err)
				}
				for i := range list {
					stays = append(stays, kind+"/"+list[i].Name)
				}
			}
			if !slices.Equal(stays, c.stays) {
				t.Errorf("%s\n%v stay, want %v", c.reason, stays, c.stays)
			}
		})
	}
}

func monitorFor(id string) client.Object {
	kind, name, _ := strings.Cut(id, "/")
	m := &unstructured.Unstructured{}
	m.SetGroupVersionKind(monitorKind(kind))
	m.SetNamespace("models")
	m.SetName(name)
	m.SetUID(types.UID(id))
	m.SetLabels(map[string]string{repolayout.LabelWorkspace: name, "app.kubernetes.io/managed-by": "espalier"})
	owner := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name)}}
	m.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind))})
	return m
}
