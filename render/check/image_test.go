// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestOwnImage: an image of the user's own in the place of the pinned one runs on
// the drivers of its CUDA.
func TestOwnImage(t *testing.T) {
	image := "registry.example.com/vllm/vllm-openai@sha256:" + strings.Repeat("0", 64)
	built := func(cuda string) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) {
			w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "0.26.0", Image: image, CUDA: cuda}
		}
	}
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		refused   bool
		says      string
	}{
		"OldDriver":  {"the refusal says what would run there", tuning("Standard_NV36ads_A10_v5"), true, `name it in spec.runtime.image (version "0.19.0", cuda "12.9")`},
		"CUDA12":     {"driver 570 runs CUDA 12", serving("Standard_NV36ads_A10_v5", built("12.9")), false, ""},
		"CUDA13":     {"and not CUDA 13, whoever built it", serving("Standard_NV36ads_A10_v5", built("13.0")), true, "(own, CUDA 13.0) needs branch 580"},
		"NoVersions": {"a version that nothing is written for", serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { built("12.9")(w); w.Spec.Runtime.Version = "0.1.0" }), true, "versions: 0.26.0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, check.Facts{}, nil)
			var said []string
			for _, f := range a.Findings {
				said = append(said, f.Message)
			}
			if a.Refused() != tc.refused || !strings.Contains(strings.Join(said, "\n"), tc.says) {
				t.Fatalf("%s: refused %v, %q", tc.reason, a.Refused(), said)
			}
			if tc.refused {
				return
			}
			if a.Resolved.Image != image {
				t.Errorf("%s: it resolves to %s", tc.reason, a.Resolved.Image)
			}
			kept := a.Resolved
			if again := check.Workspace(tc.workspace, check.Facts{Resolved: &kept}, nil); again.Refused() || again.Resolved.Image != image {
				t.Errorf("what was resolved is refused, or other: %+v", again.Findings)
			}
		})
	}
}

// TestPinnedImage: one image runs on the drivers of all candidates, and what was
// resolved for a Workspace stays.
func TestPinnedImage(t *testing.T) {
	a10, a100 := v1alpha1.Candidate{InstanceType: "Standard_NV36ads_A10_v5"}, v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"}
	pinned := func(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "0.26.0"} }
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		want      string
	}{
		"NewDriver":     {"AKS installs 580 there", serving("", candidates(a100)), "CUDA 13.0"},
		"OldDriver":     {"AKS installs 570 there", serving("", candidates(a10)), "CUDA 12.9"},
		"PinnedVersion": {"a version does not pin one of its images", serving("", candidates(a10), pinned), "CUDA 12.9"},
		"FallsBack":     {"whichever is obtained", serving("", candidates(a100, a10)), "CUDA 12.9"},
		"SizeUnknown":   {"what the catalogue does not know decides nothing", serving("", candidates(v1alpha1.Candidate{InstanceType: "Standard_X"}, a100)), "CUDA 13.0"},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, check.Facts{}, nil)
			if got := "CUDA " + a.Runtime.CUDA; got != tc.want {
				t.Errorf("%s: it takes the image with %s", tc.reason, got)
			}
			kept := a.Resolved
			again := check.Workspace(tc.workspace, check.Facts{Resolved: &kept}, nil)
			if again.Resolved.Image != a.Resolved.Image || again.Runtime.Requires.MinDriver != a.Runtime.Requires.MinDriver {
				t.Errorf("%s: kept, it is %s, which needs driver %d", tc.reason, again.Resolved.Image, again.Runtime.Requires.MinDriver)
			}
		})
	}
}

// TestImageOfOtherNodes: where Git asks for nodes whose driver is too old for the image that runs,
// the cluster takes the one that the plan shows; a catalogue that has learnt better moves nothing.
func TestImageOfOtherNodes(t *testing.T) {
	a10, a100 := v1alpha1.Candidate{InstanceType: "Standard_NV36ads_A10_v5"}, v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"}
	for name, tc := range map[string]struct {
		reason  string
		was, is []v1alpha1.Candidate
		of      []v1alpha1.Candidate // what the image was chosen for, where it was not was
		runs    string
		refused bool
	}{
		"Moved":    {"AKS installs 570 there", []v1alpha1.Candidate{a100}, []v1alpha1.Candidate{a10}, nil, "12.9", false},
		"Fallback": {"one image runs on whichever is obtained", []v1alpha1.Candidate{a100}, []v1alpha1.Candidate{a100, a10}, nil, "12.9", false},
		"Back":     {"what runs anywhere stays", []v1alpha1.Candidate{a10}, []v1alpha1.Candidate{a100}, nil, "12.9", false},
		"Upgrade":  {"Git asks for nothing else", []v1alpha1.Candidate{a10}, []v1alpha1.Candidate{a10}, []v1alpha1.Candidate{a100}, "13.0", true},
	} {
		t.Run(name, func(t *testing.T) {
			of := tc.of
			if of == nil {
				of = tc.was
			}
			kept := check.Workspace(serving("", candidates(of...)), check.Facts{}, nil).Resolved
			kept.Resource = check.ResourceDigest(serving("", candidates(tc.was...)).Spec.Resource)
			a := check.Workspace(serving("", candidates(tc.is...)), check.Facts{Resolved: &kept}, nil)
			if a.Refused() != tc.refused || a.Runtime.CUDA != tc.runs || !tc.refused && len(a.Usable()) != len(tc.is) {
				t.Errorf("%s: refused %t, CUDA %s: %+v", tc.reason, a.Refused(), a.Runtime.CUDA, a.Findings)
			}
		})
	}
}
