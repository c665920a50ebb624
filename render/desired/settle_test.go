// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestFillIn(t *testing.T) {
	defaults := &v1alpha1.SyncDefaults{Budget: &v1alpha1.Budget{MaxUSDPerHour: "16", MaxUSD: "40"}, RegistryMirror: "mirror.example.com", StorageClass: "zrs", Provider: v1alpha1.ProviderKarpenter, ImageVolumes: v1alpha1.ImageVolumesDisabled}
	hourly := &v1alpha1.Budget{MaxUSDPerHour: "16"} // a service has no end
	said := v1alpha1.WorkspaceSpec{
		Budget: &v1alpha1.Budget{MaxUSDPerHour: "99", MaxUSD: "100"}, Runtime: &v1alpha1.RuntimeSpec{Mirror: "own.example.com"},
		Resource: v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderAKS},
		Tuning:   &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{StorageClass: "own"}},
	}
	onKarpenter := v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderKarpenter}
	for name, c := range map[string]struct {
		reason     string
		spec, want v1alpha1.WorkspaceSpec
		note       string
	}{
		"Open": {
			reason: "what is left open is filled in, and noted",
			want:   v1alpha1.WorkspaceSpec{Budget: hourly, Runtime: &v1alpha1.RuntimeSpec{Mirror: "mirror.example.com"}, Resource: onKarpenter},
			note:   "budget,runtime.mirror,resource.provider",
		},
		"Said": {
			reason: "what the Workspace says counts",
			spec:   said,
			want:   said,
		},
		"Budgets": {
			reason: "each limit by itself: one that is said leaves the other open",
			spec: v1alpha1.WorkspaceSpec{
				Budget: &v1alpha1.Budget{MaxUSDPerHour: "99"}, Runtime: said.Runtime, Resource: said.Resource, Tuning: said.Tuning,
			},
			want: v1alpha1.WorkspaceSpec{
				Budget: &v1alpha1.Budget{MaxUSDPerHour: "99", MaxUSD: "40"}, Runtime: said.Runtime, Resource: said.Resource, Tuning: said.Tuning,
			},
			note: "budget.maxUSD",
		},
		"Exist": {
			reason: "nodes that exist have no price: a limit that nobody can count is not filled in",
			spec:   v1alpha1.WorkspaceSpec{Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting}, Tuning: said.Tuning},
			want:   v1alpha1.WorkspaceSpec{Budget: hourly, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting}, Tuning: said.Tuning},
			note:   "budget",
		},
		"Tunes": {
			reason: "a claim that the Workspace leaves open is of the team's class, whatever else is said of it; a shared pool has its own provider",
			spec: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Tuning: &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{Keep: 3}},
			},
			want: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Tuning: &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{Keep: 3, StorageClass: "zrs"}},
			},
			note: "tuning.checkpoints.storageClass",
		},
		"Keeps": {
			reason: "so is the volume that each pod keeps weights on",
			spec: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Size: "200Gi"}},
			},
			want: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Size: "200Gi", StorageClass: "zrs"}},
			},
			note: "inference.cache.storageClass",
		},
		"KeepsOnClaim": {
			reason: "a claim has a class of its own",
			spec: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Claim: "weights"}},
			},
			want: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Claim: "weights"}},
			},
		},
		"MountsImages": {
			reason: "only a Workspace with an image to mount is told how",
			spec: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Runtime: said.Runtime, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Inference: &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "a", Image: "registry.example.com/a:1"}}},
			},
			want: v1alpha1.WorkspaceSpec{
				Budget: said.Budget, Resource: v1alpha1.ResourceSpec{NodePool: "shared"},
				Runtime:   &v1alpha1.RuntimeSpec{Mirror: said.Runtime.Mirror, ImageVolumes: v1alpha1.ImageVolumesDisabled},
				Inference: &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "a", Image: "registry.example.com/a:1"}}},
			},
			note: "runtime.imageVolumes",
		},
		"Half": {
			reason: "a pinned version says nothing of the registry",
			spec:   v1alpha1.WorkspaceSpec{Budget: &v1alpha1.Budget{}, Runtime: &v1alpha1.RuntimeSpec{Version: "0.26.0"}},
			want:   v1alpha1.WorkspaceSpec{Budget: hourly, Runtime: &v1alpha1.RuntimeSpec{Version: "0.26.0", Mirror: "mirror.example.com"}, Resource: onKarpenter},
			note:   "budget,runtime.mirror,resource.provider",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := (&v1alpha1.Workspace{Spec: c.spec}).DeepCopy()
			desired.FillIn(w, defaults)
			if diff := cmp.Diff(c.want, w.Spec); diff != "" {
				t.Errorf("%s:\n%s", c.reason, diff)
			}
			if got := w.Annotations[repolayout.AnnotationDefaulted]; got != c.note {
				t.Errorf("%s: the note is %q, want %q", c.reason, got, c.note)
			}
			w.Spec.Budget.MaxUSDPerHour = "changed"
			if defaults.Budget.MaxUSDPerHour != "16" {
				t.Fatal("the Workspace shares the budget of the RepoSync")
			}
		})
	}
}

// TestFillInExisting: the defaults agree with each other: where they say that nodes
// exist, they limit no run by what those cost.
func TestFillInExisting(t *testing.T) {
	defaults := &v1alpha1.SyncDefaults{Budget: &v1alpha1.Budget{MaxUSD: "40"}, Provider: v1alpha1.ProviderExisting}
	for name, c := range map[string]struct {
		reason   string
		resource v1alpha1.ResourceSpec
		want     string
	}{
		"Open":   {"The nodes are those that exist.", v1alpha1.ResourceSpec{}, ""},
		"Said":   {"The Workspace buys its own.", v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderAKS}, "40"},
		"Shared": {"A shared pool has a provider of its own.", v1alpha1.ResourceSpec{NodePool: "shared"}, "40"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{Spec: v1alpha1.WorkspaceSpec{Resource: c.resource, Tuning: &v1alpha1.TuningSpec{}}}
			desired.FillIn(w, defaults)
			if got := w.Spec.MaxUSD(); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// TestFillInInstance: nodes that exist are like what the RepoSync says, where a
// Workspace says nothing.
func TestFillInInstance(t *testing.T) {
	defaults := &v1alpha1.SyncDefaults{InstanceType: "Standard_ND96isr_H100_v5"}
	for name, c := range map[string]struct {
		reason   string
		resource v1alpha1.ResourceSpec
		want     string
	}{
		"Existing": {"A Workspace of kaito.sh on nodes that exist names none.", v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting}, "Standard_ND96isr_H100_v5"},
		"Said":     {"What the Workspace says counts.", v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting, InstanceType: "a"}, "a"},
		"Bought":   {"Nobody buys a size that he did not name.", v1alpha1.ResourceSpec{}, ""},
		"Shared":   {"A shared pool has candidates of its own.", v1alpha1.ResourceSpec{NodePool: "shared"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{Spec: v1alpha1.WorkspaceSpec{Resource: c.resource}}
			desired.FillIn(w, defaults)
			if got := w.Spec.Resource.InstanceType; got != c.want || (got != c.resource.InstanceType) != repolayout.Defaulted(w, repolayout.DefaultedInstance) {
				t.Errorf("%s: %q, noted %q", c.reason, got, w.Annotations[repolayout.AnnotationDefaulted])
			}
		})
	}
}

// TestFillInDriver: what the RepoSync says of the driver is for nodes that exist, or may.
func TestFillInDriver(t *testing.T) {
	own := v1alpha1.SyncDefaults{Driver: "580"}
	for name, c := range map[string]struct {
		reason   string
		defaults v1alpha1.SyncDefaults
		resource v1alpha1.ResourceSpec
		want     string
	}{
		"Existing":    {"It is said once for all.", own, v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting}, "580"},
		"ByDefault":   {"The RepoSync says that they exist as well.", v1alpha1.SyncDefaults{Driver: "580", Provider: v1alpha1.ProviderExisting}, v1alpha1.ResourceSpec{}, "580"},
		"Left":        {"The controller says whether they exist.", own, v1alpha1.ResourceSpec{}, "580"},
		"Said":        {"What the Workspace says counts.", own, v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting, Driver: "570"}, "570"},
		"Bought":      {"AKS installs it.", own, v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderAKS}, ""},
		"OtherByBuys": {"Karpenter's nodes come with one.", v1alpha1.SyncDefaults{Driver: "580", Provider: v1alpha1.ProviderKarpenter}, v1alpha1.ResourceSpec{}, ""},
		"Shared":      {"A shared pool says its own.", own, v1alpha1.ResourceSpec{NodePool: "shared"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{Spec: v1alpha1.WorkspaceSpec{Resource: c.resource}}
			desired.FillIn(w, &c.defaults)
			if got := w.Spec.Resource.Driver; got != c.want || (got != c.resource.Driver) != repolayout.Defaulted(w, repolayout.DefaultedDriver) {
				t.Errorf("%s: %q, noted %q", c.reason, got, w.Annotations[repolayout.AnnotationDefaulted])
			}
		})
	}
}
