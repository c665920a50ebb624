// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"testing"

	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLikeNothing: what the API server would not take is left out with a finding, and
// keeps nothing else from being applied.
func TestLikeNothing(t *testing.T) {
	texts := []desired.Text{{YAML: []byte(`{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: a},
  resource: {labelSelector: {matchLabels: {rack: "7"}}}, inference: {preset: {name: phi-4}}}`)}, {YAML: []byte(`{apiVersion: espalier.dev/v1alpha1, kind: Workspace, metadata: {name: b},
  spec: {resource: {instanceType: Standard_NC24ads_A100_v4}, inference: {preset: phi-4}}}`)}}
	sync := &v1alpha1.RepoSync{}
	documents, findings := desired.Assemble(sync, texts)
	if len(documents) != 1 || len(findings) != 1 || findings[0].Code != finding.ResourceMissing {
		t.Errorf("nothing says what the nodes are like: %d documents, %v", len(documents), findings)
	}
	sync.Spec.Defaults = &v1alpha1.SyncDefaults{InstanceType: "Standard_NC24ads_A100_v4"}
	documents, findings = desired.Assemble(sync, texts)
	if len(documents) != 2 || len(findings) != 0 {
		t.Errorf("the RepoSync says it: %d documents, %v", len(documents), findings)
	}
}
