// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"slices"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestClaimsOf: a claim wakes each Workspace whose pods mount it.
func TestClaimsOf(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		spec   v1alpha1.WorkspaceSpec
		want   []string
	}{
		"Cache":    {"downloads are kept on it", v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Claim: "a"}}}, []string{"a"}},
		"Own":      {"a volume of each pod is no claim of the user's", v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Cache: &v1alpha1.WeightCache{Size: "1Gi"}}}, nil},
		"Weights":  {"the model is on it", v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Weights: &v1alpha1.Weights{Claim: "a"}}}, []string{"a"}},
		"Adapters": {"each once", v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Claim: "a"}, {Image: "i"}, {Claim: "a"}}}}, []string{"a"}},
		"Tuning":   {"data and adapter", v1alpha1.WorkspaceSpec{Tuning: &v1alpha1.TuningSpec{Input: v1alpha1.DataSource{Claim: "a"}, Output: v1alpha1.DataDestination{Claim: "b"}}}, []string{"a", "b"}},
		"Template": {
			"a pod of the user's own",
			v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Template: &runtime.RawExtension{Raw: []byte(`{"spec":{"volumes":[{"name":"v","persistentVolumeClaim":{"claimName":"a"}}]}}`)}}},
			[]string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := claimsOf(&tc.spec)
			slices.Sort(got)
			if !slices.Equal(got, tc.want) {
				t.Errorf("%s: got %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}
