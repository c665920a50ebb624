// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

var scaling = strings.Replace(service, "accessSecret: s}", "accessSecret: s, autoscale: {minReplicas: 2, maxReplicas: 5}}", 1)

// TestNodesFollow: the pool has the nodes of the copies that are asked for, within
// the bounds, and nothing else of the service changes with their number.
func TestNodesFollow(t *testing.T) {
	var template any
	for name, tc := range map[string]struct {
		reason string
		copies *int32
		nodes  int64
	}{
		"NotYet":  {reason: "the fewest to begin with", nodes: 2},
		"Between": {reason: "as many as are asked for", copies: new(int32(4)), nodes: 4},
		"Few":     {reason: "never fewer: somebody has scaled by hand", copies: new(int32(0)), nodes: 2},
		"Many":    {reason: "never more than the budget was held against", copies: new(int32(9)), nodes: 5},
	} {
		t.Run(name, func(t *testing.T) {
			out := autoscaled(t, tc.copies)
			nodes, _, _ := unstructured.NestedInt64(out.Pool.Object, "spec", "replicas")
			copies, _, _ := unstructured.NestedInt64(out.Workload.Object, "spec", "replicas")
			if nodes != tc.nodes || copies != tc.nodes {
				t.Errorf("%s: %d nodes for %d copies, want %d", tc.reason, nodes, copies, tc.nodes)
			}
			now, _, _ := unstructured.NestedMap(out.Workload.Object, "spec", "template")
			if template != nil && text(t, render.Output{Workload: &unstructured.Unstructured{Object: now}}) != template {
				t.Error("another number of copies is another pod template")
			}
			template = text(t, render.Output{Workload: &unstructured.Unstructured{Object: now}})
		})
	}
}

func autoscaled(t *testing.T, copies *int32) render.Output {
	t.Helper()
	in := render.Input{Workspace: workspace(t, scaling), Options: options, Copies: copies}
	assess(t, &in, facts("vllm: {}"))
	out, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSuspendedScaler: while suspended nothing scales, and the number of copies is
// Espalier's.
func TestSuspendedScaler(t *testing.T) {
	in := render.Input{Workspace: workspace(t, scaling), Options: options}
	in.Workspace.Spec.Suspend = true
	assess(t, &in, facts("vllm: {}"))
	out, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	copies, _, _ := unstructured.NestedInt64(out.Workload.Object, "spec", "replicas")
	if _, given := out.Workload.GetAnnotations()[repolayout.AnnotationAutoscaler]; out.Autoscaler != nil || given || copies != 0 {
		t.Errorf("suspended, it is rendered with %d copies and autoscaler %v", copies, out.Autoscaler)
	}
}

// TestScalerPatches: what is sized and priced is no patch's to change; the pace is.
func TestScalerPatches(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		patch  v1alpha1.Patch
		want   string // part of the message; "" none
	}{
		"Pace":   {"how fast it scales costs nothing more", smp(render.KindHPA, "spec: {behavior: {scaleUp: {stabilizationWindowSeconds: 0}}}\n"), ""},
		"Most":   {"the most is what the budget was held against", json6902(render.KindHPA, "- {op: replace, path: /spec/maxReplicas, value: 50}"), "spec.maxReplicas"},
		"Target": {"another's copies", json6902(render.KindHPA, "- {op: replace, path: /spec/scaleTargetRef/name, value: other}"), "spec.scaleTargetRef"},
		"Given":  {"who was given the copies", json6902("Deployment", "- {op: remove, path: /metadata/annotations/espalier.dev~1autoscaler}"), "annotations"},
	} {
		t.Run(name, func(t *testing.T) {
			in := render.Input{Workspace: workspace(t, scaling), Options: options}
			in.Workspace.Spec.Patches = []v1alpha1.Patch{tc.patch}
			assess(t, &in, facts("vllm: {}"))
			_, err := render.Render(in)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}
