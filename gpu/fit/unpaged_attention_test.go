// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// TestUnpagedAttention: what attention keeps for each pair of tokens of a prompt grows
// with its square, and bounds a request long before the cache does.
func TestUnpagedAttention(t *testing.T) {
	for name, c := range map[string]struct {
		reason, model, instance string
		least, most             int64
	}{
		"Sinks": {
			reason: "transformers computes attention with sinks eagerly: 64 heads keep three matrices of all pairs",
			model:  "gpt-oss-20b", instance: "Standard_NC24ads_A100_v4", least: 2048, most: 16_000,
		},
		"Window": {
			reason: "a window makes a mask of all pairs, and another in the type of the model",
			model:  "gemma-3-4b-it", instance: "Standard_NC24ads_A100_v4", least: 65_536, most: 131_071,
		},
		"Neither": {
			reason: "causal attention without a mask keeps no pairs",
			model:  "llama-3.1-8b-instruct", instance: "Standard_NC24ads_A100_v4", least: 131_072, most: 131_072,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := fit.Serve(model(t, c.model), instance(t, c.instance), fit.Serving{Unpaged: true})
			if r.MaxContext < c.least || r.MaxContext > c.most {
				t.Errorf("%s: the longest request is %d tokens, want %d to %d: %s", c.reason, r.MaxContext, c.least, c.most, r.Sum())
			}
		})
	}
}
