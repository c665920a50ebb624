// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// TestDigestStays: what a Workspace of an earlier release asks for has the digest
// that it had. One that changes repeats finished tuning runs and restarts every
// service, so these are never updated: a new field of the spec must be left out
// of its JSON where it is not set, and must have no default in the CRD.
func TestDigestStays(t *testing.T) {
	const head = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: models}\nspec:\n"
	configMaps := map[string]map[string]string{"settings": {"inference_config.yaml": "vllm: {max-num-seqs: 16}\n"}}
	cases := map[string]struct {
		reason, spec, want string
	}{
		"Service": {"the least that one says", `
  resource: {instanceType: Standard_NC24ads_A100_v4}
  inference: {preset: phi-4-mini-instruct}
`, "sha256:33cb969997fd8235cc0b4f2824932dcf54d85f81aedccb494462ca86db050e79"},
		"FullService": {"all that one can say", `
  resource:
    candidates:
    - {instanceType: Standard_NC24ads_A100_v4, priority: Spot, zones: ["1"]}
    - {instanceType: Standard_NC24ads_A100_v4}
    labelSelector: {matchLabels: {team: a}}
  inference:
    preset: phi-4-mini-instruct
    revision: "0123456789012345678901234567890123456789"
    accessSecret: hf
    config: settings
    contextLength: 4096
    replicas: 2
    trustRemoteCode: true
    adapters:
    - {name: a, image: "registry.example.com/team/a@sha256:0123456789012345678901234567890123456789012345678901234567890123", pullSecrets: [p]}
  runtime: {name: vllm, version: 0.26.0}
  budget: {maxUSDPerHour: "99"}
  patches:
  - patch: "{apiVersion: apps/v1, kind: Deployment, metadata: {name: w}, spec: {minReadySeconds: 5}}"
`, "sha256:0032e08dc76ad6e25c912d7774d5a3f525c654196eb9062b6b4e12f08bf5f7dc"},
		"Tuning": {"the least that a run says", `
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/a.parquet"]}
    output: {image: "registry.example.com/team/a:1", pushSecret: registry}
`, "sha256:149952f38f3acf189db81d5ca33a56288e9a704a75f21d86190d1e77c2cd9da8"},
		"TuningPromoted": {"who the adapter is for does not make it another: the digest is that of Tuning", `
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/a.parquet"]}
    output: {image: "registry.example.com/team/a:1", pushSecret: registry}
    promote: {to: phi-3}
`, "sha256:149952f38f3acf189db81d5ca33a56288e9a704a75f21d86190d1e77c2cd9da8"},
		"TuningEvaluated": {"what is measured is a part of the run", `
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/a.parquet"]}
    output: {image: "registry.example.com/team/a:1", pushSecret: registry}
    evaluation: {split: 5%, tasks: [{name: gsm8k, metric: exact_match}]}
`, "sha256:16ff2928e4e5afa88feb628b4a25e14242d86c12db366ebcb090d308b5b262a3"},
		"TuningJudged": {"what is demanded of it is none: the digest is that of TuningEvaluated", `
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/a.parquet"]}
    output: {image: "registry.example.com/team/a:1", pushSecret: registry}
    evaluation: {split: 5%, maxLoss: "1.2", minImprovement: 10%, tasks: [{name: gsm8k, metric: exact_match, minimum: "0.4", maxRegression: "0.02"}]}
`, "sha256:16ff2928e4e5afa88feb628b4a25e14242d86c12db366ebcb090d308b5b262a3"},
		"TuningOfVolumes": {"a run from and to volumes", `
  resource: {nodePool: shared}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: lora
    input: {claim: data}
    output: {claim: out}
`, "sha256:eb48bbbeebc716148fa4d8cced14955edf2d7453c57c5d9728bf948efe2422a9"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			decoded, findings := repolayout.Decode([]byte(head+c.spec[1:]), nil)
			if decoded.Workspace == nil {
				t.Fatalf("not decoded: %v", findings)
			}
			if got := check.Digest(decoded.Workspace, configMaps); got != c.want {
				t.Errorf("%s has the digest %s, and was released with %s", c.reason, got, c.want)
			}
		})
	}
}
