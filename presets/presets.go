// SPDX-License-Identifier: Apache-2.0

// Package presets is the catalogue of models: one small file each in models/,
// with the shape the memory fit needs, the licence and what the runtime is
// told, and the sources of every number.
//
// It knows facts and decides nothing. What no source says is absent, and what
// depends on it is then judged unknown. It never asks a model hub: a model
// outside the catalogue comes from a lock file that Git holds (Lock).
package presets

import (
	"embed"
	"fmt"
	"io/fs"
	"math"
	"path"
	"sort"
	"strings"
	"sync"

	"github.com/espalier-dev/espalier/gpu/fit"
)

//go:embed models/*.yaml
var files embed.FS

// Preset is what is known of a model.
type Preset struct {
	// ID is the repository id, ShortName the name KAITO gave it ("" for most).
	ID, ShortName string
	// License is the identifier of its licence.
	License string
	// Architecture is the first entry of architectures in its config.json.
	Architecture string
	// Model is its shape.
	Model fit.Model
	// Revision is the commit of the model repository, "" where none is known.
	Revision string
	// Gated says that the model hub asks for an accepted licence and a token.
	Gated bool
	// Tunable says that the memory fit covers tuning it.
	Tunable bool
	// ToolParser and ReasoningParser are what vLLM is told; "" where the
	// catalogue has none. ChatTemplate is a file of KAITO's base image: vLLM's own
	// image has none of that name, and there the template of the model counts.
	ToolParser, ReasoningParser, ChatTemplate string
	// Args are further engine arguments of vLLM the model needs, without the
	// leading dashes; an empty value is a flag.
	Args map[string]string
	// Sources say where the numbers are from, Note what else is known.
	Sources []string
	Note    string
}

// Name is the short name, or the repository id without its owner in lower case.
func (p Preset) Name() string {
	if p.ShortName != "" {
		return p.ShortName
	}
	return strings.ToLower(path.Base(p.ID))
}

// document is a model file.
type document struct {
	ID           string   `yaml:"id"`
	ShortName    string   `yaml:"shortName,omitempty"`
	License      string   `yaml:"license,omitempty"`
	Architecture string   `yaml:"architecture,omitempty"`
	Revision     string   `yaml:"revision,omitempty"`
	Gated        bool     `yaml:"gated,omitempty"`
	Weights      weights  `yaml:"weights,omitempty"`
	Shape        shape    `yaml:"shape,omitempty"`
	Serving      serving  `yaml:"serving,omitempty"`
	Sources      []string `yaml:"sources,omitempty"`
	Note         string   `yaml:"note,omitempty"`
}

type weights struct {
	GiB          float64 `yaml:"gib,omitempty"`
	Bytes        int64   `yaml:"bytes,omitempty"`
	Quantization string  `yaml:"quantization,omitempty"`
}

type shape struct {
	Kind             fit.Kind `yaml:"kind,omitempty"`
	Layers           int      `yaml:"layers,omitempty"`
	Hidden           int      `yaml:"hidden,omitempty"`
	Intermediate     int      `yaml:"intermediate,omitempty"`
	Vocabulary       int      `yaml:"vocabulary,omitempty"`
	Embeddings       int      `yaml:"embeddings,omitempty"`
	Heads            int      `yaml:"heads,omitempty"`
	KVHeads          int      `yaml:"kvHeads,omitempty"`
	HeadDim          int      `yaml:"headDim,omitempty"`
	KVLoraRank       int      `yaml:"kvLoraRank,omitempty"`
	RopeDim          int      `yaml:"ropeDim,omitempty"`
	IndexBytes       int      `yaml:"indexBytes,omitempty"`
	FusedProjections bool     `yaml:"fusedProjections,omitempty"`
	SlidingLayers    int      `yaml:"slidingLayers,omitempty"`
	Window           int      `yaml:"window,omitempty"`
	StateLayers      int      `yaml:"stateLayers,omitempty"`
	UpperBound       bool     `yaml:"upperBound,omitempty"`
	KVElementBytes   int      `yaml:"kvElementBytes,omitempty"`
	NoFloat16        bool     `yaml:"noFloat16,omitempty"`
	MaxContext       int64    `yaml:"maxContext,omitempty"`
}

type serving struct {
	ToolParser      string            `yaml:"toolParser,omitempty"`
	ReasoningParser string            `yaml:"reasoningParser,omitempty"`
	ChatTemplate    string            `yaml:"chatTemplate,omitempty"`
	Args            map[string]string `yaml:"args,omitempty"`
}

// catalogue panics on a malformed model file: the files are part of the binary
// and a test loads them.
var catalogue = sync.OnceValue(func() []Preset {
	all, err := load(files, "models")
	if err != nil {
		panic("presets: " + err.Error())
	}
	return all
})

var byName = sync.OnceValue(func() map[string]int {
	index := map[string]int{}
	for n, p := range catalogue() {
		for _, name := range p.names() {
			index[name] = n
		}
	}
	return index
})

// names a preset is found by, in lower case.
func (p Preset) names() []string {
	names := []string{strings.ToLower(p.ID), p.Name()}
	// KAITO's short names leave the version off some ids; the full last part
	// of the id is as good a name.
	return append(names, strings.ToLower(path.Base(p.ID)))
}

// Lookup finds a model by short name, repository id or the id's last part,
// whatever the case.
func Lookup(name string) (Preset, bool) {
	n, ok := byName()[strings.ToLower(strings.TrimSpace(name))]
	if !ok {
		return Preset{}, false
	}
	return catalogue()[n], true
}

// All returns every model, in the order of the names.
func All() []Preset { return append([]Preset(nil), catalogue()...) }

func load(tree fs.FS, dir string) ([]Preset, error) {
	entries, err := fs.ReadDir(tree, dir)
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", dir, err)
	}
	var all []Preset
	for _, e := range entries {
		text, err := fs.ReadFile(tree, path.Join(dir, e.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", e.Name(), err)
		}
		p, err := Decode(text)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", e.Name(), err)
		}
		all = append(all, p)
	}
	sort.SliceStable(all, func(a, b int) bool { return all[a].Name() < all[b].Name() })
	return all, nil
}

// Decode reads a model file: one of the catalogue, or a lock file. An unknown
// field is an error, a missing one is unknown.
func Decode(text []byte) (Preset, error) {
	d, err := decode(text)
	if err != nil {
		return Preset{}, err
	}
	return d.preset()
}

func (d document) preset() (Preset, error) {
	owner, name, ok := strings.Cut(d.ID, "/")
	if !ok || owner == "" || name == "" {
		return Preset{}, fmt.Errorf("id is %q: want owner/name", d.ID)
	}
	if d.Weights.GiB < 0 || d.Weights.GiB > 1<<20 || d.Weights.Bytes < 0 {
		return Preset{}, fmt.Errorf("weights of %v GiB: want the size of one copy", d.Weights.GiB)
	}
	p := Preset{
		ID: d.ID, ShortName: d.ShortName, License: d.License, Architecture: d.Architecture,
		Revision: d.Revision, Gated: d.Gated,
		ToolParser: d.Serving.ToolParser, ReasoningParser: d.Serving.ReasoningParser,
		ChatTemplate: d.Serving.ChatTemplate, Args: d.Serving.Args, Sources: d.Sources, Note: d.Note,
	}
	s := d.Shape
	p.Model = fit.Model{
		Name: p.Name(), WeightBytes: d.Weights.Bytes, Quantization: d.Weights.Quantization, Kind: s.Kind,
		Layers: s.Layers, Hidden: s.Hidden, Intermediate: s.Intermediate, Vocab: s.Vocabulary, Embeddings: s.Embeddings,
		Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, KVLoraRank: s.KVLoraRank, RopeDim: s.RopeDim,
		IndexBytes: s.IndexBytes, FusedProjections: s.FusedProjections, SlidingLayers: s.SlidingLayers, Window: s.Window,
		StateLayers: s.StateLayers, UpperBound: s.UpperBound, KVElementBytes: s.KVElementBytes,
		NoFloat16: s.NoFloat16, MaxContext: s.MaxContext,
	}
	if p.Model.WeightBytes == 0 {
		p.Model.WeightBytes = int64(math.Round(d.Weights.GiB * (1 << 30)))
	}
	if err := p.Model.Validate(); err != nil {
		return Preset{}, fmt.Errorf("shape of %s: %w", d.ID, err)
	}
	p.Tunable = p.Model.Tunable()
	return p, nil
}
