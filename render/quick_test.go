// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render"
)

// TestQuickIsExact: the quick way gives what a run of Kustomize over the generated
// kustomization gives, for every golden
// case, and is taken for all that have one pod a copy.
func TestQuickIsExact(t *testing.T) {
	for name, g := range cases(t) {
		t.Run(name, func(t *testing.T) {
			in := g.input(t)
			if len(in.Assessment.Usable()) == 0 {
				t.Skip("refused: nothing is rendered")
			}
			quick, whole, ok, err := render.BothWays(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				if in.Workspace.Spec.Inference != nil && in.Candidate.CopyNodes > 1 {
					return
				}
				t.Error("there is no quick way for this: every such Workspace costs a run of Kustomize")
				return
			}
			if diff := cmp.Diff(whole, quick); diff != "" {
				t.Errorf("the quick way is not what Kustomize makes (-Kustomize +quick):\n%s", diff)
			}
		})
	}
}

// TestRenderedAgain: what is remembered of a layer is what it was built to, whatever was done to that.
func TestRenderedAgain(t *testing.T) {
	for name, g := range cases(t) {
		t.Run(name, func(t *testing.T) {
			in := g.input(t)
			if len(in.Assessment.Usable()) == 0 {
				t.Skip("refused: nothing is rendered")
			}
			first, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]*unstructured.Unstructured, 0, len(first.Objects()))
			for _, o := range first.Objects() {
				want = append(want, o.DeepCopy())
				o.SetName("somebody-else")
				o.SetLabels(nil)
			}
			again, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, again.Objects()); diff != "" {
				t.Errorf("-first +again:\n%s", diff)
			}
		})
	}
}
