// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestProviderChanged: where nodes come from is what the Workspace, its RepoSync or the
// controller says.
func TestProviderChanged(t *testing.T) {
	for name, c := range map[string]effectCase{
		"ProviderByDefault": {
			reason: "What the controller's provider was is said, and why the pods go.",
			base:   files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    labelSelector: {matchLabels: {gpu: a100}}")},
			head:   files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    labelSelector: {matchLabels: {gpu: a100}}")},
			sync: func(s *v1alpha1.RepoSync) {
				s.Spec.Defaults = &v1alpha1.SyncDefaults{Provider: v1alpha1.ProviderExisting}
			},
			effects: []string{"a: restarted+"},
			words:   []string{"a: provider aks → existing"},
			codes:   []string{"ProviderKept"},
			line:    "±$0/month",
			says:    []string{"a: requests fail until the model is loaded again; the image becomes docker.io/vllm/vllm-openai:v0.26.0-cu129-ubuntu2404, where it was docker.io/vllm/vllm-openai:v0.26.0"},
		},
		"ProviderWrittenDown": {
			reason:  "The same provider, said by somebody else.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    provider: aks")},
			effects: []string{"a: none"},
			words:   []string{"a: provider aks is said in Git"},
		},
		"ProviderKept": {
			reason:  "Another provider moves no node that is there, and so no pod.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    provider: existing\n    labelSelector: {matchLabels: {gpu: a100}}")},
			effects: []string{"a: restarted+"},
			codes:   []string{"ImmutableChanged", "ProviderKept"},
		},
		"ProviderOfTheNext": {
			reason:  "What is suspended has no nodes: the new provider makes them.",
			base:    files{"a.yaml": service("a") + "  suspend: true\n"},
			head:    files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    provider: karpenter")},
			effects: []string{"a: starts"},
		},
		"ProviderAlone": {
			reason:  "The same pods on the same nodes.",
			base:    files{"a.yaml": service("a")},
			head:    files{"a.yaml": service("a", "_A100_v4", "_A100_v4\n    provider: karpenter")},
			effects: []string{"a: none"},
			codes:   []string{"ProviderKept"},
		},
	} {
		t.Run(name, c.check)
	}
}
