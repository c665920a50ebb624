// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"math"
	"sort"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Constants of an engine without pages: transformers 5.14.1, PEFT 0.11.1.
const (
	// adapterBytes of a parameter: PEFT keeps adapters in 32 bit (autocast_adapter_dtype).
	adapterBytes = 4
	// mxfp4Unpacked and fp8Unpacked are what packed weights grow by where the kernels
	// that compute in them are missing: transformers unpacks them to bfloat16
	// (quantizers/quantizer_mxfp4.py and quantizer_finegrained_fp8.py). MXFP4 has 4.25
	// bits a weight; what is not packed grows by nothing, so both are upper ends.
	mxfp4Unpacked, fp8Unpacked = 16 / 4.25, 2.0
)

// unpaged judges an engine that sets nothing aside: a request's cache is tensors that
// grow with it (DynamicCache), the prompt is read at once, and one request runs at a
// time (cli/serving/utils.py: one inference thread). Accelerate lays the layers over
// the GPUs of the pod one after another (device_map="auto").
func (s Serving) unpaged(m Model, i sku.Instance) Report {
	if m.latent() {
		r := Report{Nodes: 1, Verdict: v1alpha1.Unknown}
		r.because(CodeNotModelled, "how much cache %s takes without vLLM, which keeps its latent form alone, is not known", m.Name)
		return r
	}
	if s.Context == 0 {
		s.Context = int(min(leastContext, m.MaxContext))
	}
	most := i.GPUs
	if i.MIG != "" {
		most = 1
	}
	rank := map[v1alpha1.Verdict]int{v1alpha1.Fits: 2, v1alpha1.Tight: 1}
	var best Report
	for n := 1; n <= min(most, m.Layers); n++ {
		if s.TensorParallel > 0 && n != s.TensorParallel {
			continue
		}
		r := s.inRow(m, i, n)
		if best.Nodes == 0 || !best.Works() || rank[r.Verdict] > rank[best.Verdict] {
			best = r
		}
		if best.Verdict == v1alpha1.Fits {
			break
		}
	}
	if best.Nodes == 0 {
		return s.unshared(m, i, 1)
	}
	return best
}

// inRow judges one copy on n GPUs of a node.
func (s Serving) inRow(m Model, i sku.Instance, n int) Report {
	r := Report{Nodes: 1, TensorParallel: 1, PipelineParallel: n, DataParallel: max(1, i.GPUs/n), Context: int64(s.Context)}
	if i.MIG != "" {
		r.DataParallel = 1
	}
	r.GPUs = n * r.DataParallel
	low, high := s.tensors(m, n, r.Context)
	budget := i.MemoryBytes()
	high.Budget, high.TotalLow = budget, low.Total
	high.add()
	r.PerGPU = high
	longest := sort.Search(int(min(m.MaxContext, math.MaxInt32)), func(tokens int) bool {
		_, more := s.tensors(m, n, int64(tokens)+1)
		return more.Total > budget
	})
	r.MaxContext = int64(longest)
	fixed := low.Weights + low.Adapter + low.Overhead
	switch {
	case fixed > budget:
		r.Verdict = v1alpha1.No
		r.because(CodeWeights, "weights and runtime take at least %s GiB without any cache, and a GPU has %s GiB", GiB(fixed), GiB(budget))
	case low.Total > budget:
		r.Verdict = v1alpha1.No
		r.because(CodeContext, "the model fits and a request of %s tokens does not: its cache and what is computed with it need %s GiB and %s GiB are left",
			Thousands(r.Context), GiB(low.Total-fixed), GiB(budget-fixed))
	case high.Total > budget && high.Weights > low.Weights:
		r.Verdict = v1alpha1.Tight
		r.because(CodeMargin, "it fits only if the %s weights stay packed, which takes kernels that the image may not have: %s to %s of %s GiB", m.Quantization, GiB(low.Total), GiB(high.Total), GiB(budget))
	case high.Total > budget:
		r.Verdict = v1alpha1.Tight
		r.because(CodeMargin, "it fits only if the overhead is at the lower end of its range: %s to %s of %s GiB", GiB(low.Total), GiB(high.Total), GiB(budget))
	default:
		r.Verdict = v1alpha1.Fits
		r.because(CodeFits, "%s", r.Sum())
	}
	s.remark(&r, m)
	return r
}

// tensors sums the fullest of n GPUs with one request, at both ends of the estimate.
func (s Serving) tensors(m Model, n int, context int64) (low, high Memory) {
	row := layout{tensor: 1, pipeline: n}
	s.BatchTokens, s.Sequences = int(context), 1
	share := math.Ceil(float64(m.Layers)/float64(n)) / float64(m.Layers)
	weights := float64(m.WeightBytes) * loadFactor * share
	if n > 1 { // the first GPU has the words beside its layers, and the last the head
		weights += float64(m.Vocab) * float64(m.Hidden) * 2
	}
	unpacked := map[string]float64{"mxfp4": mxfp4Unpacked, "fp8": fp8Unpacked}[m.Quantization]
	low.Weights, high.Weights = size(weights), size(weights*max(1, unpacked))
	adapter, working := s.merged(m, share)
	low.Adapter, high.Adapter = adapter, adapter
	forward, overhead := s.activations(m, row), m.overhead(row, low.Weights)
	forward.low, forward.high = forward.low+beside(m, context), forward.high+beside(m, context)+pairs(m, context)
	// Merging comes before the first request, and takes its memory alone.
	low.Activation, high.Activation = forward.low, max(forward.high, working)
	low.Overhead, high.Overhead = overhead.low, overhead.high
	cache := s.cache(m, row)
	// A layer that grows is there twice for a moment.
	grown := float64(cache.request(context)) * (1 + 1/max(1, cache.full+cache.sliding))
	low.KVCache, high.KVCache = size(grown), size(grown)
	low.add()
	high.add()
	return low, high
}

// beside is what transformers' layers keep of a prompt beyond vLLM's (Serving.activations):
// the residual stream and its norm in tensors of their own, where vLLM adds in place, and
// where gate and up are one matrix its result beside both halves. Measured for Llama,
// Mistral, Qwen and Phi (testdata/measurements.yaml, kind request).
func beside(m Model, context int64) int64 {
	perToken := 4 * float64(m.Hidden)
	if m.FusedProjections {
		perToken += 2 * float64(m.Intermediate)
	}
	return size(perToken * float64(context))
}

// pairs is what attention keeps for each pair of tokens of a prompt, at most: nothing
// where it is causal and no more, which kernels compute without. A window makes a mask,
// and another in the data type of the model (integrations/sdpa_attention.py). gpt-oss,
// which alone is published in MXFP4, has sinks, which sdpa does not know, so that
// transformers computes its attention eagerly (modeling_gpt_oss.py): three matrices of
// each head at a time. Whether the program asks for other kernels is not known.
func pairs(m Model, context int64) int64 {
	perPair := 0.0
	if m.SlidingLayers > 0 && context >= int64(m.Window) {
		perPair += 1 + 2
	}
	if m.Quantization == "mxfp4" {
		perPair += 3 * 2 * float64(m.Heads)
	}
	return size(perPair * float64(context) * float64(context))
}

// merged is what adapters take on a GPU with that share of the layers: each of them and
// the one that they become, and while more than one are merged the decomposition of the
// largest matrix (add_weighted_adapter with svd, whose svd_full_matrices is true).
func (s Serving) merged(m Model, share float64) (kept, working int64) {
	if s.Adapters <= 0 {
		return 0, 0
	}
	perLayer, err := m.adapterWidth(nil)
	if err != nil {
		return 0, 0
	}
	kept = size(float64(s.Adapters+1) * float64(s.AdapterRank) * perLayer * float64(m.attentionLayers()) * share * adapterBytes)
	if s.Adapters == 1 {
		return kept, 0
	}
	hidden, wide := float64(m.Hidden), float64(m.Intermediate)
	if m.FusedProjections {
		wide *= 2
	}
	return kept, size(adapterBytes * (2*hidden*wide + hidden*hidden + wide*wide))
}
