// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// A lock file is a model file for a model outside the catalogue, made once from
// the model's own config.json and kept in Git, so that no plan asks a model hub.

// LockOptions say what config.json does not.
type LockOptions struct {
	// ID is the repository id, owner/name.
	ID string
	// WeightBytes is the size of one copy of the weight files, 0 unknown:
	// metadata.total_size of model.safetensors.index.json.
	WeightBytes int64
	// Revision is the commit of the model repository, "" unknown.
	Revision string
	// License is the identifier of its licence, "" unknown.
	License string
}

// configFile is what is read of a config.json. Pointers tell absent from zero.
type configFile struct {
	Architectures         []string        `json:"architectures"`
	TextConfig            json.RawMessage `json:"text_config"`
	HiddenSize            int             `json:"hidden_size"`
	IntermediateSize      int             `json:"intermediate_size"`
	NumHiddenLayers       int             `json:"num_hidden_layers"`
	NumAttentionHeads     int             `json:"num_attention_heads"`
	NumKeyValueHeads      int             `json:"num_key_value_heads"`
	HeadDim               int             `json:"head_dim"`
	VocabSize             int             `json:"vocab_size"`
	MaxPositionEmbeddings int64           `json:"max_position_embeddings"`
	TieWordEmbeddings     *bool           `json:"tie_word_embeddings"`
	KVLoraRank            int             `json:"kv_lora_rank"`
	QKRopeHeadDim         int             `json:"qk_rope_head_dim"`
	SlidingWindow         *int            `json:"sliding_window"`
	UseSlidingWindow      *bool           `json:"use_sliding_window"`
	LayerTypes            []string        `json:"layer_types"`
	SlidingWindowPattern  int             `json:"sliding_window_pattern"`
	FullAttentionInterval int             `json:"full_attention_interval"`
	HybridOverridePattern string          `json:"hybrid_override_pattern"`
	NumExperts            int             `json:"num_experts"`
	NumLocalExperts       int             `json:"num_local_experts"`
	NRoutedExperts        int             `json:"n_routed_experts"`
	QuantizationConfig    *struct {
		QuantMethod string `json:"quant_method"`
		Format      string `json:"format"`
	} `json:"quantization_config"`
}

// fusedArchitectures keep q, k, v in one matrix and gate, up in another.
var fusedArchitectures = map[string]bool{"Phi3ForCausalLM": true}

// Lock makes a lock file from a model's config.json. What the file does not say
// is left out, not guessed.
func Lock(config []byte, o LockOptions) ([]byte, error) {
	c, architecture, err := readConfig(config)
	if err != nil {
		return nil, err
	}
	d := document{
		ID: o.ID, License: o.License, Architecture: architecture, Revision: o.Revision,
		Weights: weights{Bytes: o.WeightBytes}, Shape: c.shape(architecture),
		Sources: []string{"config.json of the model"},
	}
	if q := c.QuantizationConfig; q != nil {
		d.Weights.Quantization = strings.ToLower(q.QuantMethod)
		if d.Weights.Quantization == "compressed-tensors" {
			d.Weights.Quantization = strings.ToLower(q.Format)
		}
	}
	if o.WeightBytes > 0 {
		d.Sources = append(d.Sources, "weights: size of the weight files")
	}
	if _, err := d.preset(); err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("writing the lock file of %s: %w", o.ID, err)
	}
	return append([]byte("# Made by `espalier presets lock`; what is absent is unknown and is judged so.\n"), text...), nil
}

func readConfig(text []byte) (configFile, string, error) {
	var c configFile
	if err := json.Unmarshal(text, &c); err != nil {
		return c, "", fmt.Errorf("decoding config.json: %w", err)
	}
	architecture := ""
	if len(c.Architectures) > 0 {
		architecture = c.Architectures[0]
	}
	// A model that also sees keeps its language part in text_config.
	if len(c.TextConfig) > 0 && string(c.TextConfig) != "null" {
		if err := json.Unmarshal(c.TextConfig, &c); err != nil {
			return c, "", fmt.Errorf("decoding text_config of config.json: %w", err)
		}
	}
	if c.NumHiddenLayers == 0 && c.HiddenSize == 0 {
		return c, "", errors.New("config.json has neither num_hidden_layers nor hidden_size: not the configuration of a language model")
	}
	return c, architecture, nil
}

func (c configFile) shape(architecture string) shape {
	s := shape{
		Layers: c.NumHiddenLayers, Hidden: c.HiddenSize, Intermediate: c.IntermediateSize, Vocabulary: c.VocabSize,
		Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim,
		KVLoraRank: c.KVLoraRank, RopeDim: c.QKRopeHeadDim, MaxContext: c.MaxPositionEmbeddings,
		FusedProjections: fusedArchitectures[architecture], Kind: fit.Dense,
	}
	if c.NumExperts+c.NumLocalExperts+c.NRoutedExperts > 0 {
		s.Kind = fit.MoE
	}
	if c.TieWordEmbeddings != nil {
		s.Embeddings = 2
		if *c.TieWordEmbeddings {
			s.Embeddings = 1
		}
	}
	if s.KVLoraRank > 0 {
		s.KVHeads, s.HeadDim = 0, 0
		return s
	}
	if s.KVHeads == 0 {
		// transformers: a model that does not say has as many as query heads.
		s.KVHeads = s.Heads
	}
	if s.HeadDim == 0 && s.Heads > 0 && s.Hidden%s.Heads == 0 {
		// transformers: a model that does not say divides the hidden size.
		s.HeadDim = s.Hidden / s.Heads
	}
	c.layers(&s)
	return s
}

// layers counts the layers that keep less than full attention.
func (c configFile) layers(s *shape) {
	switch {
	case len(c.LayerTypes) > 0:
		s.countLayers(c.LayerTypes)
	case c.HybridOverridePattern != "":
		s.StateLayers = s.Layers - strings.Count(c.HybridOverridePattern, "*")
	case c.FullAttentionInterval > 1:
		s.StateLayers = s.Layers - s.Layers/c.FullAttentionInterval
	case c.SlidingWindowPattern > 1 && c.SlidingWindow != nil:
		s.SlidingLayers = s.Layers - s.Layers/c.SlidingWindowPattern
	case c.SlidingWindow != nil && int64(*c.SlidingWindow) < s.MaxContext && (c.UseSlidingWindow == nil || *c.UseSlidingWindow):
		// A window without a word on which layers keep to it.
		s.UpperBound = true
	}
	if s.SlidingLayers > 0 {
		s.slideOver(c.SlidingWindow)
	}
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

// WeightsOf reads the size of the weights from model.safetensors.index.json.
func WeightsOf(index []byte) (int64, error) {
	var file struct {
		Metadata struct {
			TotalSize json.Number `json:"total_size"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(index, &file); err != nil {
		return 0, fmt.Errorf("decoding model.safetensors.index.json: %w", err)
	}
	size, err := file.Metadata.TotalSize.Float64()
	if err != nil || size <= 0 || size > 1<<52 {
		return 0, errors.New("model.safetensors.index.json has no metadata.total_size")
	}
	return int64(size), nil
}

// maxLock bounds a lock file in bytes: one that is written here has under 2 KiB.
const maxLock = 64 << 10

var (
	validID     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	validCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	validParser = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)
)

// DecodeLock reads a lock file. It holds facts on one model: what a file of the
// catalogue tells the runtime beyond that is no part of it, since whoever
// writes Git would then set arguments that the configuration refuses.
func DecodeLock(text []byte) (Preset, error) {
	if len(text) > maxLock {
		return Preset{}, fmt.Errorf("larger than %d KiB: not a lock file", maxLock>>10)
	}
	d, err := decode(text)
	if err != nil {
		return Preset{}, err
	}
	switch {
	case !validID.MatchString(d.ID):
		return Preset{}, fmt.Errorf("id is %.100q: want owner/name", d.ID)
	case d.ShortName != "":
		return Preset{}, errors.New("shortName: requests use the last part of the id as the model's name; remove it")
	case len(d.Serving.Args) > 0:
		return Preset{}, errors.New("serving.args: engine arguments belong into the ConfigMap that config names; remove it")
	case d.Serving.ChatTemplate != "":
		return Preset{}, errors.New("serving.chatTemplate: the model's own is used; remove it")
	case d.Revision != "" && !validCommit.MatchString(d.Revision):
		return Preset{}, errors.New("revision: want the 40 hexadecimal digits of a commit: a branch or tag can move")
	}
	for _, parser := range []string{d.Serving.ToolParser, d.Serving.ReasoningParser} {
		if parser != "" && !validParser.MatchString(parser) {
			return Preset{}, fmt.Errorf("serving: %.60q is no name of a parser of vLLM, such as hermes", parser)
		}
	}
	return d.preset()
}

// decode reads one model file, and nothing after it.
func decode(text []byte) (document, error) {
	var d document
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(&d)
	if errors.Is(err, io.EOF) {
		return d, errors.New("it is empty")
	}
	if err != nil {
		return d, fmt.Errorf("decoding a model file: %s", strings.Join(strings.Fields(err.Error()), " "))
	}
	if err := decoder.Decode(&document{}); !errors.Is(err, io.EOF) {
		return d, errors.New("more than one document: a file describes one model")
	}
	return d, nil
}
