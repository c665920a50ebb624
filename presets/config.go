// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// configFile is what is read of a config.json. Pointers tell absent from zero.
type configFile struct {
	Architectures         []string `json:"architectures"`
	ModelType             string   `json:"model_type"`
	IsEncoderDecoder      bool     `json:"is_encoder_decoder"`
	HiddenSize            int      `json:"hidden_size"`
	IntermediateSize      int      `json:"intermediate_size"`
	NumHiddenLayers       int      `json:"num_hidden_layers"`
	NumAttentionHeads     int      `json:"num_attention_heads"`
	NumKeyValueHeads      int      `json:"num_key_value_heads"`
	NumKVHeads            int      `json:"num_kv_heads"` // Falcon
	MultiQuery            bool     `json:"multi_query"`  // Falcon, GPT-BigCode
	HeadDim               int      `json:"head_dim"`
	AttentionHeadDim      int      `json:"attention_head_dim"` // Nemotron-H
	VocabSize             int      `json:"vocab_size"`
	MaxPositionEmbeddings int64    `json:"max_position_embeddings"`
	TieWordEmbeddings     *bool    `json:"tie_word_embeddings"`
	KVLoraRank            int      `json:"kv_lora_rank"`
	QKRopeHeadDim         int      `json:"qk_rope_head_dim"`
	IndexHeadDim          int      `json:"index_head_dim"`
	SlidingWindow         *int     `json:"sliding_window"`
	UseSlidingWindow      *bool    `json:"use_sliding_window"`
	LayerTypes            []string `json:"layer_types"`
	SlidingWindowPattern  int      `json:"sliding_window_pattern"`
	FullAttentionInterval int      `json:"full_attention_interval"`
	HybridOverridePattern string   `json:"hybrid_override_pattern"`
	NumExperts            int      `json:"num_experts"`
	NumLocalExperts       int      `json:"num_local_experts"`
	NRoutedExperts        int      `json:"n_routed_experts"`
	QuantizationConfig    *struct {
		QuantMethod string `json:"quant_method"`
		Format      string `json:"format"`
	} `json:"quantization_config"`
}

// languageParts are where models that also see or hear keep the configuration
// of their language part.
var languageParts = []string{"text_config", "llm_config", "language_config"}

// classDefaults are fields that published files leave out because they are the
// default of the model's class in transformers (configuration_*.py, v4.57), by
// model_type.
var classDefaults = map[string]string{
	"gemma":   `{"head_dim": 256, "tie_word_embeddings": true}`,
	"gemma2":  `{"head_dim": 256, "sliding_window": 4096, "sliding_window_pattern": 2, "tie_word_embeddings": true}`,
	"cohere":  `{"tie_word_embeddings": true}`,
	"cohere2": `{"sliding_window": 4096, "sliding_window_pattern": 4, "tie_word_embeddings": true}`,
	"gemma3_text": `{"vocab_size": 262208, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
		"max_position_embeddings": 131072, "sliding_window": 4096, "sliding_window_pattern": 6, "tie_word_embeddings": true}`,
}

// fusedArchitectures keep q, k, v in one matrix and gate, up in another.
var fusedArchitectures = []string{"Phi3ForCausalLM"}

// ungatedArchitectures have a feed-forward part of two matrices, for which no
// formula of the memory fit holds.
var ungatedArchitectures = []string{
	"FalconForCausalLM", "GPTBigCodeForCausalLM", "GPTNeoXForCausalLM", "NemotronForCausalLM", "PhiForCausalLM", "Starcoder2ForCausalLM",
}

// windowedTypes slide over the same window in every layer when they have one.
var windowedTypes = []string{"mistral", "mixtral", "phi3", "phimoe", "starcoder2"}

// noFloat16Types overflow in float16: vLLM refuses it for them
// (vllm/config/model.py, _FLOAT16_NOT_SUPPORTED_MODELS).
var noFloat16Types = []string{"gemma2", "gemma3", "gemma3_text", "glm4", "plamo2"}

// generating are the ends of the names of classes that write text.
var generating = []string{"ForCausalLM", "ForConditionalGeneration", "LMHeadModel", "ForCausalLMNextN"}

func readConfig(text []byte) (configFile, error) {
	var c configFile
	var parts map[string]json.RawMessage
	if err := json.Unmarshal(text, &parts); err != nil {
		return c, fmt.Errorf("decoding config.json: %w", err)
	}
	layers := []json.RawMessage{text}
	for _, name := range languageParts {
		if part := parts[name]; len(part) > 0 && part[0] == '{' {
			layers = append(layers, part)
		}
	}
	// The language part's own model_type says which defaults hold.
	for _, layer := range layers {
		if err := json.Unmarshal(layer, &struct {
			ModelType *string `json:"model_type"`
		}{&c.ModelType}); err != nil {
			return c, fmt.Errorf("decoding config.json: %w", err)
		}
	}
	if defaults, ok := classDefaults[c.ModelType]; ok {
		layers = slices.Insert(layers, 0, json.RawMessage(defaults))
	}
	for _, layer := range layers {
		architectures := c.Architectures
		if err := json.Unmarshal(layer, &c); err != nil {
			return c, fmt.Errorf("decoding config.json: %w", err)
		}
		if len(architectures) > 0 {
			c.Architectures = architectures
		}
	}
	return c, c.usable()
}

// architecture is the class of the whole model, "" unknown.
func (c configFile) architecture() string {
	if len(c.Architectures) == 0 {
		return ""
	}
	return c.Architectures[0]
}

// usable says why this is no configuration of a model that writes text.
func (c configFile) usable() error {
	class := c.architecture()
	switch {
	case class != "" && !slices.ContainsFunc(generating, func(end string) bool { return strings.HasSuffix(class, end) }):
		return fmt.Errorf("config.json is of a %.60s, which does not write text: vLLM is not run for it here", class)
	case c.IsEncoderDecoder:
		return fmt.Errorf("config.json is of a %.60s, an encoder and a decoder: vLLM does not serve it", class)
	case c.NumHiddenLayers == 0 && c.HiddenSize == 0:
		return errors.New("config.json has neither num_hidden_layers nor hidden_size: it is not the configuration of a language model")
	}
	return nil
}

func (c configFile) shape() shape {
	s := shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize, Vocabulary: c.VocabSize,
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		KVLoraRank: c.KVLoraRank, RopeDim: c.QKRopeHeadDim, MaxContext: c.MaxPositionEmbeddings,
		FusedProjections: slices.Contains(fusedArchitectures, c.architecture()),
		NoFloat16:        slices.Contains(noFloat16Types, c.ModelType), Kind: fit.Dense,
	}
	if c.NumExperts+c.NumLocalExperts+c.NRoutedExperts > 0 {
		s.Kind = fit.MoE
	}
	if slices.Contains(ungatedArchitectures, c.architecture()) {
		s.Intermediate = 0
	}
	if c.TieWordEmbeddings != nil {
		s.Embeddings = 2
		if *c.TieWordEmbeddings {
			s.Embeddings = 1
		}
	}
	if c.IndexHeadDim > 0 {
		// vLLM's indexer cache: a key in 8 bit and a float32 scale for every 128.
		s.IndexBytes = c.IndexHeadDim + 4*((c.IndexHeadDim+127)/128)
	}
	if s.KVLoraRank > 0 {
		s.KVHeads, s.HeadDim = 0, 0
		return s
	}
	c.heads(&s)
	c.layers(&s)
	return s
}

// heads fills in what transformers fills in.
func (c configFile) heads(s *shape) {
	if s.KVHeads == 0 {
		s.KVHeads = c.NumKVHeads
	}
	if s.KVHeads == 0 && c.MultiQuery {
		s.KVHeads = 1
	}
	if s.KVHeads == 0 {
		// A model that does not say has as many as query heads.
		s.KVHeads = s.Heads
	}
	if s.HeadDim == 0 {
		s.HeadDim = c.AttentionHeadDim
	}
	if s.HeadDim == 0 && s.Heads > 0 && s.Hidden%s.Heads == 0 {
		// A model that does not say divides the hidden size.
		s.HeadDim = s.Hidden / s.Heads
	}
}

// layers counts the layers that keep less than full attention.
func (c configFile) layers(s *shape) {
	windowed := c.windowed(s.MaxContext)
	switch {
	case len(c.LayerTypes) > 0:
		s.countLayers(c.LayerTypes)
	case c.HybridOverridePattern != "":
		s.StateLayers = s.Layers - strings.Count(c.HybridOverridePattern, "*")
	case c.FullAttentionInterval > 1:
		s.StateLayers = s.Layers - s.Layers/c.FullAttentionInterval
	case c.SlidingWindowPattern > 1 && c.SlidingWindow != nil:
		s.SlidingLayers = s.Layers - s.Layers/c.SlidingWindowPattern
	case windowed && slices.Contains(windowedTypes, c.ModelType):
		s.SlidingLayers = s.Layers
	case windowed:
		// A window without a word on which layers keep to it.
		s.UpperBound = true
	}
	if s.SlidingLayers > 0 {
		s.slideOver(c.SlidingWindow)
	}
}

// windowed says whether some layers see less than the longest sequence.
func (c configFile) windowed(longest int64) bool {
	off := c.UseSlidingWindow != nil && !*c.UseSlidingWindow
	return c.SlidingWindow != nil && int64(*c.SlidingWindow) < longest && !off
}

func (s *shape) countLayers(kinds []string) {
	for _, kind := range kinds {
		switch kind {
		case "full_attention":
		case "sliding_attention", "chunked_attention":
			s.SlidingLayers++
		default:
			s.StateLayers++
		}
	}
}

// slideOver sets the window of the sliding layers. Without one they count as full.
func (s *shape) slideOver(window *int) {
	if window != nil {
		s.Window = *window
	}
	if s.Window <= 0 {
		s.SlidingLayers, s.UpperBound = 0, true
	}
}
