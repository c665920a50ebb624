// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"bytes"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestShapeStays: how pods lie on nodes is an estimate's, which a later release
// may correct; what runs stays as it is until somebody asks for other nodes.
func TestShapeStays(t *testing.T) {
	in := render.Input{Workspace: workspace(t, service), Options: options}
	facts := facts("vllm: {}")
	assess(t, &in, facts)
	out, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	earlier := out.Resolved
	earlier.GPUsPerPod++
	facts.Resolved = &earlier
	assess(t, &in, facts)
	if got := in.Candidate.PodGPUs; got != int(earlier.GPUsPerPod) {
		t.Errorf("a pod takes %d GPUs, and was rendered with %d before", got, earlier.GPUsPerPod)
	}
	again, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if again.Resolved != earlier {
		t.Errorf("resolved %+v, want it kept: %+v", again.Resolved, earlier)
	}
	in.Workspace.Spec.Resource.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}
	assess(t, &in, facts)
	if got := in.Candidate.PodGPUs; got == int(earlier.GPUsPerPod) {
		t.Error("other nodes are asked for, and the old estimate is used")
	}
}

// TestPodsFrom: what the pods are rendered from tells everything that reaches
// them, and nothing that does not.
func TestPodsFrom(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*render.Input)
		same   bool
	}{
		"MoreReplicas":  {"pods are added beside those that run", func(in *render.Input) { in.Workspace.Spec.Inference.Replicas = ptr.To[int32](2) }, true},
		"OtherBudget":   {"a limit is no part of a pod", func(in *render.Input) { in.Workspace.Spec.Budget = &v1alpha1.Budget{MaxUSDPerHour: "99"} }, true},
		"OtherSecret":   {"the pods read their token from there", func(in *render.Input) { in.Workspace.Spec.Inference.AccessSecret = "other" }, false},
		"RotatedSecret": {"what runs is what the inputs say", func(in *render.Input) { in.Versions = map[string]string{"Secret/hf": "2"} }, false},
		"OtherLabels": {"they select the nodes", func(in *render.Input) {
			in.Workspace.Spec.Resource.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}
		}, false},
		"OtherProvider": {"nodes that exist are selected in another way", func(in *render.Input) { in.Options.Provider = v1alpha1.ProviderExisting }, false},
		"OtherMirror": {"the image is pulled from there", func(in *render.Input) {
			in.Workspace.Spec.Runtime = &v1alpha1.RuntimeSpec{Mirror: "mirror.example.com"}
		}, false},
		"LongerContext": {"it is an argument", func(in *render.Input) { in.Workspace.Spec.Inference.ContextLength = 2048 }, false},
	}
	pods := func(change func(*render.Input)) string {
		in := render.Input{Workspace: workspace(t, service), Options: options}
		change(&in)
		assess(t, &in, facts("vllm: {}"))
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Pods
	}
	before := pods(func(*render.Input) {})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if same := pods(c.change) == before; same != c.same {
				t.Errorf("%s: same %t, want %t", c.reason, same, c.same)
			}
		})
	}
}

// TestCommitStays: which commit was applied is no part of a run, so that a commit that
// changes none of its inputs renders the same bytes.
func TestCommitStays(t *testing.T) {
	var was []byte
	for _, revision := range []string{"main@sha1:0123", "main@sha1:4567"} {
		in := render.Input{Workspace: workspace(t, run), Options: options}
		in.Workspace.Annotations = map[string]string{repolayout.AnnotationRevision: revision}
		assess(t, &in, facts(""))
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		is, err := out.Workload.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if was != nil && !bytes.Equal(was, is) {
			t.Errorf("two commits render two Jobs:\n%s\n%s", was, is)
		}
		was = is
	}
}
