// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// configs are config.json files of published models by repository id, with the
// fields that a lock file is made from.
func configs(t testing.TB) map[string][]byte {
	t.Helper()
	files, err := filepath.Glob("testdata/config/*.json")
	if err != nil || len(files) < 30 {
		t.Fatalf("%d configurations: %v", len(files), err)
	}
	all := map[string][]byte{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.Replace(strings.TrimSuffix(filepath.Base(file), ".json"), "--", "/", 1)] = text
	}
	return all
}

func lockOf(t *testing.T, id string, config []byte, bytes int64) Preset {
	t.Helper()
	text, err := Lock(config, LockOptions{ID: id, WeightBytes: bytes})
	if err != nil {
		t.Fatalf("%s: %v", id, err)
	}
	p, err := DecodeLock(text)
	if err != nil {
		t.Fatalf("%s: %v\n%s", id, err, text)
	}
	return p
}

// windowIsOpen are models whose window the catalogue counts as full attention,
// which is an upper bound of a cache of 4096 tokens at most.
var windowIsOpen = map[string]bool{"microsoft/Phi-3-mini-4k-instruct": true}

// A lock file made from a model's own config.json says what the catalogue says
// of the model. It may say more where the catalogue has no source.
func TestLockAgreesWithTheCatalogue(t *testing.T) {
	compared := 0
	for id, config := range configs(t) {
		known, ok := Lookup(id)
		if !ok || known.ID != id {
			continue
		}
		compared++
		got, want := lockOf(t, id, config, known.Model.WeightBytes).Model, known.Model
		want.Name = got.Name
		for _, may := range []struct{ want, got *int }{{&want.Intermediate, &got.Intermediate}, {&want.Vocab, &got.Vocab}, {&want.Embeddings, &got.Embeddings}} {
			if *may.want == 0 {
				*may.want = *may.got
			}
		}
		if want.Kind == "" {
			want.Kind = got.Kind
		}
		if windowIsOpen[id] {
			got.SlidingLayers, got.Window = 0, 0
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the shape differs (-catalogue +lock):\n%s", id, diff)
		}
	}
	t.Logf("%d models agree", compared)
	if compared < 20 {
		t.Errorf("%d models are compared, want 20 at least", compared)
	}
}

// Models outside the catalogue, by the published size of their weight files: a
// dense shape explains it, to the norms.
func TestLockExplainsTheWeights(t *testing.T) {
	all := configs(t)
	for id, c := range map[string]struct {
		reason string
		bytes  int64
		kv     int // bytes of a token's keys and values in 16 bit
	}{
		"meta-llama/Llama-3.2-3B-Instruct":    {"embeddings are shared", 6425499648, 114688},
		"Qwen/Qwen3-32B":                      {"heads are wider than hidden / heads", 65524246528, 262144},
		"google/gemma-2-9b-it":                {"fields that the class fills in", 18483411968, 344064},
		"HuggingFaceTB/SmolLM2-1.7B-Instruct": {"as many heads of keys as of queries", 3422752768, 196608},
	} {
		m := lockOf(t, id, all[id], c.bytes).Model
		if rest := 1 - m.Params()*2/float64(c.bytes); math.Abs(rest) > 0.001 {
			t.Errorf("%s: %s: the shape explains all but %.2f %% of the weights", id, c.reason, rest*100)
		}
		if got := m.Layers * m.KVHeads * m.HeadDim * 2 * 2; got != c.kv {
			t.Errorf("%s: %s: %d bytes a token, want %d", id, c.reason, got, c.kv)
		}
	}
}

func TestLockOfOtherKinds(t *testing.T) {
	all := configs(t)
	for id, c := range map[string]struct {
		reason string
		check  func(fit.Model) bool
	}{
		"mistralai/Mixtral-8x7B-Instruct-v0.1": {"a mixture of experts", func(m fit.Model) bool { return m.Kind == fit.MoE && !m.Tunable() && m.KVHeads == 8 }},
		"Qwen/Qwen3-Next-80B-A3B-Instruct":     {"every fourth layer attends", func(m fit.Model) bool { return m.Kind == fit.MoE && m.StateLayers == 36 && m.HeadDim == 256 }},
		"mistralai/Mistral-7B-v0.1":            {"every layer slides", func(m fit.Model) bool { return m.SlidingLayers == 32 && m.Window == 4096 && m.Tunable() }},
		"google/gemma-2-9b-it":                 {"every other layer slides, and float16 overflows", func(m fit.Model) bool { return m.SlidingLayers == 21 && m.NoFloat16 }},
		"google/gemma-3-4b-it":                 {"heads that only the class knows", func(m fit.Model) bool { return m.Heads == 8 && m.KVHeads == 4 && m.SlidingLayers == 29 }},
	} {
		if m := lockOf(t, id, all[id], 1<<36).Model; !c.check(m) {
			t.Errorf("%s: %s: %+v", id, c.reason, m)
		}
	}
}

func TestLockRefuses(t *testing.T) {
	llama := string(configs(t)["meta-llama/Llama-3.1-8B-Instruct"])
	for name, c := range map[string]struct {
		reason, config string
		options        LockOptions
		says           string
	}{
		"NotJSON":        {"a page of the hub in place of the file", "<html>", LockOptions{ID: "a/b"}, "decoding config.json"},
		"AnotherFile":    {"a tokenizer's file", `{"tokenizer_class": "X"}`, LockOptions{ID: "a/b"}, "neither num_hidden_layers nor hidden_size"},
		"WrongType":      {"a number as text", `{"hidden_size": "many"}`, LockOptions{ID: "a/b"}, "hidden_size"},
		"Embedding":      {"a model that writes no text", `{"architectures": ["BertModel"], "hidden_size": 768}`, LockOptions{ID: "a/b"}, "BertModel, which does not write text"},
		"EncoderDecoder": {"a translator", `{"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": true, "hidden_size": 768}`, LockOptions{ID: "a/b"}, "an encoder and a decoder"},
		"NoID":           {"a name without an owner", llama, LockOptions{ID: "llama"}, "want owner/name"},
		"Branch":         {"a branch can move", llama, LockOptions{ID: "a/b", Revision: "main"}, "40 hexadecimal digits"},
		"OneShard":       {"the size of one file of four", llama, LockOptions{ID: "a/b", WeightBytes: 4976698672}, "weights of 4.6 GiB are too little for this shape, which has 15.0 GiB"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Lock([]byte(c.config), c.options)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s: %v, want one line with %q", c.reason, err, c.says)
			}
		})
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
		"SameWindow":   {"in every layer where the class does so", `{` + base + `, "model_type": "mistral", "sliding_window": 128}`, func(m fit.Model) bool { return m.SlidingLayers == 8 && m.Window == 128 && !m.UpperBound }},
		"MultiQuery":   {"one head of keys and values for all", `{` + base + `, "multi_query": true}`, func(m fit.Model) bool { return m.KVHeads == 1 }},
		"Falcon":       {"another name for the same number", `{` + base + `, "num_kv_heads": 2}`, func(m fit.Model) bool { return m.KVHeads == 2 }},
		"Ungated":      {"two matrices where the formula has three", `{` + base + `, "architectures": ["Starcoder2ForCausalLM"], "intermediate_size": 2048}`, func(m fit.Model) bool { return m.Intermediate == 0 }},
		"Indexer":      {"what a sparse-attention indexer keeps", `{` + base + `, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "index_head_dim": 128}`, func(m fit.Model) bool { return m.IndexBytes == 132 }},
		"Latent":       {"a latent cache has no heads", `{` + base + `, "kv_lora_rank": 512, "qk_rope_head_dim": 64}`, func(m fit.Model) bool { return m.KVLoraRank == 512 && m.HeadDim == 0 }},
		"TextConfig":   {"the language part of a model that sees", `{"architectures": ["XForConditionalGeneration"], "text_config": {` + base + `}}`, func(m fit.Model) bool { return m.Layers == 8 }},
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
	for _, config := range configs(f) {
		f.Add(string(config))
	}
	f.Add(`{"hidden_size": 1, "text_config": {"layer_types": ["x"]}}`)
	f.Fuzz(func(t *testing.T, config string) {
		text, err := Lock([]byte(config), LockOptions{ID: "a/b"})
		if err != nil {
			return
		}
		if _, err := DecodeLock(text); err != nil {
			t.Errorf("a lock file that does not decode: %v\n%s", err, text)
		}
	})
}
