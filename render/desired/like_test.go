// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
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

// TestNoAccount: who reads a registry, a document of kaito.sh may leave to the controller;
// a name of its own counts.
func TestNoAccount(t *testing.T) {
	mirror := func(more string) desired.Text {
		return desired.Text{YAML: []byte(`{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: a, annotations: {inference.kaito.sh/static-model-mirror: "true", inference.kaito.sh/stream-source-type: byo,
  inference.kaito.sh/stream-datarefs-url: "https://a.api.azureml.ms/models/a/versions/1", inference.kaito.sh/stream-identity-client-id: 01234567-89ab-cdef-0123-456789abcdef` + more + `}},
  resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {rack: "7"}}}, inference: {preset: {name: phi-4}}}`)}
	}
	texts := []desired.Text{mirror("")}
	sync := &v1alpha1.RepoSync{}
	documents, findings := desired.Assemble(sync, texts)
	if len(documents) != 0 || len(findings) != 1 || findings[0].Code != finding.WeightsInvalid || !strings.HasPrefix(findings[0].Message, "metadata.annotations[kaito.sh/streaming-service-account]: ") {
		t.Errorf("nobody names the account: %d documents, %v", len(documents), findings)
	}
	sync.Spec.Defaults = &v1alpha1.SyncDefaults{WeightsServiceAccount: "model-reader"}
	for account, text := range map[string]desired.Text{"model-reader": texts[0], "own": mirror(", kaito.sh/streaming-service-account: own")} {
		documents, findings = desired.Assemble(sync, []desired.Text{text})
		if len(documents) != 1 || len(findings) != 0 {
			t.Fatalf("the RepoSync names it: %d documents, %v", len(documents), findings)
		}
		w := documents[0].Workspace
		if got := w.Spec.Inference.Weights.ServiceAccountName; got != account || repolayout.Defaulted(w, repolayout.DefaultedAccount) != (account == "model-reader") {
			t.Errorf("read as %q, want %q", got, account)
		}
	}
}

// TestNoImage: which image KAITO's engines are in, a RepoSync may say for all that leave
// it open; a version of one's own is another image.
func TestNoImage(t *testing.T) {
	texts := []desired.Text{{YAML: []byte(`{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: a, annotations: {kaito.sh/runtime: transformers}},
  resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {rack: "7"}}}, inference: {preset: {name: phi-4}}}`)}, {YAML: []byte(`{apiVersion: espalier.dev/v1alpha1, kind: Workspace, metadata: {name: b},
  spec: {resource: {instanceType: Standard_NC24ads_A100_v4}, inference: {preset: phi-4}, runtime: {name: kaito}}}`)}}
	sync := &v1alpha1.RepoSync{}
	documents, findings := desired.Assemble(sync, texts)
	if len(documents) != 0 || len(findings) != 2 || findings[0].Code != finding.ImageInvalid {
		t.Errorf("nobody names the image: %d documents, %v", len(documents), findings)
	}
	sync.Spec.Defaults = &v1alpha1.SyncDefaults{RegistryMirror: "mirror.example.com", KaitoImage: &v1alpha1.KaitoImage{
		Image: "registry.example.com/kaito-base@sha256:" + strings.Repeat("0", 64), Version: "0.5.0", CUDA: "12.9",
	}}
	documents, findings = desired.Assemble(sync, texts)
	if len(documents) != 2 || len(findings) != 0 {
		t.Fatalf("the RepoSync names it: %d documents, %v", len(documents), findings)
	}
	for _, d := range documents {
		if r := d.Workspace.Spec.Runtime; r.Image != sync.Spec.Defaults.KaitoImage.Image || r.Version != "0.5.0" || r.Mirror != "" || !repolayout.Defaulted(d.Workspace, repolayout.DefaultedKaito) {
			t.Errorf("%s has %+v", d.ObjectName(), r)
		}
	}
}
