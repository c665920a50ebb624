// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"strings"
)

// Kind says how a model spends its parameters.
type Kind string

// Values of Kind.
const (
	Dense Kind = "dense" // every token passes every weight
	MoE   Kind = "moe"   // mixture of experts
)

// Model is the shape of a model as its config.json and its weight files say.
// A zero field is unknown; what depends on it is then a range or Unknown,
// never a guess.
type Model struct {
	// Name is used in sentences.
	Name string
	// WeightBytes is the size of one copy of the weight files.
	WeightBytes int64
	// Quantization of the weights as published ("fp8", "mxfp4", "awq", …); "" is 16 bit.
	Quantization string
	// Kind is Dense, MoE or "" for unknown.
	Kind Kind

	// Layers, Hidden, Intermediate and Vocab are num_hidden_layers, hidden_size,
	// intermediate_size and vocab_size.
	Layers, Hidden, Intermediate, Vocab int
	// Heads, KVHeads and HeadDim are num_attention_heads, num_key_value_heads
	// and the width of a head.
	Heads, KVHeads, HeadDim int
	// KVLoraRank and RopeDim are kv_lora_rank and qk_rope_head_dim of
	// multi-head latent attention (MLA); zero otherwise.
	KVLoraRank, RopeDim int
	// IndexBytes is what a sparse-attention indexer keeps per token and layer.
	IndexBytes int
	// Embeddings is the number of Vocab x Hidden matrices: 2, or 1 where the
	// output head shares the embedding's; 0 unknown.
	Embeddings int
	// FusedProjections says that q, k, v are one matrix and gate, up another (Phi-3).
	FusedProjections bool

	// SlidingLayers of Layers see only the last Window tokens.
	SlidingLayers, Window int
	// StateLayers of Layers keep no cache per token (Mamba, gated delta net, or
	// no attention at all).
	StateLayers int
	// UpperBound says that some layers keep less than full attention and that
	// it is not known which: the cache computed from the other fields is then
	// an upper bound.
	UpperBound bool
	// KVElementBytes is the size of a cache element the model is served with, 0 for 2.
	KVElementBytes int

	// MaxContext is the longest sequence the model was made for.
	MaxContext int64
	// NoFloat16 says that the model overflows in float16 and needs bfloat16.
	NoFloat16 bool
}

// latent says whether the cache is that of multi-head latent attention.
func (m Model) latent() bool { return m.KVLoraRank > 0 }

// attentionLayers is the number of layers that keep a cache per token.
func (m Model) attentionLayers() int { return m.Layers - m.StateLayers }

// queryWidth and kvWidth are the output widths of the q and of the k (or v)
// projection.
func (m Model) queryWidth() float64 { return float64(m.Heads) * float64(m.HeadDim) }
func (m Model) kvWidth() float64    { return float64(m.KVHeads) * float64(m.HeadDim) }

// Tunable says whether the shape is known and a formula here covers tuning it.
func (m Model) Tunable() bool {
	return m.NotTunable() == "" && len(m.MissingToTune()) == 0
}

// MissingToServe and MissingToTune name the fields of the shape, as a model file
// does, without which the verdict is Unknown.
func (m Model) MissingToServe() []string {
	if m.latent() {
		return m.missing(servingFields, latentFields)
	}
	return m.missing(servingFields, headFields)
}

// MissingToTune is MissingToServe for tuning.
func (m Model) MissingToTune() []string { return m.missing(tuningFields) }

// linearPerLayer is the number of parameters of a dense layer's matrices: the
// ones that NF4 quantises and that LoRA adapts.
func (m Model) linearPerLayer() float64 {
	h := float64(m.Hidden)
	return 2*h*m.queryWidth() + 2*h*m.kvWidth() + 3*h*float64(m.Intermediate)
}

// Params is the number of parameters of a dense model without its norms and
// biases, 0 where the shape does not say: of layers of another kind than
// attention it does not.
func (m Model) Params() float64 {
	if m.Kind != Dense || m.StateLayers > 0 || len(m.MissingToTune()) > 0 {
		return 0
	}
	return float64(m.Layers)*m.linearPerLayer() + float64(m.Embeddings)*float64(m.Vocab)*float64(m.Hidden)
}

// field is one field of a Model that a sum needs.
type field struct {
	name  string
	value func(Model) int64
}

var servingFields = []field{
	{"weights", func(m Model) int64 { return m.WeightBytes }},
	{"layers", func(m Model) int64 { return int64(m.Layers) }},
	{"hidden", func(m Model) int64 { return int64(m.Hidden) }},
	{"heads", func(m Model) int64 { return int64(m.Heads) }},
	{"maxContext", func(m Model) int64 { return m.MaxContext }},
}

var headFields = []field{
	{"kvHeads", func(m Model) int64 { return int64(m.KVHeads) }},
	{"headDim", func(m Model) int64 { return int64(m.HeadDim) }},
}

var latentFields = []field{
	{"kvLoraRank", func(m Model) int64 { return int64(m.KVLoraRank) }},
	{"ropeDim", func(m Model) int64 { return int64(m.RopeDim) }},
}

var tuningFields = []field{
	{"weights", func(m Model) int64 { return m.WeightBytes }},
	{"layers", func(m Model) int64 { return int64(m.Layers) }},
	{"hidden", func(m Model) int64 { return int64(m.Hidden) }},
	{"intermediate", func(m Model) int64 { return int64(m.Intermediate) }},
	{"vocabulary", func(m Model) int64 { return int64(m.Vocab) }},
	{"heads", func(m Model) int64 { return int64(m.Heads) }},
	{"kvHeads", func(m Model) int64 { return int64(m.KVHeads) }},
	{"headDim", func(m Model) int64 { return int64(m.HeadDim) }},
	{"embeddings", func(m Model) int64 { return int64(m.Embeddings) }},
	{"maxContext", func(m Model) int64 { return m.MaxContext }},
}

// missing lists the fields that are unknown.
func (m Model) missing(fields ...[]field) []string {
	var names []string
	for _, list := range fields {
		for _, f := range list {
			if f.value(m) <= 0 {
				names = append(names, f.name)
			}
		}
	}
	return names
}

// Validate says what is wrong with a shape: values that no model can have.
// Unknown fields are not wrong.
func (m Model) Validate() error {
	if err := m.negative(); err != nil {
		return err
	}
	switch {
	case m.Embeddings < 0 || m.Embeddings > 2:
		return fmt.Errorf("embeddings is %d: 1 or 2", m.Embeddings)
	case m.Kind != Dense && m.Kind != MoE && m.Kind != "":
		return fmt.Errorf("kind is %q: dense or moe", m.Kind)
	case m.Layers > 0 && m.SlidingLayers+m.StateLayers > m.Layers:
		return fmt.Errorf("%d sliding and %d state layers are more than %d layers", m.SlidingLayers, m.StateLayers, m.Layers)
	case m.SlidingLayers > 0 && m.Window == 0:
		return fmt.Errorf("%d sliding layers need a window", m.SlidingLayers)
	case !m.sharesHeads():
		return fmt.Errorf("%d heads cannot share %d kvHeads", m.Heads, m.KVHeads)
	}
	return nil
}

// sharesHeads says whether every key-value head has the same number of query
// heads. While one of the numbers is unknown, it may be so.
func (m Model) sharesHeads() bool {
	return m.KVHeads <= 0 || m.Heads <= 0 || m.KVHeads <= m.Heads && m.Heads%m.KVHeads == 0
}

// negative names the first number below zero.
func (m Model) negative() error {
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"weights", m.WeightBytes}, {"layers", int64(m.Layers)}, {"hidden", int64(m.Hidden)},
		{"intermediate", int64(m.Intermediate)}, {"vocabulary", int64(m.Vocab)}, {"heads", int64(m.Heads)},
		{"kvHeads", int64(m.KVHeads)}, {"headDim", int64(m.HeadDim)}, {"kvLoraRank", int64(m.KVLoraRank)},
		{"ropeDim", int64(m.RopeDim)}, {"indexBytes", int64(m.IndexBytes)}, {"slidingLayers", int64(m.SlidingLayers)},
		{"window", int64(m.Window)}, {"stateLayers", int64(m.StateLayers)}, {"kvElementBytes", int64(m.KVElementBytes)},
		{"maxContext", m.MaxContext},
	} {
		if n.value < 0 {
			return fmt.Errorf("%s is negative", n.name)
		}
	}
	return nil
}

func list(names []string) string { return strings.Join(names, ", ") }
