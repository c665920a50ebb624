// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"bytes"
	"cmp"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
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

// TestPodsFromDriver: writing down which driver nodes have moves no pod, but where another image
// is chosen by it.
func TestPodsFromDriver(t *testing.T) {
	in := cases(t)["inference-existing-driver"].input(t)
	pods := func(driver string) string {
		in.Workspace.Spec.Resource.Driver = driver
		assess(t, &in, check.Facts{})
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		return out.Pods + out.Digest
	}
	for name, tc := range map[string]struct {
		reason, was, is string
		same            bool
	}{
		"SameBranch": {"the images run on a branch", "580", "580.95.05", true},
		"Unneeded":   {"the image for the oldest runs there", "", "570", true},
		"OtherImage": {"the one for newer drivers does not", "580", "570", false},
	} {
		t.Run(name, func(t *testing.T) {
			if same := pods(tc.was) == pods(tc.is); same != tc.same {
				t.Errorf("%s: same %t, want %t", tc.reason, same, tc.same)
			}
		})
	}
}

// TestPodsFromPool: what a shared pool says of the pods is told too, and of a pool that says
// nothing of them the rest is the digest that it was.
func TestPodsFromPool(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		golden   string
		change   func(*v1alpha1.GPUNodePoolSpec)
		same     bool
		released string // the digest before the pool's part was told: never updated
	}{
		"OtherSlices": {"the limit of the container is another resource", "inference-shared-slices",
			func(p *v1alpha1.GPUNodePoolSpec) { p.Existing.MIG = "3g.47gb" }, false,
			"sha256:4de10f9c3fa66d084852d6e6015691aa9b3668f6e3f7b0911377d5402bfde7f2"},
		"UnusableCandidate": {"pods keep off its nodes", "inference-filled-pool",
			func(p *v1alpha1.GPUNodePoolSpec) {
				p.Candidates = append(p.Candidates, v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3"})
			}, false,
			"sha256:bd04557d471b56d887108fbfc27ae3528c7c54c9cb35614c585c0ab2cee2f21f"},
		"MoreNodes": {"how many there may be is not the pods'", "inference-filled-pool",
			func(p *v1alpha1.GPUNodePoolSpec) { p.Karpenter.MaxNodes++ }, true,
			"sha256:bd04557d471b56d887108fbfc27ae3528c7c54c9cb35614c585c0ab2cee2f21f"},
		"WholeGPUs": {"a pool that says nothing of the pods has the digest that it had", "inference-shared-pool",
			func(p *v1alpha1.GPUNodePoolSpec) { p.Replicas = ptr.To[int32](9) }, true,
			"sha256:f2f2dfde6a6e33fc4f1b18fcaa3191c8641bb41b9dcdd0a3845fd1f4e8408bc8"},
	} {
		t.Run(name, func(t *testing.T) {
			in := cases(t)[tc.golden].input(t)
			first, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			pool := in.Assessment.Pool.DeepCopy()
			tc.change(pool)
			assess(t, &in, check.Facts{Pool: pool, Region: "eastus"})
			second, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			if same := first.Pods == second.Pods; same != tc.same {
				t.Errorf("%s: same %t, want %t", tc.reason, same, tc.same)
			}
			if untold := cmp.Or(first.PodsUntold, first.Pods); untold != tc.released {
				t.Errorf("%s: released with %s, and is found by %s", tc.reason, tc.released, untold)
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
