// SPDX-License-Identifier: Apache-2.0

package fit

import "math"

// What vLLM counts beside weights and cache: first as vLLM 0.26.0 was measured with it,
// then for models and engines that were not.
const (
	// countedLow and countedHigh bound what the driver keeps of the memory nvidia-smi
	// shows (0.9 of 0.47 GiB of an H100) and what is loaded beside PyTorch's tensors
	// (0.23): 0.65 GiB in 19 runs, and 0.6 to 1.1 by the logs of older versions. The
	// CUDA context comes of what utilization leaves, and so do the CUDA graphs of dense
	// models (gpu_worker.py, determine_available_memory).
	countedLow, countedHigh = 0.6 * gib, 1.2 * gib
	// graphsLow and graphsHigh bound the CUDA graphs and the workspace of a mixture of
	// experts, whose graphs are counted: 0.5 to 1.1 GiB for 13 and for 57 GiB of weights.
	graphsLow, graphsHigh = 0.5 * gib, 2.0 * gib
	// denseCopies of the float32 logits of every sequence are alive while the model
	// runner of dense models samples (at most 1.3 for gemma-3-4b), and expertsCopies in
	// the older one, which has those with experts (3.75 for gpt-oss-20b).
	denseCopies, expertsCopies = 1, 4

	// contextLow and contextHigh bound the CUDA context, what the driver keeps
	// of the memory nvidia-smi shows, and CUDA graphs.
	contextLow, contextHigh = 0.9 * gib, 1.5 * gib
	// parallelLow and parallelHigh bound communication buffers per GPU once a
	// model is spread over several.
	parallelLow, parallelHigh = 0.4 * gib, 1.2 * gib
	// expertsLow and expertsHigh bound what older versions took more for a mixture of
	// experts; it is not known whether that grows with the weights, so for small models
	// the lower end is expertsShare of them.
	expertsLow, expertsHigh = 3.5 * gib, 5.0 * gib
	expertsShare            = 0.055
	// samplerCopies of the float32 logits of every sequence are alive while sampling.
	samplerCopies = 2
)

// span is a range of bytes.
type span struct{ low, high int64 }

// engine is what vLLM counts beside weights and cache on one GPU.
func (s Serving) engine(m Model, l layout, weights int64) (activation, overhead span) {
	if !m.measured(l) {
		return s.activations(m, l), m.overhead(l, weights)
	}
	lo, hi := countedLow, countedHigh
	if l.tensor*l.pipeline > 1 {
		lo, hi = lo+parallelLow, hi+parallelHigh
	}
	if m.Kind == MoE {
		lo, hi = lo+graphsLow, hi+graphsHigh
	}
	return s.profiled(m, l), span{int64(lo), int64(hi)}
}

// measured says whether vLLM was measured with models of this kind (testdata/measurements.yaml,
// kind counted). Experts on several GPUs, latent attention and layers that keep a state were not.
func (m Model) measured(l layout) bool {
	attention := m.StateLayers == 0 && !m.UpperBound && !m.latent()
	return attention && (m.Kind == Dense || m.Kind == MoE && l.tensor*l.pipeline == 1)
}

// profiled is the most that is alive while vLLM profiles: in a forward pass over
// BatchTokens, as the matrix of the words is copied once for the compiled model, or as
// Sequences are sampled.
func (s Serving) profiled(m Model, l layout) span {
	hidden, tokens, tp := float64(m.Hidden), float64(s.BatchTokens), float64(l.tensor)
	copies := float64(denseCopies)
	if m.Kind == MoE {
		copies = expertsCopies
	}
	return m.widths(func(wide, words float64) float64 {
		forward := tokens * 6 * (hidden + wide/tp)
		compiled := 2*hidden*words/tp + tokens*4*hidden
		sampling := float64(s.Sequences) * words * 4 * copies
		return max(forward, compiled, sampling)
	})
}

// activations is the peak of a forward pass over BatchTokens, and of sampling for Sequences.
func (s Serving) activations(m Model, l layout) span {
	return m.widths(func(wide, words float64) float64 {
		forward := float64(s.BatchTokens) * (4*float64(m.Hidden) + 6*wide/float64(l.tensor))
		return forward + float64(s.Sequences)*words*4*samplerCopies
	})
}

// widths is what a sum is for the width of the feed-forward part and for the vocabulary.
// Where one is unknown it spans what published models have.
func (m Model) widths(sum func(wide, words float64) float64) span {
	wide := [2]float64{float64(m.Intermediate), float64(m.Intermediate)}
	if m.Intermediate == 0 {
		wide = [2]float64{float64(m.Hidden), 4 * float64(m.Hidden)}
	}
	words := [2]float64{float64(m.Vocab), float64(m.Vocab)}
	if m.Vocab == 0 {
		words = [2]float64{32_000, 262_144}
	}
	return span{size(sum(wide[0], words[0])), size(sum(wide[1], words[1]))}
}

// overhead is what is neither weights, cache nor activations, where it was not measured.
func (m Model) overhead(l layout, weights int64) span {
	lo, hi := contextLow, contextHigh
	if l.tensor*l.pipeline > 1 {
		lo, hi = lo+parallelLow, hi+parallelHigh
	}
	switch m.Kind {
	case MoE:
		lo, hi = lo+math.Min(expertsLow, expertsShare*float64(weights)), hi+expertsHigh
	case "":
		hi += expertsHigh
	}
	return span{int64(lo), int64(hi)}
}
