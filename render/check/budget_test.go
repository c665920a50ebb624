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

// TestDefaultBudgetOfNodesThatExist: whoever is refused for a default reads where it
// stands, and advice that an author can follow.
func TestDefaultBudgetOfNodesThatExist(t *testing.T) {
	defaulted := func(w *v1alpha1.Workspace) {
		w.Annotations = map[string]string{repolayout.AnnotationDefaulted: repolayout.DefaultedMaxUSD}
	}
	shared := &v1alpha1.GPUNodePoolSpec{Provider: v1alpha1.ProviderExisting, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}}
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		says      string
	}{
		"Controller": {
			"only the controller's default says that the nodes exist",
			tuning("Standard_NC24ads_A100_v4", inAll("40"), defaulted), check.Facts{Region: "eastus", Provider: v1alpha1.ProviderExisting},
			"say spec.resource.provider: existing here, or remove spec.defaults.budget.maxUSD of the RepoSync",
		},
		"SharedPool": {
			"a shared pool says its provider itself",
			tuning("", sharing("pool"), inAll("40"), defaulted), check.Facts{Region: "eastus", Pool: shared},
			"remove spec.defaults.budget.maxUSD of the RepoSync, and limit",
		},
		"Own": {
			"what the Workspace says is its author's to remove",
			tuning("", sharing("pool"), inAll("40")), check.Facts{Region: "eastus", Pool: shared},
			"remove it, and limit the run by spec.tuning.timeout",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := check.Workspace(tc.workspace, tc.facts, nil).Findings
			if !slices.ContainsFunc(got, func(f v1alpha1.Finding) bool {
				return f.Code == check.PriceUnknown && strings.Contains(f.Message, tc.says)
			}) {
				t.Errorf("%s: got %+v", tc.reason, got)
			}
		})
	}
}
