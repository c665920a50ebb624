// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestDriverSeen: a service takes the image for the driver that Git says when its pool has found
// the nodes to have it, and keeps the one that runs until then.
func TestDriverSeen(t *testing.T) {
	const instance = "Standard_NC24ads_A100_v4"
	for name, tc := range map[string]struct {
		reason string
		pool   string // what the pool says the driver is
		behind int64  // generations that the pool was not judged at
		ready  metav1.ConditionStatus
		want   string // the CUDA of the image
	}{
		"Found":    {"Its nodes have it.", "580", 0, metav1.ConditionTrue, "13.0"},
		"NotAsked": {"It is judged by what Git said before.", "570", 0, metav1.ConditionTrue, "12.9"},
		"NotYet":   {"It was asked, and has not answered.", "580", 1, metav1.ConditionTrue, "12.9"},
		"Older":    {"Its nodes have an older one.", "580", 0, metav1.ConditionFalse, "12.9"},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Name: "a", Namespace: "n", UID: "u"}}
			ws.Spec.Resource = v1alpha1.ResourceSpec{
				Provider: v1alpha1.ProviderExisting, InstanceType: instance, Driver: "570",
				LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "7"}},
			}
			ws.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}}
			r := New(Deps{Render: testOptions()})
			p := &pass{ws: ws}
			size := func() string {
				if err := r.size(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				if err := r.render(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				runs, _ := runtimes.Image(ws.Status.Resolved.Image)
				return runs.CUDA
			}
			if got := size(); got != "12.9" {
				t.Fatalf("at first it is CUDA %s", got)
			}
			ws.Spec.Resource.Driver = "580"
			p.pool = &v1alpha1.GPUNodePool{}
			p.pool.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(ws, v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind))}
			p.pool.Generation, p.pool.Status.ObservedGeneration = 2, 2-tc.behind
			p.pool.Spec.Provider, p.pool.Spec.Driver = v1alpha1.ProviderExisting, tc.pool
			p.pool.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: instance, Priority: v1alpha1.OnDemand}
			p.pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: tc.ready}}
			if got := size(); got != tc.want {
				t.Errorf("%s: CUDA %s, want %s", tc.reason, got, tc.want)
			}
			if again := size(); again != tc.want {
				t.Errorf("%s: then CUDA %s", tc.reason, again)
			}
		})
	}
}
