// SPDX-License-Identifier: Apache-2.0

package fit

import "math"

// judgedBytes of a token and word in a step of the evaluation: float32 logits,
// their copy for the loss and the log-softmax. There is no gradient.
const judgedBytes = 12

// judged is what the logits of an evaluation take for each token of a training
// step. Nothing else of it counts: it keeps no activations, and the rest is there
// in the training too.
func (t Tuning) judged(m Model) float64 {
	return judgedBytes * float64(m.Vocab) * float64(t.EvalBatch) / float64(t.MicroBatch)
}

// scored takes the memory of benchmarks into account, which run beside no
// training: the whole model in 16 bit, as it is served, with the adapter, a cache
// and logits.
func (r *Report) scored(m Model, t Tuning, training run) {
	if !t.Tasks {
		return
	}
	batch := float64(max(t.EvalBatch, 1))
	u := run{weights: float64(m.WeightBytes), adapter: training.adapter, block: training.block}
	u.overhead = runtimeMemory + allocatorShare*(u.weights+u.adapter)
	u.logits = judgedBytes * float64(m.Vocab)
	cache := 4 * float64(m.Layers) * float64(m.KVHeads) * float64(m.HeadDim) // keys and values in 16 bit
	tokens := float64(t.SequenceLength) * batch
	p := Memory{
		Budget: r.PerGPU.Budget, Weights: size(u.weights), Adapter: size(u.adapter), Overhead: size(u.overhead),
		KVCache: size(tokens * cache), Activation: size(tokens * math.Max(0, u.block-u.logits)), Logits: size(tokens * u.logits),
	}
	p.add()
	u.kept = cache
	most := u.tokens(p.Budget)
	r.MaxContext = min(r.MaxContext, size(float64(most)/batch))
	if p.Total <= r.PerGPU.Total {
		return
	}
	r.PerGPU = p
	r.because(CodeTasks, "the tasks of the evaluation take more than the training: they run the model in 16 bit, as it is served")
}
