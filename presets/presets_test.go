// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"math"
	"strings"
	"testing"
)

func TestCatalogueIsWhole(t *testing.T) {
	all := All()
	if len(all) != 60 {
		t.Errorf("the catalogue has %d models, want the 60 of KAITO v0.12", len(all))
	}
	short := 0
	for _, p := range all {
		if p.ShortName != "" {
			short++
		}
		for _, name := range p.names() {
			if found, ok := Lookup(name); !ok || found.ID != p.ID {
				t.Errorf("%s is found by %q as %q", p.ID, name, found.ID)
			}
		}
		m := p.Model
		switch {
		case p.License == "" || p.Architecture == "" || len(p.Sources) == 0:
			t.Errorf("%s lacks licence, architecture or sources", p.ID)
		case m.WeightBytes == 0 || m.Layers == 0 || m.Hidden == 0 || m.Heads == 0 || m.MaxContext == 0:
			t.Errorf("%s lacks a number that the catalogue has for every model: %+v", p.ID, m)
		case m.KVLoraRank == 0 && (m.KVHeads == 0 || m.HeadDim == 0):
			t.Errorf("%s has neither heads nor a latent cache", p.ID)
		case p.Revision != "":
			t.Errorf("%s pins %s: no commit of it was seen in a source", p.ID, p.Revision)
		}
	}
	if short != 25 {
		t.Errorf("%d models have a short name, want 25", short)
	}
}

// The shapes that were added to the catalogue's are right: they give the size
// of the weight files, to what is not a matrix (norms, biases, image encoders).
func TestShapesExplainTheWeights(t *testing.T) {
	encoders := map[string]float64{"gemma-3-4b-instruct": 0.10, "gemma-3-27b-instruct": 0.02}
	tunable := 0
	for _, p := range All() {
		params := p.Model.Params()
		if params == 0 || p.Model.Quantization != "" || p.Model.StateLayers > 0 {
			continue
		}
		tunable++
		rest := 1 - params*2/float64(p.Model.WeightBytes)
		if limit := max(0.002, encoders[p.Name()]); math.Abs(rest) > limit {
			t.Errorf("%s: the shape explains all but %.2f %% of the weights, want %.2f %%", p.Name(), rest*100, limit*100)
		}
	}
	if tunable < 17 {
		t.Errorf("%d models have a complete shape, want 17 at least", tunable)
	}
}

func TestKnownTuningPresetsAreTunable(t *testing.T) {
	for _, name := range []string{
		"phi-4", "phi-4-mini-instruct", "phi-3-mini-4k-instruct", "phi-3-mini-128k-instruct", "phi-3-medium-4k-instruct",
		"phi-3-medium-128k-instruct", "phi-3.5-mini-instruct", "mistral-7b", "qwen2.5-coder-7b-instruct", "qwen2.5-coder-32b-instruct",
	} {
		if p, ok := Lookup(name); !ok || !p.Tunable {
			t.Errorf("%s is a tuning preset of KAITO and is not tunable here", name)
		}
	}
}

func TestSizesAreOfOneCopy(t *testing.T) {
	for name, gib := range map[string]float64{"gpt-oss-20b": 12.8, "gpt-oss-120b": 60.8} {
		p, _ := Lookup(name)
		if got := float64(p.Model.WeightBytes) / (1 << 30); math.Abs(got-gib) > 0.01 {
			t.Errorf("%s is %.1f GiB, want %.1f: KAITO counts it twice", name, got, gib)
		}
	}
}

func TestSuggest(t *testing.T) {
	for name, c := range map[string]struct{ reason, first string }{
		"phi-3-mini-128k":       {"a name cut short", "phi-3-mini-128k-instruct"},
		"lama-3.1-8b-instruct":  {"a letter missing", "llama-3.1-8b-instruct"},
		"microsoft/phi4":        {"a dash missing", "phi-4"},
		"qqqqqqqqqqqqqqqqqqqqq": {"nothing near", ""},
		"":                      {"nothing at all", ""},
	} {
		got := ""
		if names := Suggest(name); len(names) > 0 {
			got = names[0]
		}
		if got != c.first {
			t.Errorf("%s: %q suggests %q first, want %q", c.reason, name, got, c.first)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ reason, text, says string }{
		"UnknownField": {"a typing error is not ignored", "id: a/b\nshape: {layer: 3}", "field layer not found"},
		"NoOwner":      {"an id has an owner", "id: phi\n", "want owner/name"},
		"Negative":     {"no model has that", "id: a/b\nshape: {layers: -3}", "layers is negative"},
		"TooManyKinds": {"more special layers than layers", "id: a/b\nshape: {layers: 2, slidingLayers: 2, stateLayers: 1, window: 8}", "more than 2 layers"},
		"Heads":        {"heads that cannot be shared", "id: a/b\nshape: {heads: 5, kvHeads: 2}", "cannot share"},
		"Kind":         {"a kind nobody knows", "id: a/b\nshape: {kind: sparse}", "dense or moe"},
		"NotYAML":      {"not YAML", "\t{", "decoding a model file"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Decode([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v, want %q", c.reason, err, c.says)
			}
		})
	}
}

func TestUnknown(t *testing.T) {
	for name, c := range map[string]struct{ reason, model, says string }{
		"Near":   {"the nearest names", "phi-3-mini-128k", "did you mean phi-3-mini-128k-instruct"},
		"Other":  {"the way out, with the id that was asked for", "someone/Model-8B", "`espalier presets lock someone/Model-8B --from config.json`"},
		"Noname": {"an id is needed for it", "qqqqqqqqqqqqq", "`espalier presets lock OWNER/NAME --from"},
		"Odd":    {"no shell syntax is proposed", "a/b; rm -rf c", "lock OWNER/NAME"},
	} {
		if got := Unknown(c.model); !strings.Contains(got, c.says) || strings.Contains(got, "\n") {
			t.Errorf("%s: %s: %q, want %q", name, c.reason, got, c.says)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("id: a/b\nweights: {gib: 3}\nshape: {layers: 2}\n")
	f.Add("id: a/b\nid: c/d\n")
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := Decode([]byte(text)); err == nil && p.Model.Validate() != nil {
			t.Errorf("decoded a shape that is wrong: %+v", p.Model)
		}
	})
}
