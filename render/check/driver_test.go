// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// driver says which one the nodes that exist have.
func driver(version string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		ofRack(w)
		w.Spec.Resource.Provider, w.Spec.Resource.Driver = v1alpha1.ProviderExisting, version
	}
}

func shares(w *v1alpha1.Workspace) { w.Spec.Resource = v1alpha1.ResourceSpec{NodePool: "rack-7"} }

// poolOf is a shared pool of A100s whose owner says their driver.
func poolOf(provider v1alpha1.Provider, driver string) *v1alpha1.GPUNodePoolSpec {
	p := &v1alpha1.GPUNodePoolSpec{Provider: provider, Driver: driver, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}}
	if provider == v1alpha1.ProviderAKS {
		p.AKS = &v1alpha1.AKSSpec{GPUDriver: v1alpha1.DriverNone}
	}
	return p
}

// TestDriver: what Git says of the driver of own nodes chooses the image, and refuses what
// does not run there, in words that name no cloud.
func TestDriver(t *testing.T) {
	const a100 = "Standard_NC24ads_A100_v4"
	defaulted := func(w *v1alpha1.Workspace) {
		w.Annotations = map[string]string{repolayout.AnnotationDefaulted: repolayout.DefaultedDriver}
	}
	left := func(w *v1alpha1.Workspace) { w.Spec.Resource.Provider = "" }
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		runs      string   // the CUDA of the image, where it is not refused
		on        string   // the driver that the plan shows
		refused   []string // parts of the one error
	}{
		"New":        {"the newest image runs", serving(a100, driver("580")), check.Facts{}, "13.0", "580", nil},
		"Version":    {"the branch decides", serving(a100, driver("580.95.05")), check.Facts{}, "13.0", "580.95.05", nil},
		"Older":      {"the image for older drivers runs", serving(a100, driver("570.211.01")), check.Facts{}, "12.9", "570.211.01", nil},
		"NotSaid":    {"the image that runs on the oldest is taken", serving(a100, driver("")), check.Facts{}, "12.9", "", nil},
		"Likeness":   {"AKS's driver of the size that the nodes are like is not theirs", serving("Standard_NV36ads_A10_v5", driver("580")), check.Facts{}, "13.0", "580", nil},
		"Controller": {"whether they exist, the controller says", serving(a100, driver("580"), left), check.Facts{Provider: v1alpha1.ProviderExisting}, "13.0", "580", nil},
		"Trains":     {"a run is judged likewise", tuning(a100, driver("580")), check.Facts{}, "13.0", "580", nil},
		"Pool":       {"the pool says it for all on it", serving("", shares), check.Facts{Pool: poolOf(v1alpha1.ProviderExisting, "580")}, "13.0", "580", nil},
		"PoolOlder":  {"whatever AKS would install", serving("", shares), check.Facts{Pool: poolOf(v1alpha1.ProviderExisting, "570")}, "12.9", "570", nil},
		"Operator":   {"the GPU operator brings it to nodes that AKS makes", serving("", shares), check.Facts{Pool: poolOf(v1alpha1.ProviderAKS, "580")}, "13.0", "580", nil},
		"DefaultIdle": {
			"what the RepoSync says of nodes that exist is not for those that AKS makes, and no mistake",
			serving(a100, driver("525"), left, defaulted), check.Facts{Provider: v1alpha1.ProviderAKS}, "13.0", "580.159.04", nil,
		},
		"NotTheirs": {
			"what nobody reads is refused", serving(a100, driver("525"), left), check.Facts{Provider: v1alpha1.ProviderAKS}, "", "",
			[]string{"ProviderMismatch spec.resource.driver: is for nodes that exist", "write spec.resource.provider: existing"},
		},
		"Axolotl": {
			"KAITO's trainer, or a newer driver; no other size helps", tuning(a100, driver("570")), check.Facts{}, "", "",
			[]string{
				"DoesNotFit spec.resource.driver: the driver of the nodes is 570; the image axolotl 0.19.0 (CUDA 13.0) needs branch 580 or newer; bring it to 580 or newer and say so in spec.resource.driver; " +
					"KAITO's trainer runs there: spec.runtime.name: kaito; an image of the same version built with CUDA 12 would run there",
			},
		},
		"AxolotlOnT4": {
			"KAITO's trainer has no arithmetic for it", tuning("Standard_NC4as_T4_v3", driver("570")), check.Facts{}, "", "",
			[]string{"say so in spec.resource.driver; an image of the same version built with CUDA 12"},
		},
		"Ancient": {
			"nothing that is known runs there", serving(a100, driver("470.256.02")), check.Facts{}, "", "",
			[]string{"the driver of the nodes is 470.256.02; the image vllm 0.26.0 ", "say so in spec.resource.driver"},
		},
		"Default": {
			"the RepoSync has to say it", tuning(a100, driver("570"), defaulted), check.Facts{}, "", "",
			[]string{"say so in spec.defaults.driver of the RepoSync; "},
		},
		"PoolTooOld": {
			"the pool has to say it", tuning("", shares), check.Facts{Pool: poolOf(v1alpha1.ProviderExisting, "570")}, "", "",
			[]string{"DoesNotFit spec.resource.nodePool: the driver of the nodes is 570", "say so in spec.driver of GPUNodePool rack-7"},
		},
		"Pinned": {
			"a version pins no image", serving(a100, driver("570"), func(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "0.26.0"} }), check.Facts{}, "12.9", "570", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, tc.facts, nil)
			var errors []string
			for _, f := range a.Findings {
				if f.Severity == "error" {
					errors = append(errors, f.Code+" "+f.Message)
				}
			}
			said := strings.Join(errors, "\n")
			if a.Refused() != (tc.refused != nil) || strings.Contains(said, "AKS installs") || strings.Contains(said, "cheapest size") {
				t.Fatalf("%s: refused %t: %s", tc.reason, a.Refused(), said)
			}
			for _, part := range tc.refused {
				if !strings.Contains(said, part) {
					t.Errorf("%s: nothing says %q:\n%s", tc.reason, part, said)
				}
			}
			if usable := a.Usable(); tc.refused == nil && (a.Runtime.CUDA != tc.runs || usable[0].Instance.Driver != tc.on) {
				t.Errorf("%s: CUDA %s on driver %q", tc.reason, a.Runtime.CUDA, usable[0].Instance.Driver)
			}
		})
	}
}

// TestDriverKept: an image stays until Git says another driver, and follows a newer one when the
// nodes were seen to have it.
func TestDriverKept(t *testing.T) {
	const a100 = "Standard_NC24ads_A100_v4"
	image := "registry.example.com/vllm@sha256:" + strings.Repeat("0", 64)
	own := func(w *v1alpha1.Workspace) {
		w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "0.26.0", Image: image, CUDA: "12.9"}
	}
	earlier := func(r *v1alpha1.Resolved) {
		r.Version, r.Image = "0.25.0", "docker.io/vllm/vllm-openai@sha256:"+strings.Repeat("1", 64)
	}
	for name, tc := range map[string]struct {
		reason   string
		was, is  *v1alpha1.Workspace
		change   func(*v1alpha1.Resolved) // of what was resolved
		unseen   bool
		moves    bool
		resolved string // the driver that the image is of
	}{
		"Same":       {"nothing is said that was not", serving(a100, driver("570")), serving(a100, driver("570")), nil, false, false, "570"},
		"NeverSaid":  {"an upgrade of Espalier moves nothing", serving(a100, driver("")), serving(a100, driver("")), earlier, true, false, ""},
		"Said":       {"it is followed", serving(a100, driver("")), serving(a100, driver("580")), nil, false, true, "580"},
		"Raised":     {"it is followed", serving(a100, driver("570")), serving(a100, driver("580")), nil, false, true, "580"},
		"Unseen":     {"not onto nodes that are not so", serving(a100, driver("570")), serving(a100, driver("580")), nil, true, false, "570"},
		"SaidUnseen": {"likewise", serving(a100, driver("")), serving(a100, driver("580")), nil, true, false, ""},
		"Lowered":    {"the image would not run there", serving(a100, driver("580")), serving(a100, driver("570")), nil, true, true, "570"},
		"Unsaid":     {"nobody vouches for it any more", serving(a100, driver("580")), serving(a100, driver("")), nil, true, true, ""},
		"SameBranch": {"the images run on a branch", serving(a100, driver("580")), serving(a100, driver("580.95.05")), earlier, false, false, "580.95.05"},
		"OwnImage":   {"it was chosen by nobody here", serving(a100, driver("570"), own), serving(a100, driver("580"), own), nil, false, false, "580"},
		"Forgotten":  {"of a version that is in no catalogue any more there is no other image", serving(a100, driver("570")), serving(a100, driver("580")), earlier, false, true, "580"},
		"Bought":     {"a cloud's driver is nothing that Git says", serving(a100, driver("570")), serving(a100), nil, false, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			kept := check.Workspace(tc.was, check.Facts{}, nil).Resolved
			if tc.change != nil {
				tc.change(&kept)
			}
			a := check.Workspace(tc.is, check.Facts{Resolved: &kept, DriverUnseen: tc.unseen}, nil)
			if a.Refused() || (a.Resolved.Image != kept.Image) != tc.moves || a.Resolved.Driver != tc.resolved {
				t.Errorf("%s: refused %t, %s → %s, for driver %q", tc.reason, a.Refused(), kept.Image, a.Resolved.Image, a.Resolved.Driver)
			}
			again := check.Workspace(tc.is, check.Facts{Resolved: &a.Resolved, DriverUnseen: tc.unseen}, nil)
			if again.Resolved != a.Resolved {
				t.Errorf("%s: it resolves to %+v, then to %+v", tc.reason, a.Resolved, again.Resolved)
			}
		})
	}
	if before, after := check.ResourceDigest(serving(a100, driver("")).Spec.Resource), check.ResourceDigest(serving(a100, driver("580")).Spec.Resource); before != after {
		t.Error("what is said of the driver asks for other nodes")
	}
}

// TestDriverOfEvery: of several sizes that own nodes are like each has the driver that is said,
// and a refusal is said once.
func TestDriverOfEvery(t *testing.T) {
	w := tuning("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"}, v1alpha1.Candidate{InstanceType: "Standard_NC40ads_H100_v5"}), driver("570"))
	a := check.Workspace(w, check.Facts{}, nil)
	said := slices.DeleteFunc(a.Findings, func(f v1alpha1.Finding) bool { return f.Code != check.DoesNotFit })
	if len(said) != 1 {
		t.Errorf("%d refusals: %+v", len(said), said)
	}
}
