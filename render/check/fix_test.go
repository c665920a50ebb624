// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// words is a position that keeps the fix of a word.
type words struct{}

func (words) At(string) (string, int) { return "a.yaml", 1 }

func (words) Fix(_ string, _ int, word v1alpha1.Fix) v1alpha1.Fix { return word }

// TestFix: a size that cannot be had, and a name that was misspelt, have one to write
// in their place, with which the Workspace is accepted.
func TestFix(t *testing.T) {
	provided := func(p v1alpha1.Provider) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) { w.Spec.Resource.Provider = p }
	}
	for name, tc := range map[string]struct {
		reason string
		w      *v1alpha1.Workspace
		want   string // "": none
	}{
		"Retired":         {"the cheapest that the message names", serving("Standard_NC6s_v3"), "Standard_NC4as_T4_v3"},
		"RetiredTuning":   {"of a run too", tuning("Standard_NC6s_v3"), "Standard_NC4as_T4_v3"},
		"Misspelt":        {"the size that was meant, and not the cheapest", serving("Standard_NC24ads_A100v4"), "Standard_NC24ads_A100_v4"},
		"Invented":        {"nothing is near: the cheapest", serving("Huge-Box"), "Standard_NC4as_T4_v3"},
		"OtherCloud":      {"of which cloud a node of Karpenter is, nobody knows", serving("Huge-Box", provided(v1alpha1.ProviderKarpenter)), ""},
		"Existing":        {"nodes that exist are not changed by a line", serving("Standard_NC6s_v3", provided(v1alpha1.ProviderExisting)), ""},
		"TooSmall":        {"a larger one is a decision, as is less context", serving("Standard_NC4as_T4_v3", preset("llama-3.3-70b-instruct")), ""},
		"OverBudget":      {"the Workspace would be refused with it as well", serving("Standard_NC6s_v3", budget("0.1")), ""},
		"Listed":          {"the cheapest is a candidate already", serving("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3"}, v1alpha1.Candidate{InstanceType: "Standard_NC4as_T4_v3"})), ""},
		"Candidate":       {"one of several", serving("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3"}, v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"})), "Standard_NC4as_T4_v3"},
		"Model":           {"a slip in the name of a model", serving("Standard_NC24ads_A100_v4", preset("phi-4-mini-instrct")), "phi-4-mini-instruct"},
		"ModelInCapitals": {"which are no mistake", serving("Standard_NC24ads_A100_v4", preset("Phi-4-mini-instruct")), ""},
		"UnknownModel":    {"a model that nothing is near to", serving("Standard_NC24ads_A100_v4", preset("someone/else")), ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.w, check.Facts{Region: "eastus", Provider: v1alpha1.ProviderAKS}, words{})
			got := ""
			for _, f := range a.Findings {
				if !f.Fix.None() {
					got = f.Fix.New
				}
			}
			if got != tc.want {
				t.Errorf("%s: got %q, want %q: %v", tc.reason, got, tc.want, a.Findings)
			}
		})
	}
}
