// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/fit"
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

// llamaConfig is the config.json of a Llama with 8 billion parameters.
const llamaConfig = `{
  "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
  "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
  "tie_word_embeddings": false, "torch_dtype": "bfloat16"}`

// A lock file made from a model's own config.json says what the catalogue says of it.
func TestLockAgreesWithTheCatalogue(t *testing.T) {
	known, _ := Lookup("llama-3.1-8b-instruct")
	text, err := Lock([]byte(llamaConfig), LockOptions{ID: "someone/Llama-8B-of-mine", WeightBytes: known.Model.WeightBytes})
	if err != nil {
		t.Fatal(err)
	}
	mine, err := DecodeLock(text)
	if err != nil || !mine.Tunable || mine.Name() != "llama-8b-of-mine" {
		t.Fatalf("the locked model is not read or not tunable: %+v, %v", mine, err)
	}
	want := known.Model
	want.Name = mine.Model.Name
	if diff := cmp.Diff(want, mine.Model); diff != "" {
		t.Errorf("the shape differs (-catalogue +lock):\n%s", diff)
	}
}

func TestLockShapes(t *testing.T) {
	const base = `"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "max_position_embeddings": 4096`
	for name, c := range map[string]struct {
		reason, config string
		check          func(fit.Model) bool
	}{
		"Defaults":     {"heads default to query heads and hidden / heads", `{` + base + `}`, func(m fit.Model) bool { return m.KVHeads == 8 && m.HeadDim == 64 }},
		"TiedUnknown":  {"whether embeddings are shared is not guessed", `{` + base + `}`, func(m fit.Model) bool { return m.Embeddings == 0 && !m.Tunable() }},
		"Experts":      {"experts make a mixture", `{` + base + `, "num_local_experts": 8}`, func(m fit.Model) bool { return m.Kind == fit.MoE }},
		"LayerTypes":   {"layers are counted by kind", `{` + base + `, "sliding_window": 128, "layer_types": ["sliding_attention","full_attention","linear_attention","full_attention","full_attention","full_attention","full_attention","full_attention"]}`, func(m fit.Model) bool { return m.SlidingLayers == 1 && m.StateLayers == 1 && m.Window == 128 }},
		"Interval":     {"every fourth layer attends", `{` + base + `, "full_attention_interval": 4}`, func(m fit.Model) bool { return m.StateLayers == 6 }},
		"Pattern":      {"stars attend", `{` + base + `, "hybrid_override_pattern": "M-M*M-M*"}`, func(m fit.Model) bool { return m.StateLayers == 6 }},
		"SomeWindow":   {"a window without a word on which layers is an upper bound", `{` + base + `, "sliding_window": 128}`, func(m fit.Model) bool { return m.UpperBound }},
		"WindowUnused": {"a window that is switched off is none", `{` + base + `, "sliding_window": 128, "use_sliding_window": false}`, func(m fit.Model) bool { return !m.UpperBound }},
		"Latent":       {"a latent cache has no heads", `{` + base + `, "kv_lora_rank": 512, "qk_rope_head_dim": 64}`, func(m fit.Model) bool { return m.KVLoraRank == 512 && m.HeadDim == 0 }},
		"TextConfig":   {"the language part of a model that sees", `{"architectures": ["X"], "text_config": {` + base + `}}`, func(m fit.Model) bool { return m.Layers == 8 }},
		"Quantised":    {"the quantisation is kept", `{` + base + `, "quantization_config": {"quant_method": "compressed-tensors", "format": "float-quantized"}}`, func(m fit.Model) bool { return m.Quantization == "float-quantized" }},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Lock([]byte(c.config), LockOptions{ID: "a/b"})
			if err != nil {
				t.Fatal(err)
			}
			p, err := Decode(text)
			if err != nil {
				t.Fatalf("%v\n%s", err, text)
			}
			if !c.check(p.Model) {
				t.Errorf("%s:\n%s", c.reason, text)
			}
		})
	}
}

func TestWeightsOf(t *testing.T) {
	if n, err := WeightsOf([]byte(`{"metadata": {"total_size": 16060522496}, "weight_map": {}}`)); err != nil || n != 16060522496 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := WeightsOf([]byte(`{"weight_map": {}}`)); err == nil {
		t.Error("an index without a size has none")
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

func TestDecodeLockRefuses(t *testing.T) {
	const good = "id: a/b\nshape: {layers: 3}\n"
	for name, c := range map[string]struct{ reason, text, says string }{
		"Empty":        {"a file that was never filled", "# nothing\n", "it is empty"},
		"TwoDocuments": {"the second would be ignored", good + "---\n" + good, "more than one document"},
		"Twice":        {"which of them counts", good + "id: c/d\n", "already defined"},
		"ShortName":    {"the name of another model", good + "shortName: phi-4\n", "shortName"},
		"Arguments":    {"what the configuration refuses", good + "serving: {args: {api-key: x}}\n", "serving.args"},
		"Template":     {"a field without effect", good + "serving: {chatTemplate: x.jinja}\n", "serving.chatTemplate"},
		"Parser":       {"an argument within an argument", good + "serving: {toolParser: '--x'}\n", "name of a parser"},
		"Branch":       {"a branch can move", good + "revision: main\n", "40 hexadecimal digits"},
		"Flag":         {"an id that the runtime would read as a flag", "id: --host/x\n", "want owner/name"},
		"Path":         {"an id that is a path", "id: ../x\n", "want owner/name"},
		"Shape":        {"a shape no model has", "id: a/b\nshape: {layers: -1}\n", "layers is negative"},
		"Large":        {"a lock file is small", good + strings.Repeat("#\n", 40_000), "larger than 64 KiB"},
		"Bomb":         {"aliases that grow", "id: a/b\nsources: &a [x, x]\nnote: *a\n", "decoding a model file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := DecodeLock([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one line with %q", c.reason, err, c.says)
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

func FuzzDecodeLock(f *testing.F) {
	f.Add("id: a/b\nweights: {bytes: 3}\nshape: {layers: 2}\nserving: {toolParser: hermes}\n")
	f.Add("id: a/b\nid: c/d\n")
	f.Add("id: a/b\nshape: &a {layers: 9223372036854775807}\n---\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := DecodeLock([]byte(text))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("an error of several lines: %q", err)
			}
			return
		}
		if p.Model.Validate() != nil || strings.HasPrefix(p.ID, "-") || len(p.Args) > 0 || p.Name() == "" {
			t.Errorf("decoded %+v", p)
		}
	})
}

func FuzzLock(f *testing.F) {
	f.Add(llamaConfig)
	f.Add(`{"hidden_size": 1, "text_config": {"layer_types": ["x"]}}`)
	f.Fuzz(func(t *testing.T, config string) {
		text, err := Lock([]byte(config), LockOptions{ID: "a/b"})
		if err != nil {
			return
		}
		if _, err := Decode(text); err != nil {
			t.Errorf("a lock file that does not decode: %v\n%s", err, text)
		}
	})
}
