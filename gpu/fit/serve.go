// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"math"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Serving says how a model is to be served.
type Serving struct {
	// Context is the longest request in tokens; 0: the longest that fits, at
	// most the model's own.
	Context int
	// Utilization is vLLM's gpu_memory_utilization, 0 for 0.9.
	Utilization float64
	// Nodes is the number of nodes; 0: the smallest number that works, at most MaxNodes.
	Nodes int
	// Image is what the runtime's image demands.
	Image Image
	// BatchTokens and Sequences are max_num_batched_tokens and max_num_seqs; 0:
	// vLLM's own defaults for the GPU.
	BatchTokens, Sequences int
	// Throughput is vLLM's performance mode of that name, which doubles both defaults.
	Throughput bool
	// KVElementBytes is the size of a cache element: 0 as the model says, 2 for
	// 16 bit, 1 for fp8.
	KVElementBytes int
	// Adapters is the number of LoRA adapters held at a time, AdapterRank their
	// largest rank (0 for 16).
	Adapters, AdapterRank int
	// ShardedAdapters is fully_sharded_loras: both sides of an adapter are divided among
	// the GPUs that share a layer.
	ShardedAdapters bool
	// TensorParallel forces a degree; 0: chosen.
	TensorParallel int
	// Unpaged is an engine without vLLM's pages, which takes memory as requests come:
	// KAITO's transformers engine. One copy has one node, and TensorParallel is the
	// number of its GPUs.
	Unpaged bool
}

// MaxNodes is the largest number of nodes Serve considers by itself.
const MaxNodes = 16

// Constants of inference. The ranges are fitted on the in-sample rows of
// testdata/measurements.yaml; gpu.md 5.1 has the logs.
const (
	defaultUtilization = 0.9
	// loadFactor is what weights grow by when loaded: buffers and rounding.
	loadFactor = 1.005
	// mxfp4Padded is what MXFP4 weights grow by on Hopper and later, whose kernels
	// pad the matrices (65.97 GiB loaded of 60.8); older GPUs do not (12.88 of 12.8). In
	// vLLM 0.26.0 a Hopper does not either (13.03 of 12.8), and a Blackwell was not measured.
	mxfp4Padded = 1.085
	// leastContext is the shortest request worth serving: KAITO's default.
	leastContext = 2048
	// roomyShare is the share of the budget below which a cache is small (gpu.md 5.1).
	roomyShare = 0.10
	// largeGPU is where vLLM raises its batch defaults.
	largeGPU = 70 * gib
)

// Serve judges serving the model on nodes of one type. It finds the smallest
// number of nodes that works unless s.Nodes says it, and the way the model is
// spread over their GPUs.
func Serve(m Model, i sku.Instance, s Serving) Report {
	var r Report
	admitted := m
	if s.Unpaged { // which kinds of weights it computes in, its own sum says
		admitted.Quantization = ""
	}
	r.admit(admitted, i, s.Image)
	if err := m.Validate(); err != nil {
		return r.unknown(CodeShapeInvalid, "the shape of %s is wrong: %s", m.Name, err)
	}
	if names := m.MissingToServe(); len(names) > 0 {
		return r.unknown(CodeShapeUnknown, "the shape of %s is not known: %s", m.Name, list(names))
	}
	if i.GPUs == 0 || i.MemoryMiB == 0 {
		return r.unknown(CodeMemoryUnknown, "what the driver reports as the memory of %s on %s is not known", i.Chip(), i.Name)
	}
	s = s.defaults(m, i)
	if int64(s.Context) > m.MaxContext {
		r.Blocked = true
		r.because(CodeContextOfModel, "%s tokens are more than the %s that %s was made for", Thousands(int64(s.Context)), Thousands(m.MaxContext), m.Name)
	}
	best := s.search(m, i)
	best.withAdapters(m, s)
	best.Reasons = append(r.Reasons, best.Reasons...)
	best.Blocked, best.DType = r.Blocked, r.DType
	return best.decide()
}

func (s Serving) defaults(m Model, i sku.Instance) Serving {
	s.Context, s.Nodes = max(0, s.Context), max(0, s.Nodes)
	if s.Utilization <= 0 || s.Utilization > 1 {
		s.Utilization = defaultUtilization
	}
	// vLLM's defaults of the API server: 8192 tokens and 1024 sequences a step
	// on GPUs from 70 GiB, except A100; 2048 and 256 elsewhere.
	tokens, sequences := 2048, 256
	if i.MemoryBytes() >= largeGPU && i.Chip() != "A100" {
		tokens, sequences = 8192, 1024
	}
	if s.Throughput { // vLLM 0.26.0, EngineArgs: both defaults are doubled
		tokens, sequences = 2*tokens, 2*sequences
	}
	if s.BatchTokens <= 0 {
		s.BatchTokens = tokens
	}
	if s.Sequences <= 0 {
		s.Sequences = sequences
	}
	if s.KVElementBytes <= 0 {
		s.KVElementBytes = max(m.KVElementBytes, 0)
	}
	if s.KVElementBytes == 0 {
		s.KVElementBytes = 2
	}
	if s.AdapterRank <= 0 {
		s.AdapterRank = 16
	}
	return s
}

// sure says that the careful end of the estimate works.
func (r Report) sure() bool { return r.Works() && r.PerGPU.Total <= r.PerGPU.Budget }

// search tries numbers of nodes in order and returns the first that works, or
// the report for one node.
func (s Serving) search(m Model, i sku.Instance) Report {
	if s.Unpaged {
		return s.unpaged(m, i)
	}
	if s.Nodes > 0 {
		return s.spread(m, i, s.Nodes)
	}
	first := s.spread(m, i, 1)
	if first.Works() || i.MIG != "" || i.Schedulable() != nil {
		return first
	}
	for n := 2; n <= min(MaxNodes, m.Layers); n++ {
		// Several nodes are no place for a gamble on the overhead.
		if r := s.spread(m, i, n); r.sure() {
			return r
		}
	}
	first.because(CodeTooManyNodes, "no number of nodes up to %d works", min(MaxNodes, m.Layers))
	return first
}

// spread chooses how n nodes share the model: the fewest GPUs a copy that give
// the wanted context, else the most context.
func (s Serving) spread(m Model, i sku.Instance, n int) Report {
	degrees := s.tensorDegrees(m, i)
	if n > m.Layers || i.MIG != "" && n > 1 || len(degrees) == 0 {
		return s.unshared(m, i, n)
	}
	wanted := int64(s.Context)
	if wanted == 0 {
		wanted = m.MaxContext
	}
	var best Report
	for _, tp := range degrees {
		if n > 1 && tp != degrees[len(degrees)-1] {
			continue
		}
		r := s.judge(m, i, layout{tensor: tp, pipeline: n})
		r.Nodes, r.TensorParallel, r.PipelineParallel, r.DataParallel = n, tp, n, 1
		if n == 1 {
			r.DataParallel = i.GPUs / tp
		}
		if best.TensorParallel == 0 || better(r, best, wanted) {
			best = r
		}
	}
	best.count(m, n, n*i.GPUs)
	return best
}

// count sets the GPUs that n nodes use of all they have, and says what is special
// about them.
func (r *Report) count(m Model, n, all int) {
	r.GPUs = r.TensorParallel * r.PipelineParallel * r.DataParallel
	if idle := all - r.GPUs; idle > 0 {
		r.because(CodeHeads, "%d of %d GPUs stay idle: the %d heads of %s can be shared by %d GPUs of a node", idle, all, m.Heads, m.Name, r.TensorParallel)
	}
	if n > 1 {
		r.because(CodeMultiNode, "%d nodes work as one: each holds a part of the layers", n)
	}
}

// unshared says why n nodes cannot share the model.
func (s Serving) unshared(m Model, i sku.Instance, n int) Report {
	r := Report{Nodes: n, Verdict: v1alpha1.No}
	switch {
	case i.MIG != "":
		r.because(CodeSlice, "MIG slices cannot work on one model together: one slice serves one copy")
	case n > m.Layers:
		r.because(CodeHeads, "%d nodes cannot share the %d layers of %s", n, m.Layers, m.Name)
	default:
		r.because(CodeHeads, "%d GPUs of a node cannot share the %d heads of %s", s.TensorParallel, m.Heads, m.Name)
	}
	return r
}

// better says whether a, with more GPUs a copy, is worth it over b.
func better(a, b Report, wanted int64) bool {
	rank := map[v1alpha1.Verdict]int{v1alpha1.Fits: 2, v1alpha1.Tight: 1}
	if b.Verdict == v1alpha1.Fits && b.MaxContext >= wanted {
		return false
	}
	if rank[a.Verdict] != rank[b.Verdict] {
		return rank[a.Verdict] > rank[b.Verdict]
	}
	return a.MaxContext > b.MaxContext
}

// tensorDegrees lists the numbers of GPUs of a node that can share a layer:
// query heads are divided evenly, and key-value heads are divided or repeated.
func (s Serving) tensorDegrees(m Model, i sku.Instance) []int {
	var degrees []int
	for tp := 1; tp <= i.GPUs; tp++ {
		if i.MIG != "" && tp > 1 {
			break
		}
		if s.TensorParallel > 0 && tp != s.TensorParallel {
			continue
		}
		heads := m.Heads%tp == 0
		if !m.latent() {
			heads = heads && (m.KVHeads%tp == 0 || tp%m.KVHeads == 0)
		}
		if heads && (m.Intermediate == 0 || m.Intermediate%tp == 0) {
			degrees = append(degrees, tp)
		}
	}
	return degrees
}

// layout is how one copy of a model is spread: each layer over tensor GPUs,
// the layers over pipeline stages.
type layout struct{ tensor, pipeline int }

// judge sums one GPU of a layout.
func (s Serving) judge(m Model, i sku.Instance, l layout) Report {
	var r Report
	p := &r.PerGPU
	p.Budget = size(float64(i.MemoryBytes()) * s.Utilization)
	p.Weights = s.weights(m, i, l)
	p.Adapter = s.adapters(m, l)
	activation, overhead := s.engine(m, l, p.Weights)
	p.Activation, p.Overhead = activation.high, overhead.high
	cache := s.cache(m, l)
	fixedLow := p.Weights + p.Adapter + activation.low + overhead.low
	careful := p.Budget - p.Weights - p.Adapter - p.Activation - p.Overhead
	hopeful := p.Budget - fixedLow

	r.MaxContext = min(cache.longest(careful), m.MaxContext)
	least := int64(s.Context)
	if least == 0 {
		least = min(leastContext, m.MaxContext)
	}
	r.Context = least
	if s.Context == 0 {
		r.Context = max(least, r.MaxContext)
	}
	r.KVTokens = cache.tokens(careful, r.Context)
	p.KVCache = cache.request(r.Context)
	p.TotalLow = fixedLow + p.KVCache
	p.add()
	s.verdict(&r, m, cache, least, careful, hopeful)
	return r
}

func (s Serving) verdict(r *Report, m Model, cache cache, least, careful, hopeful int64) {
	p := r.PerGPU
	need := cache.request(least)
	switch {
	case hopeful < 0:
		r.Verdict = v1alpha1.No
		r.because(CodeWeights, "weights and runtime take at least %s GiB without any cache, and %s GiB of a GPU may be used", GiB(p.Budget-hopeful), GiB(p.Budget))
	case need > hopeful && m.UpperBound:
		r.Verdict = v1alpha1.Unknown
		r.because(CodeUpperBound, "%s has layers that keep less than full attention, and which is not known: %s tokens may need %s GiB or much less", m.Name, Thousands(least), GiB(need))
	case need > hopeful:
		r.Verdict = v1alpha1.No
		r.because(CodeContext, "the model fits and a request of %s tokens does not: its cache needs %s GiB and %s GiB are left; %s tokens would fit", Thousands(least), GiB(need), GiB(hopeful), Thousands(min(cache.longest(hopeful), m.MaxContext)))
	case need > careful:
		r.Verdict = v1alpha1.Tight
		r.because(CodeMargin, "it fits only if the overhead is at the lower end of its range: %s to %s of %s GiB", GiB(p.TotalLow), GiB(p.Total), GiB(p.Budget))
	case float64(careful) < roomyShare*float64(p.Budget):
		r.Verdict = v1alpha1.Tight
		r.because(CodeCacheSmall, "%s GiB are left for the cache, less than a tenth of what may be used: few requests at a time", GiB(careful))
	default:
		r.Verdict = v1alpha1.Fits
		r.because(CodeFits, "%s", r.Sum())
	}
	s.remark(r, m)
}

// remark adds what is worth knowing whatever the verdict.
func (s Serving) remark(r *Report, m Model) {
	if s.Context == 0 && r.sure() && r.MaxContext < m.MaxContext {
		r.because(CodeContextLimited, "the longest request is %s tokens of the model's own %s", Thousands(r.MaxContext), Thousands(m.MaxContext))
	}
	if r.Works() && m.UpperBound {
		r.because(CodeUpperBound, "the cache is an upper bound: some layers keep less than full attention, and which is not known")
	}
	if r.Works() && m.StateLayers > 0 {
		r.because(CodeRecurrentState, "%d layers keep a constant state for each request, which is not counted", m.StateLayers)
	}
}

// weights of the fullest GPU: the stage with the most layers.
func (s Serving) weights(m Model, i sku.Instance, l layout) int64 {
	factor := loadFactor
	if m.Quantization == "mxfp4" && i.Capability.Major >= 9 {
		factor = mxfp4Padded
	}
	stage := math.Ceil(float64(m.Layers)/float64(l.pipeline)) / float64(m.Layers)
	return size(float64(m.WeightBytes) * factor * stage / float64(l.tensor))
}
