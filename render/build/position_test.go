// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"fmt"
	"testing"

	"github.com/espalier-dev/espalier/render/build"
)

// patched is a base that the patches below change. None is called as what it
// changes: its target says what that is.
const patched = `
-- models/chat/kustomization.yaml --
resources: [workspace.yaml]
-- models/chat/workspace.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: chat
spec:
  resource:
    instanceType: Small
  inference:
    preset: phi-4
`

// TestTargetedPatch: a patch that a target leads to an object is found, whatever
// name it has itself.
func TestTargetedPatch(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, files string
		field         string // ""; spec.resource.instanceType
		want          string
	}{
		"InlineInAComponent": {
			reason: "the sample's components are written so",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
components: [../spot]
-- spot/kustomization.yaml --
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
patches:
- target:
    group: espalier.dev
    kind: Workspace
  patch: |
    apiVersion: espalier.dev/v1alpha1
    kind: Workspace
    metadata:
      name: any
    spec:
      resource:
        instanceType: Large
`,
			want: "spot/kustomization.yaml:14",
		},
		"File": {
			reason: "the same as a file",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
patches:
- path: patches/size.yaml
  target: {kind: Workspace, name: ch.*}
-- root/patches/size.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: any
spec:
  resource:
    instanceType: Large
`,
			want: "root/patches/size.yaml:7",
		},
		"FileForAnother": {
			reason: "a file whose target selects something else is not where it comes from, though it says the same",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat, tune.yaml]
patches:
- path: a.yaml
  target: {kind: Workspace, name: tune}
- path: b.yaml
  target: {kind: Workspace, name: chat}
-- root/a.yaml --
- {op: add, path: /spec, value: {resource: {instanceType: Large}}}
-- root/b.yaml --
- op: replace
  path: /spec/resource/instanceType
  value: Large
-- root/tune.yaml --
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: tune}
`,
			want: "root/b.yaml:3",
		},
		"List": {
			reason: "what is no text and the base does not have is where a patch says it, at its key",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
patches:
- target: {kind: Workspace}
  patch: |
    kind: Workspace
    metadata: {name: any}
    spec:
      resource:
        candidats:
        - instanceType: Large
`,
			field: "spec.resource.candidats",
			want:  "root/kustomization.yaml:9",
		},
		"ListOfOperations": {
			reason: "likewise in an operation, at the value",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
patches:
- path: a.yaml
  target: {kind: Workspace}
-- root/a.yaml --
- op: add
  path: /spec/resource
  value:
    candidats:
    - instanceType: Large
`,
			field: "spec.resource.candidats",
			want:  "root/a.yaml:5",
		},
		"BothHaveIt": {
			reason: "a mapping that a patch adds to stays where it is",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
patches:
- target: {kind: Workspace}
  patch: |
    kind: Workspace
    metadata: {name: any}
    spec:
      resource: {count: 2}
`,
			field: "spec.resource",
			want:  "models/chat/workspace.yaml:6",
		},
		"OtherGroup": {
			reason: "a target of another group selects none of ours",
			files: `
-- root/kustomization.yaml --
resources: [../models/chat]
patches:
- target: {group: kaito.sh, kind: Workspace}
  patch: |
    - {op: add, path: /spec/resource/instanceType, value: Large}
- target: {group: espalier.dev, kind: Workspace}
  patch: |
    - {op: add, path: /spec/resource/instanceType, value: Large}
`,
			want: "root/kustomization.yaml:8",
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, u := range buildTree(t, tree(patched+tc.files), "root", build.Limits{}) {
				for _, f := range u.Findings {
					t.Fatalf("%s: %s (%s)", f.File, f.Message, f.Code)
				}
				for _, o := range u.Objects() {
					if o.String() != "Workspace/chat" {
						continue
					}
					field := "spec.resource.instanceType"
					if tc.field != "" {
						field = tc.field
					}
					file, line := o.At(field)
					if got := fmt.Sprintf("%s:%d", file, line); got != tc.want {
						t.Errorf("%s: found at %s, want %s", tc.reason, got, tc.want)
					}
				}
			}
		})
	}
}
