// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"fmt"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

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

// TestUsing: what changes wakes those that name it in its namespace, and nobody else of
// those that are looked through for it.
func TestUsing(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	build := kubefake.NewClientBuilder().WithScheme(scheme)
	for index := range namedBy {
		build.WithIndex(&v1alpha1.Workspace{}, index, bucketsOf(index))
	}
	for i := range 2 * buckets { // two of a bucket
		for _, namespace := range []string{"a", "b"} {
			w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprint("w", i)}}
			w.Spec.Inference = &v1alpha1.InferenceSpec{Config: fmt.Sprint("config-", i), ModelRef: v1alpha1.ModelRef{AccessSecret: fmt.Sprint("secret-", i/2)}}
			build.WithObjects(w)
		}
	}
	r := New(Deps{Client: build.Build()})
	for name, c := range map[string]struct {
		reason, index, object string
		want                  []reconcile.Request
	}{
		"ConfigMap": {"one names it", indexConfigMap, "config-7", []reconcile.Request{requestOf("b", "w7")}},
		"Secret":    {"two name it", indexSecret, "secret-3", []reconcile.Request{requestOf("b", "w6"), requestOf("b", "w7")}},
		"Nobody's":  {"nobody names it", indexConfigMap, "settings", nil},
		"OtherKind": {"the name is that of another kind", indexClaim, "config-7", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := r.using(c.index)(t.Context(), &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: c.object}})
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: got %v, want %v", c.reason, got, c.want)
			}
		})
	}
}
