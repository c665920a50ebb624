// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestFixes: the line that mends a finding is the one that gave the value, in a base,
// an overlay or a patch; where no line did so by itself there is none.
func TestFixes(t *testing.T) {
	base := strings.ReplaceAll(serving, "NAME", "chat")
	old := strings.ReplaceAll(base, "Standard_NC24ads_A100_v4", "Standard_NC6s_v3")
	for name, c := range map[string]struct {
		reason string
		sync   *v1alpha1.RepoSync
		tree   map[string]string
		want   []string // file: new line
	}{
		"Base": {
			reason: "two overlays of one base need the same",
			tree: map[string]string{
				"kustomization.yaml": "resources: [a, b]\n", "base/kustomization.yaml": "resources: [w.yaml]\n", "base/w.yaml": old,
				"a/kustomization.yaml": "resources: [../base]\nnamePrefix: a-\n", "b/kustomization.yaml": "resources: [../base]\nnamePrefix: b-\n",
			},
			want: []string{"base/w.yaml:     instanceType: Standard_NC4as_T4_v3", "base/w.yaml:     instanceType: Standard_NC4as_T4_v3"},
		},
		"Torn": {
			reason: "two overlays of one base would need other sizes: that is for a person",
			tree: map[string]string{
				"kustomization.yaml": "resources: [a, b]\n", "base/kustomization.yaml": "resources: [w.yaml]\n", "base/w.yaml": old,
				"a/kustomization.yaml": "resources: [../base]\nnamePrefix: a-\n",
				"b/kustomization.yaml": "resources: [../base]\nnamePrefix: b-\npatches:\n- target: {kind: Workspace}\n  patch: |\n    - {op: replace, path: /spec/inference/preset, value: llama-3.3-70b-instruct}\n",
			},
		},
		"Patch": {
			reason: "the value is the patch's, and the base has another",
			tree: map[string]string{
				"kustomization.yaml": "resources: [w.yaml]\npatches:\n- path: size.yaml\n", "w.yaml": base,
				"size.yaml": "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: chat\nspec:\n  resource:\n    instanceType: Standard_NC6s_v3\n",
			},
			want: []string{"size.yaml:     instanceType: Standard_NC4as_T4_v3"},
		},
		"Operation": {
			reason: "a patch within the kustomization",
			tree: map[string]string{
				"kustomization.yaml": "resources: [w.yaml]\npatches:\n- target: {kind: Workspace}\n  patch: |\n    - op: replace\n      path: /spec/resource/instanceType\n      value: Standard_NC6s_v3\n",
				"w.yaml":             base,
			},
			want: []string{"kustomization.yaml:       value: Standard_NC4as_T4_v3"},
		},
		"FieldInAPatch": {
			reason: "a slip in a patch is mended there",
			tree: map[string]string{
				"kustomization.yaml": "resources: [w.yaml]\npatches:\n- path: size.yaml\n", "w.yaml": base,
				"size.yaml": "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: chat\nspec:\n  resource:\n    cuont: 2\n",
			},
			want: []string{"size.yaml:     count: 2"},
		},
		"Replacement": {
			reason: "the line that is found does not say it",
			tree: map[string]string{
				"kustomization.yaml": "resources: [w.yaml, c.yaml]\nreplacements:\n- source: {kind: ConfigMap, fieldPath: data.size}\n  targets:\n  - select: {kind: Workspace}\n    fieldPaths: [spec.resource.instanceType]\n",
				"w.yaml":             base, "c.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sizes}\ndata: {size: Standard_NC6s_v3}\n",
			},
		},
		"Variable": {
			reason: "it is the RepoSync's, which no line here is of",
			sync: team(func(s *v1alpha1.RepoSync) {
				s.Spec.PostBuild = &v1alpha1.PostBuild{Substitute: map[string]v1alpha1.VariableValue{"SIZE": "Standard_NC6s_v3"}}
			}),
			tree: map[string]string{"kustomization.yaml": "resources: [w.yaml]\n", "w.yaml": strings.ReplaceAll(base, "Standard_NC24ads_A100_v4", "${SIZE}")},
		},
		"Substituted": {
			reason: "likewise a substitution",
			sync: team(func(s *v1alpha1.RepoSync) {
				s.Spec.Substitutions = map[string]string{"Standard_NC24ads_A100_v4": "Standard_NC6s_v3"}
			}),
			tree: map[string]string{"kustomization.yaml": "resources: [w.yaml]\n", "w.yaml": base},
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			for name, text := range c.tree {
				files[name] = file(text)
			}
			var got []string
			all := state(t, newJudge(), c.sync, files).All()
			for _, f := range all {
				if !f.Fix.None() {
					got = append(got, f.File+": "+f.Fix.New)
				}
			}
			if !finding.Refused(all) {
				t.Errorf("%s: nothing is refused: %v", c.reason, all)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s\n%v", c.reason, diff, all)
			}
		})
	}
}
