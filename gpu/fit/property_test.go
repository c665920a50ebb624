// SPDX-License-Identifier: Apache-2.0

package fit_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// rank orders verdicts from bad to good.
var rank = map[v1alpha1.Verdict]int{v1alpha1.No: 0, v1alpha1.Unknown: 1, v1alpha1.Tight: 2, v1alpha1.Fits: 3}

func sumsUp(t *testing.T, what string, r fit.Report) {
	t.Helper()
	var sum int64
	for _, p := range r.PerGPU.Parts() {
		if p.Bytes < 0 {
			t.Fatalf("%s: %s is %d", what, p.Name, p.Bytes)
		}
		sum += p.Bytes
	}
	if sum != r.PerGPU.Total || r.PerGPU.TotalLow > r.PerGPU.Total {
		t.Fatalf("%s: parts add up to %d, total is %d (low %d)", what, sum, r.PerGPU.Total, r.PerGPU.TotalLow)
	}
	if r.GPUs != r.TensorParallel*r.PipelineParallel*r.DataParallel {
		t.Fatalf("%s: %d GPUs are not TP %d x PP %d x DP %d", what, r.GPUs, r.TensorParallel, r.PipelineParallel, r.DataParallel)
	}
	if r.Verdict == "" || len(r.Reasons) == 0 {
		t.Fatalf("%s: verdict %q for %v", what, r.Verdict, r.Reasons)
	}
}

// The parts of every sum add up, for every model on every instance type.
func TestEverySumAddsUp(t *testing.T) {
	for _, p := range presets.All() {
		for _, i := range sku.All() {
			sumsUp(t, p.Name()+" on "+i.Name, fit.Serve(p.Model, i, fit.Serving{}))
			sumsUp(t, "tuning "+p.Name()+" on "+i.Name, fit.Tune(p.Model, i, fit.Tuning{}))
		}
	}
}

// More context never needs less memory and never turns no into fits.
func TestMoreContextNeverNeedsLess(t *testing.T) {
	for _, p := range presets.All() {
		for _, name := range []string{"Standard_NV36ads_A10_v5", "Standard_NC24ads_A100_v4", "Standard_NC96ads_A100_v4", "Standard_ND96isr_H200_v5"} {
			i := instance(t, name)
			serve := func(context int) fit.Report {
				return fit.Serve(p.Model, i, fit.Serving{Context: context, Nodes: 1, TensorParallel: 1})
			}
			tune := func(length int) fit.Report { return fit.Tune(p.Model, i, fit.Tuning{SequenceLength: length}) }
			for _, judge := range []func(int) fit.Report{serve, tune} {
				before := judge(512)
				for length := 1024; int64(length) <= p.Model.MaxContext; length *= 2 {
					r := judge(length)
					if r.PerGPU.Total < before.PerGPU.Total {
						t.Errorf("%s on %s: %d tokens need %d bytes, half of them %d", p.Name(), name, length, r.PerGPU.Total, before.PerGPU.Total)
					}
					if rank[r.Verdict] > rank[before.Verdict] {
						t.Errorf("%s on %s: %d tokens: %s, half of them: %s", p.Name(), name, length, r.Verdict, before.Verdict)
					}
					before = r
				}
			}
		}
	}
}

// A GPU with more memory, all else equal, never makes a verdict worse.
func TestBiggerGPUNeverHurts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, p := range presets.All() {
		for range 40 {
			i := instance(t, "Standard_NC96ads_A100_v4")
			i.MemoryMiB = 8<<10 + random.Int64N(200<<10)
			i.GPUs = 1 << random.IntN(4)
			bigger := i
			bigger.MemoryMiB += random.Int64N(64 << 10)
			s := fit.Serving{Nodes: 1 + random.IntN(3), Context: random.IntN(2) * 4096, BatchTokens: 4096, Sequences: 256}
			tuning := fit.Tuning{SequenceLength: 1 << random.IntN(15)}
			for what, pair := range map[string][2]fit.Report{
				"serving": {fit.Serve(p.Model, i, s), fit.Serve(p.Model, bigger, s)},
				"tuning":  {fit.Tune(p.Model, i, tuning), fit.Tune(p.Model, bigger, tuning)},
			} {
				if rank[pair[1].Verdict] < rank[pair[0].Verdict] {
					t.Fatalf("%s %s: %d MiB: %s, %d MiB: %s", what, p.Name(), i.MemoryMiB, pair[0].Verdict, bigger.MemoryMiB, pair[1].Verdict)
				}
			}
		}
	}
}

// Among real GPUs too, whose runtime takes larger batches by default where there
// is more memory: a node with as many GPUs, each with more memory and no older,
// never turns fits into no.
func TestBiggerRealGPUNeverHurts(t *testing.T) {
	compared := 0
	sizes := distinctSizes()
	for _, small := range sizes {
		for _, big := range sizes {
			if big.MemoryMiB <= small.MemoryMiB || big.GPUs != small.GPUs || big.Capability.Less(small.Capability) || small.Vendor != big.Vendor {
				continue
			}
			compared++
			for _, p := range presets.All() {
				for what, pair := range map[string][2]fit.Report{
					"serving": {fit.Serve(p.Model, small, fit.Serving{Nodes: 1}), fit.Serve(p.Model, big, fit.Serving{Nodes: 1})},
					"tuning":  {fit.Tune(p.Model, small, fit.Tuning{}), fit.Tune(p.Model, big, fit.Tuning{})},
				} {
					if pair[0].Verdict == v1alpha1.Fits && pair[1].Verdict == v1alpha1.No {
						t.Errorf("%s %s: fits %s, and not %s: %v", what, p.Name(), small.Name, big.Name, pair[1].Reasons)
					}
				}
			}
		}
	}
	t.Logf("%d pairs", compared)
	if compared < 20 {
		t.Errorf("%d pairs of sizes were compared", compared)
	}
}

// distinctSizes are the types that can be had, one for each GPU and number of them.
func distinctSizes() []sku.Instance {
	var sizes []sku.Instance
	seen := map[string]bool{}
	for _, i := range sku.All() {
		key := fmt.Sprint(i.GPU, i.GPUs)
		if i.MemoryMiB > 0 && i.Schedulable() == nil && !seen[key] {
			seen[key] = true
			sizes = append(sizes, i)
		}
	}
	return sizes
}

// The longest context that a report names does fit.
func TestLongestContextFits(t *testing.T) {
	for _, p := range presets.All() {
		for _, i := range sku.All() {
			if r := fit.Serve(p.Model, i, fit.Serving{Nodes: 1}); r.Works() && r.MaxContext > 0 {
				again := fit.Serve(p.Model, i, fit.Serving{Nodes: 1, Context: int(r.MaxContext)})
				if !again.Works() {
					t.Errorf("%s on %s: %d tokens were said to fit: %v", p.Name(), i.Name, r.MaxContext, again.Reasons)
				}
			}
			if r := fit.Tune(p.Model, i, fit.Tuning{}); r.Works() && r.MaxContext > 0 {
				again := fit.Tune(p.Model, i, fit.Tuning{SequenceLength: int(r.MaxContext)})
				if again.Verdict != v1alpha1.Fits {
					t.Errorf("tuning %s on %s: %d tokens were said to fit: %v", p.Name(), i.Name, r.MaxContext, again.Reasons)
				}
			}
		}
	}
}

// FuzzShapes feeds shapes nobody has ever published: no panic, no overflow.
func FuzzShapes(f *testing.F) {
	f.Add(int64(16<<30), 32, 4096, 14336, 128256, 32, 8, 128, 0, 0, 2, int64(131072), 4096, 8)
	f.Add(int64(math.MaxInt64), math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt, 1, math.MaxInt, 0, 0, 1, int64(math.MaxInt64), math.MaxInt, 16)
	f.Add(int64(641<<30), 61, 7168, 0, 0, 128, 0, 0, 512, 64, 0, int64(163840), 0, 1)
	f.Add(int64(-1), -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, int64(-1), -1, -1)
	f.Fuzz(func(t *testing.T, weights int64, layers, hidden, wide, words, heads, kv, dim, lora, rope, embeddings int, longest int64, context, gpus int) {
		m := fit.Model{
			Name: "m", WeightBytes: weights, Kind: fit.Dense, Layers: layers, Hidden: hidden, Intermediate: wide, Vocab: words, Heads: heads,
			KVHeads: kv, HeadDim: dim, KVLoraRank: lora, RopeDim: rope, Embeddings: embeddings, MaxContext: longest,
			SlidingLayers: layers / 2, Window: wide,
		}
		i := sku.Instance{Name: "i", GPU: "A100-80GB", GPUs: min(max(gpus, 0), 64), MemoryMiB: 81920, BF16: true, Status: sku.Available}
		for what, r := range map[string]fit.Report{
			"serving": fit.Serve(m, i, fit.Serving{Context: context}),
			"tuning":  fit.Tune(m, i, fit.Tuning{SequenceLength: context, Rank: kv}),
		} {
			for _, b := range []int64{r.PerGPU.Total, r.PerGPU.TotalLow, r.KVTokens, r.MaxContext, r.MaxBatch, r.Context} {
				if b < 0 {
					t.Fatalf("%s: a negative amount in %+v", what, r)
				}
			}
			if r.Sum() == "" && r.Works() {
				t.Fatalf("%s: %s without a sum", what, r.Verdict)
			}
		}
	})
}

// BenchmarkComparison is `espalier fit --all` for every model: 60 models on
// every instance type, served and tuned.
func BenchmarkComparison(b *testing.B) {
	models, instances := presets.All(), sku.All()
	b.ReportMetric(float64(len(models)*len(instances)*2), "verdicts/op")
	for b.Loop() {
		for _, p := range models {
			for _, i := range instances {
				fit.Serve(p.Model, i, fit.Serving{})
				fit.Tune(p.Model, i, fit.Tuning{})
			}
		}
	}
}
