// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// matrix of a layer, as wide as what goes in and what comes out of it.
type matrix struct {
	in, out float64
	// kv is what comes out beside, for the heads of keys and values: where these are fewer
	// than the GPUs, several have the same one.
	kv float64
	// row says that GPUs divide what goes in (RowParallelLinear of vLLM), and else what
	// comes out (ColumnParallelLinear).
	row bool
}

func (x matrix) width() float64 { return x.in + x.out + x.kv }

// part is the width of an adapter of the matrix on one of tp GPUs. vLLM divides the side
// that the matrix itself is divided by and keeps the other whole on each GPU, unless both
// are to be divided (fully_sharded_loras; vllm/lora/layers).
func (x matrix) part(tp, kvHeads float64, both bool) float64 {
	in, out := x.in, x.out
	if x.row || both {
		in /= tp
	}
	if !x.row || both {
		out /= tp
	}
	return in + out + x.kv/math.Max(1, math.Min(tp, kvHeads))
}

// adapters is the room on a GPU that vLLM sets aside for LoRA adapters in 16 bit, as far
// as it is known.
func (s Serving) adapters(m Model, l layout) int64 {
	if s.Adapters <= 0 {
		return 0
	}
	perLayer, matrices := 0.0, m.matrices()
	for _, name := range matrixNames(matrices) {
		perLayer += matrices[name].part(float64(l.tensor), float64(m.KVHeads), s.ShardedAdapters)
	}
	layers := math.Ceil(float64(m.attentionLayers()) / float64(l.pipeline))
	return size(float64(s.Adapters) * float64(s.AdapterRank) * perLayer * layers * 2)
}

// lacksForAdapters is the fact without which it is not known what adapters take, "" where
// none is lacking. Of a mixture of experts one expert is counted, and vLLM sets room aside
// in each; of layers of another kind none.
func (m Model) lacksForAdapters() string {
	switch {
	case m.Kind == MoE:
		return fmt.Sprintf("how many experts %s has", m.Name)
	case m.Intermediate == 0:
		return fmt.Sprintf("how wide the layers of %s are", m.Name)
	case m.Kind != Dense:
		return fmt.Sprintf("whether %s is a mixture of experts", m.Name)
	case m.StateLayers > 0 || m.UpperBound || m.latent():
		return fmt.Sprintf("what matrices %s has in layers of another kind than attention", m.Name)
	}
	return ""
}

// withAdapters takes back that the model fits, where it does with what is known of its
// adapters and that is not all. It is no refusal: such services run where there is room.
func (r *Report) withAdapters(m Model, s Serving) {
	fact := m.lacksForAdapters()
	if s.Adapters <= 0 || fact == "" || !r.Works() {
		return
	}
	r.Verdict = v1alpha1.Tight
	reason := Reason{Code: CodeNotModelled, Message: fmt.Sprintf(
		"how much room its adapters take is not known, because %s is not known here: if memory is short, serve fewer of them, of a lower rank, or take a larger GPU", fact)}
	rest := slices.DeleteFunc(r.Reasons, func(x Reason) bool { return x.Code == CodeFits })
	r.Reasons = append([]Reason{reason}, rest...)
}

// Matrices lists the matrices of a layer by the names they have in the model:
// what an adapter may change.
func (m Model) Matrices() []string { return matrixNames(m.matrices()) }

// adapterWidth is the sum of input and output widths over the matrices of one
// layer that an adapter changes: times rank and layers, its parameters. No
// names: every matrix.
func (m Model) adapterWidth(targets []string) (float64, error) {
	matrices := m.matrices()
	if len(targets) == 0 {
		total := 0.0
		for _, name := range matrixNames(matrices) {
			total += matrices[name].width()
		}
		return total, nil
	}
	total := 0.0
	seen := map[string]bool{}
	for _, t := range targets {
		x, ok := matrices[t]
		if !ok {
			return 0, fmt.Errorf("%s has no matrix %q: %s", m.Name, t, list(matrixNames(matrices)))
		}
		if !seen[t] {
			total += x.width()
		}
		seen[t] = true
	}
	return total, nil
}

// matrices of a layer by the name that each has in the model.
func (m Model) matrices() map[string]matrix {
	h, q, kv, wide := float64(m.Hidden), m.queryWidth(), m.kvWidth(), float64(m.Intermediate)
	o, down := matrix{in: q, out: h, row: true}, matrix{in: wide, out: h, row: true}
	if m.FusedProjections {
		return map[string]matrix{
			"qkv_proj": {in: h, out: q, kv: 2 * kv}, "o_proj": o, "gate_up_proj": {in: h, out: 2 * wide}, "down_proj": down,
		}
	}
	return map[string]matrix{
		"q_proj": {in: h, out: q}, "k_proj": {in: h, kv: kv}, "v_proj": {in: h, kv: kv}, "o_proj": o,
		"gate_proj": {in: h, out: wide}, "up_proj": {in: h, out: wide}, "down_proj": down,
	}
}

func matrixNames(matrices map[string]matrix) []string {
	names := make([]string, 0, len(matrices))
	for n := range matrices {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}
