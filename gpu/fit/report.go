// SPDX-License-Identifier: Apache-2.0

// Package fit says whether a model fits GPUs, before anyone pays for them, and
// shows its sum: weights, cache, activations and overhead of inference with
// vLLM; base, adapter, optimizer, activations and logits of tuning with QLoRA
// and LoRA.
//
// It is arithmetic over facts that are given to it. Where a fact is unknown the
// verdict is Unknown and the reason names it; where a constant is not exact it
// is a range, fitted on the in-sample rows of testdata/measurements.yaml and
// checked on the others. It never asks a network, a clock or a cluster.
package fit

import (
	"fmt"
	"math"
	"strings"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// gib is one GiB in bytes.
const gib = 1 << 30

// Codes of reasons.
const (
	CodeRetired        = "Retired"           // no node of the type can be created
	CodeNotSchedulable = "NotSchedulable"    // listed and never chosen
	CodeArch           = "ArchMismatch"      // the image is not built for the CPU
	CodeVendor         = "GPUVendorMismatch" // a CUDA image on a GPU that is not NVIDIA's
	CodeCapability     = "CapabilityTooLow"  // the GPU is too old for the image
	CodeDriver         = "DriverTooOld"      // the node's driver is too old for the image
	CodeDriverUnknown  = "DriverUnknown"     // the node's driver is not known here
	CodeQuantization   = "QuantizationUnsupported"
	CodeEmulated       = "QuantizationEmulated" // weights stay small, arithmetic is in 16 bit
	CodeFloat16        = "Float16"              // float16 in place of bfloat16
	CodeFloat16Refused = "Float16Unsupported"   // the model overflows in float16
	CodeMemoryUnknown  = "GPUMemoryUnknown"
	CodeShapeUnknown   = "ModelShapeUnknown"
	CodeShapeInvalid   = "ModelShapeInvalid"
	CodeNotModelled    = "NotModelled"      // no formula here covers it
	CodeWeights        = "WeightsTooLarge"  // the model alone is too big
	CodeContext        = "ContextTooLong"   // the model fits, the requested context does not
	CodeContextOfModel = "ContextOverModel" // longer than the model was made for
	CodeContextLimited = "ContextLimited"   // shorter than the model's own
	CodeCacheSmall     = "CacheSmall"       // the cache left is small for the budget
	CodeUpperBound     = "CacheUpperBound"
	CodeMargin         = "WithinMargin" // fits by less than the estimate's margin
	CodeMemory         = "MemoryTooSmall"
	CodeTasks          = "TasksLarger" // benchmarks take more memory than the training
	CodeMultiNode      = "MultiNode"
	CodeTooManyNodes   = "TooManyNodes"
	CodeHeads          = "HeadsIndivisible" // GPUs stay idle
	CodeFits           = "Fits"
	CodeMemoryEnough   = "MemoryEnough" // and something else says no
	CodeRecurrentState = "RecurrentState"
	CodeSlice          = "SliceAlone" // MIG slices cannot work on one model
)

// Reason is one thing that decided or limits a verdict.
type Reason struct {
	// Code is one of the Code constants.
	Code string `json:"code"`
	// Message is one sentence for a reviewer.
	Message string `json:"message"`
}

// Memory is the sum of one GPU, in bytes. The parts add up to Total.
type Memory struct {
	// Budget is what the runtime may use of the GPU.
	Budget int64 `json:"budgetBytes"`
	// Weights as loaded.
	Weights int64 `json:"weightsBytes"`
	// KVCache of one request of the judged context.
	KVCache int64 `json:"kvCacheBytes"`
	// Adapter, Optimizer (with gradients) and Logits of tuning; Adapter also of
	// adapters that are served.
	Adapter   int64 `json:"adapterBytes"`
	Optimizer int64 `json:"optimizerBytes"`
	Logits    int64 `json:"logitsBytes"`
	// Activation is the peak of intermediate results.
	Activation int64 `json:"activationBytes"`
	// Overhead is the pessimistic end of what the driver, the runtime, graphs,
	// communication and the allocator take.
	Overhead int64 `json:"overheadBytes"`
	// Total of the parts, and the optimistic end of the estimate.
	Total    int64 `json:"totalBytes"`
	TotalLow int64 `json:"totalLowBytes"`
}

func (m *Memory) add() {
	m.Total = m.Weights + m.KVCache + m.Adapter + m.Optimizer + m.Logits + m.Activation + m.Overhead
	if m.TotalLow == 0 || m.TotalLow > m.Total {
		m.TotalLow = m.Total
	}
}

// Part is one labelled part of a Memory.
type Part struct {
	Name  string
	Bytes int64
}

// Parts lists the parts that are not zero, in the order they are shown.
func (m Memory) Parts() []Part {
	all := []Part{
		{"weights", m.Weights}, {"adapter", m.Adapter}, {"optimizer", m.Optimizer}, {"KV cache", m.KVCache},
		{"activations", m.Activation}, {"logits", m.Logits}, {"overhead", m.Overhead},
	}
	parts := all[:0]
	for _, p := range all {
		if p.Bytes > 0 {
			parts = append(parts, p)
		}
	}
	return parts
}

// Report is the verdict on one model, one instance type and one task.
type Report struct {
	// Verdict, and what decided it, most important first.
	Verdict v1alpha1.Verdict
	Reasons []Reason
	// Nodes needed; GPUs used on all of them; and how the model is spread over
	// them: GPUs = TensorParallel x PipelineParallel x DataParallel.
	Nodes, GPUs                                    int
	TensorParallel, PipelineParallel, DataParallel int
	// PerGPU is the sum of the fullest GPU.
	PerGPU Memory
	// KVTokens is the capacity of one copy's cache in tokens, as the runtime
	// reports it. MaxContext is the longest request, or training sequence, that
	// fits; MaxBatch the largest micro batch of tuning.
	KVTokens, MaxContext, MaxBatch int64
	// Context is the number of tokens that PerGPU was summed for.
	Context int64
	// DType is what the runtime is told: "bfloat16" or "float16".
	DType string
	// Blocked says that no memory could help: retired, wrong driver, wrong chip.
	Blocked bool
}

// Works says whether the verdict is Fits or Tight.
func (r Report) Works() bool { return r.Verdict == v1alpha1.Fits || r.Verdict == v1alpha1.Tight }

// Sum shows the sum of one GPU in one line: "weights 2.1 + adapter 0.1 = 2.2 of
// 15.0 GiB". The rounded parts add up to the rounded total.
func (r Report) Sum() string {
	parts := r.PerGPU.Parts()
	if len(parts) == 0 || r.PerGPU.Budget == 0 {
		return ""
	}
	rounded := Rounded(parts)
	var b strings.Builder
	for n, p := range parts {
		if n > 0 {
			b.WriteString(" + ")
		}
		fmt.Fprintf(&b, "%s %s", p.Name, rounded[n])
		if p.Name == "KV cache" {
			fmt.Fprintf(&b, " (%s tokens)", Thousands(r.Context))
		}
	}
	fmt.Fprintf(&b, " = %s of %s GiB", GiB(r.PerGPU.Total), GiB(r.PerGPU.Budget))
	return b.String()
}

// Rounded is each part in GiB with one decimal, so that the rounded parts add up
// to the rounded total: the largest remainders are rounded up.
func Rounded(parts []Part) []string {
	var total, floor int64
	tenths := make([]int64, len(parts))
	rest := make([]float64, len(parts))
	for n, p := range parts {
		total += p.Bytes
		exact := float64(p.Bytes) * 10 / gib
		tenths[n] = int64(exact)
		rest[n] = exact - math.Floor(exact)
		floor += tenths[n]
	}
	want := int64(math.Round(float64(total) * 10 / gib))
	for ; floor < want; floor++ {
		largest := 0
		for n := range rest {
			if rest[n] > rest[largest] {
				largest = n
			}
		}
		tenths[largest]++
		rest[largest] = -1
	}
	rounded := make([]string, len(parts))
	for n, t := range tenths {
		rounded[n] = fmt.Sprintf("%.1f", float64(t)/10)
	}
	return rounded
}

// GiB is a size in GiB with one decimal, without the unit.
func GiB(b int64) string { return fmt.Sprintf("%.1f", math.Round(float64(b)*10/gib)/10) }

// Thousands writes 131072 as "131,072".
func Thousands(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// because adds a reason.
func (r *Report) because(code, format string, args ...any) {
	r.Reasons = append(r.Reasons, Reason{Code: code, Message: fmt.Sprintf(format, args...)})
}

// size turns a computed number of bytes into an int64 that can be added up
// without overflow, whatever shape was given.
func size(bytes float64) int64 {
	const limit = 1 << 56
	switch {
	case math.IsNaN(bytes) || bytes < 0:
		return 0
	case bytes > limit:
		return limit
	}
	return int64(bytes)
}

// Alternative is an instance type that works, and what it costs.
type Alternative struct {
	Instance sku.Instance
	Report   Report
	// HourlyUSD is the list price of all nodes.
	HourlyUSD float64
}

// String says it in one sentence for a message.
func (a Alternative) String() string {
	nodes := ""
	if a.Report.Nodes > 1 {
		nodes = fmt.Sprintf(" on %d nodes", a.Report.Nodes)
	}
	return fmt.Sprintf("%s works%s: %s with %s, $%.4g/h", a.Instance.Name, nodes, a.Report.Verdict, a.Report.Sum(), a.HourlyUSD)
}
