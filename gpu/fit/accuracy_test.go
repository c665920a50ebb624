// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// measurements is testdata/measurements.yaml.
type measurements struct {
	Models map[string]struct {
		WeightsGiB    float64 `yaml:"weightsGiB"`
		Kind          Kind
		Quantization  string
		Layers        int
		SlidingLayers int `yaml:"slidingLayers"`
		Window        int
		Hidden        int
		Intermediate  int
		Vocabulary    int
		Heads         int
		KVHeads       int `yaml:"kvHeads"`
		HeadDim       int `yaml:"headDim"`
		Embeddings    int
		MaxContext    int64 `yaml:"maxContext"`
		StateLayers   int   `yaml:"stateLayers"`
		KVBytes       int   `yaml:"kvBytes"`
		Fused         bool
	}
	Rows []measurement
}

type measurement struct {
	Name, Kind, Model, Sample, Source, Why, Method string
	Measured, Memory, Utilization, Available       float64
	Tokens, KVTokens                               int64
	BatchTokens                                    int `yaml:"batchTokens"`
	Sequences, Rank, Sequence, Batch, Adapters     int
	KVBytes                                        int `yaml:"kvBytes"`
	EvalBatch                                      int `yaml:"evalBatch"`
	Fused, Fits, Recast, Moments32                 bool
	DoRA                                           bool `yaml:"dora"`
	KeepAll                                        bool `yaml:"keepAll"`
	Bound                                          *float64
	GPU                                            string // an instance type with that GPU; "" for one without special treatment
	TP                                             int
}

func readMeasurements(t *testing.T) (map[string]Model, []measurement) {
	t.Helper()
	text, err := os.ReadFile("testdata/measurements.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var m measurements
	decoder := yaml.NewDecoder(strings.NewReader(strings.ReplaceAll(string(text), "kvTokens:", "kvtokens:")))
	decoder.KnownFields(true)
	if err := decoder.Decode(&m); err != nil {
		t.Fatal(err)
	}
	models := map[string]Model{}
	for name, s := range m.Models {
		if s.Kind == "" {
			s.Kind = Dense
		}
		models[name] = Model{
			Name: name, WeightBytes: int64(s.WeightsGiB * gib), Kind: s.Kind, Quantization: s.Quantization,
			Layers: s.Layers, SlidingLayers: s.SlidingLayers, Window: s.Window, Hidden: s.Hidden, Intermediate: s.Intermediate,
			Vocab: s.Vocabulary, Heads: s.Heads, KVHeads: s.KVHeads, HeadDim: s.HeadDim, Embeddings: s.Embeddings,
			MaxContext: s.MaxContext, FusedProjections: s.Fused, StateLayers: s.StateLayers, KVElementBytes: s.KVBytes,
		}
	}
	return models, m.Rows
}

// instance is the type with the GPU of the row.
func (row measurement) instance(t *testing.T) sku.Instance {
	t.Helper()
	i, ok := sku.Lookup(row.GPU)
	if row.GPU != "" && !ok {
		t.Fatalf("%s: no instance type %q", row.Name, row.GPU)
	}
	return i
}

func (row measurement) serving(m Model) Serving {
	return Serving{
		Utilization: row.Utilization, BatchTokens: row.BatchTokens, Sequences: row.Sequences,
		Adapters: row.Adapters, AdapterRank: row.Rank, KVElementBytes: row.KVBytes,
	}.defaults(m, sku.Instance{})
}

// predict returns what the formulas say for a row and what was measured, in the same unit.
func (row measurement) predict(t *testing.T, m Model) (predicted, measured float64, unit string) {
	t.Helper()
	one := layout{tensor: max(1, row.TP), pipeline: 1}
	i, serving := row.instance(t), row.serving(m)
	tuning := Tuning{
		Rank: row.Rank, SequenceLength: row.Sequence, MicroBatch: row.Batch, EvalBatch: row.EvalBatch, FusedLoss: row.Fused, Recast: row.Recast, DoRA: row.DoRA,
		NoCheckpointing: row.KeepAll, Optimizer32Bit: row.Moments32, Method: v1alpha1.TuningMethod(row.Method),
	}
	cache := serving.cache(m, one)
	switch row.Kind {
	case "loaded":
		return float64(serving.weights(m, i, one)) / gib, row.Measured, "GiB"
	case "tokens":
		return float64(cache.tokens(int64(row.Available*gib), m.MaxContext)), row.Measured, "tokens"
	case "layers":
		return cache.full * cache.perToken * float64(row.Tokens) / (1 << 20), row.Measured, "MiB"
	case "total":
		available := row.Available * gib
		if row.KVTokens > 0 {
			available = float64(row.KVTokens) * cache.perToken * (cache.full + cache.sliding)
		}
		_, high := serving.counted(m, i, one)
		return (high + available) / gib, row.Memory * row.Utilization, "GiB"
	case "counted":
		_, high := serving.counted(m, i, one)
		return high / gib, row.Memory*row.Utilization - row.Available, "GiB"
	case "tuning", "ceiling":
		return float64(tuning.memoryOf(t, m).Total) / gib, row.Memory, "GiB"
	case "peak":
		return float64(tuning.memoryOf(t, m).Total) / gib, row.Measured, "GiB"
	case "request":
		_, high := serving.tensors(m, 1, int64(row.Sequence))
		return float64(high.Total) / gib, row.Measured, "GiB"
	case "base":
		return float64(tuning.memoryOf(t, m).Weights) / 1e6, row.Measured, "MB"
	case "minimum":
		tuning.SequenceLength = 512
		return float64(tuning.memoryOf(t, m).Total) / 1e9, row.Measured, "GB"
	}
	t.Fatalf("%s: no kind %q", row.Name, row.Kind)
	return 0, 0, ""
}

// counted is the range of what vLLM counts beside the cache.
func (s Serving) counted(m Model, i sku.Instance, l layout) (low, high float64) {
	weights := s.weights(m, i, l)
	activation, overhead := s.engine(m, l, weights)
	fixed := weights + s.adapters(m, l)
	return float64(fixed + activation.low + overhead.low), float64(fixed + activation.high + overhead.high)
}

func (t Tuning) memoryOf(tt *testing.T, m Model) Memory {
	tt.Helper()
	width, err := m.adapterWidth(nil)
	if err != nil {
		tt.Fatal(err)
	}
	t = t.defaults()
	return t.sum(m, width, 1).memory(t)
}

// TestAccuracy compares every measurement, published or our own, with what the formulas say
// and prints the table: go test ./gpu/fit -run TestAccuracy -v.
func TestAccuracy(t *testing.T) {
	models, rows := readMeasurements(t)
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "MEASUREMENT\tKIND\tSAMPLE\tMEASURED\tPREDICTED\tERROR\tBOUND\tSOURCE")
	for _, row := range rows {
		m, ok := models[row.Model]
		if !ok || row.Sample != "in" && row.Sample != "out" {
			t.Fatalf("%s: model %q, sample %q", row.Name, row.Model, row.Sample)
		}
		predicted, measured, unit := row.predict(t, m)
		percent := 100 * (predicted - measured) / measured
		bound := "not judged: " + row.Why
		switch {
		case row.Kind == "ceiling":
			bound = map[bool]string{true: "fits", false: "out of memory"}[row.Fits]
			if fits := predicted <= measured; fits != row.Fits {
				t.Errorf("%s: predicted %.1f of %.1f GiB, and it was seen to be: %s", row.Name, predicted, measured, bound)
			}
		case row.Bound != nil:
			bound = fmt.Sprintf("%g %%", *row.Bound)
			if math.Abs(percent) > *row.Bound {
				t.Errorf("%s: %.4g %s predicted, %.4g measured: %.1f %% off, %s allowed", row.Name, predicted, unit, measured, percent, bound)
			}
		case row.Why == "":
			t.Errorf("%s has neither a bound nor a reason for none", row.Name)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.6g %s\t%.6g\t%+.2f %%\t%s\t%s\n", row.Name, row.Kind, row.Sample, measured, unit, predicted, percent, bound, row.Source)
	}
	w.Flush()
	t.Log("\n" + b.String())
}

// TestCountedInRange: what vLLM counts beside the cache lies between the ends of the
// estimate, so that neither end promises a cache that is not there or refuses one that is.
func TestCountedInRange(t *testing.T) {
	models, rows := readMeasurements(t)
	for _, row := range rows {
		if row.Kind != "counted" || row.Why != "" {
			continue
		}
		m := models[row.Model]
		low, high := row.serving(m).counted(m, row.instance(t), layout{tensor: 1, pipeline: 1})
		measured := (row.Memory*row.Utilization - row.Available) * gib
		if slack := 0.01 * measured; measured < low-slack || measured > high+slack {
			t.Errorf("%s: vLLM counts %.2f GiB beside the cache, the estimate is %.2f to %.2f", row.Name, measured/gib, low/gib, high/gib)
		}
		t.Logf("%s: %.2f GiB, estimated %.2f to %.2f", row.Name, measured/gib, low/gib, high/gib)
	}
}

// TestVendorMinimums is why the vendor's stated minimums are not judged: some
// are less than what stays in memory without a single activation, and those that
// are not agree.
func TestVendorMinimums(t *testing.T) {
	const leastCUDA = 0.5 * gib // far below what any published log shows
	impossible := map[string]bool{"QLoRA minimum 7B": true, "QLoRA minimum 8B": true, "QLoRA minimum 14B": true, "QLoRA minimum 70B": true}
	models, rows := readMeasurements(t)
	for _, row := range rows {
		if row.Kind != "minimum" {
			continue
		}
		m := models[row.Model]
		p := Tuning{FusedLoss: row.Fused, Method: v1alpha1.TuningMethod(row.Method), SequenceLength: 512}.memoryOf(t, m)
		stays := float64(p.Weights+p.Adapter+p.Optimizer) + leastCUDA
		if below := stays > row.Measured*1e9; below != impossible[row.Name] {
			t.Errorf("%s: %.1f GB stay in memory, %.1f are stated", row.Name, stays/1e9, row.Measured)
		}
		if off := float64(p.Total)/1e9/row.Measured - 1; !impossible[row.Name] && math.Abs(off) > 0.15 {
			t.Errorf("%s: %.1f GB predicted, %.1f stated: %+.1f %%", row.Name, float64(p.Total)/1e9, row.Measured, off*100)
		}
		t.Logf("%s: %.2f GB stay, %.2f predicted, %.1f stated", row.Name, stays/1e9, float64(p.Total)/1e9, row.Measured)
	}
}

// The split is part of the test: a row that was out of sample stays out of sample.
func TestOutOfSampleRowsStayOut(t *testing.T) {
	_, rows := readMeasurements(t)
	in := map[string]bool{
		"gpt-oss-120b loaded on H100": true, "gpt-oss-20b loaded on RTX 3090": true, "llama-3.1-8b on RTX 3090": true, "gpt-oss-120b on H100-80": true,
		"llama-3.1-8b in 16 GB": true, "llama-3.1-8b in 24 GB": true, "llama-3.1-8b in 40 GB": true,
		"llama-3.1-8b in 48 GB": true, "llama-3.1-8b in 80 GB": true,
		"llama-3.1-8b, a request of 32768": true, "qwen2.5-7b, a request of 32768": true, "phi-4, a request of 8192": true,
		"phi-3-mini-4k, a request of 4096": true,
	}
	for _, row := range rows {
		if (row.Sample == "in") != (in[row.Name] || row.Kind == "counted") {
			t.Errorf("%s is marked %q: the split is fixed here", row.Name, row.Sample)
		}
	}
}
