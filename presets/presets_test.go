// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"testing"
)

func TestCatalogueLoads(t *testing.T) {
	if n := len(All()); n != 60 {
		t.Errorf("the catalogue has %d models, want 60", n)
	}
	tunable := 0
	for _, p := range All() {
		if p.Tunable {
			tunable++
			params, bytes := p.Model.Params(), float64(p.Model.WeightBytes)/2
			t.Logf("%-34s %.3f", p.Name(), params/bytes)
		}
	}
	t.Log(tunable)
	for _, n := range []string{"phi-3-mini-128k-instruct", "microsoft/phi-3-mini-128k-instruct", "mistral-7b", "Mistral-7B-v0.3", "qwen3.6-27b"} {
		if _, ok := Lookup(n); !ok {
			t.Errorf("no %s", n)
		}
	}
	t.Log(Suggest("phi-3-mini-128k"), Suggest("lama-3.1-8b-instruct"), Suggest("zzzzzzzz"))
}
