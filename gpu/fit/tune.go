// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"math"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Tuning says how an adapter is to be trained. Zero values mean the stated defaults.
type Tuning struct {
	// Method is qlora (default) or lora.
	Method v1alpha1.TuningMethod
	// SequenceLength in tokens (default 2048) and MicroBatch, the sequences of
	// one step on one GPU (default 1).
	SequenceLength, MicroBatch int
	// Rank of the adapter (default 16) and the matrices it adapts by their
	// names in the model ("q_proj", …); empty: every matrix of a layer.
	Rank          int
	TargetModules []string
	// Optimizer32Bit keeps both moments in float32, 8 bytes a parameter in place of 2.
	Optimizer32Bit bool
	// NoCheckpointing keeps every activation instead of computing it again.
	NoCheckpointing bool
	// FusedLoss computes the loss in pieces (cut cross-entropy, as in Axolotl's
	// plugin and Unsloth): no logits are kept and embeddings stay in 16 bit.
	FusedLoss bool
	// Recast puts words, head and norms back to 16 bit after PEFT has raised them to
	// 32, and the residual stream with them, as Axolotl does for every adapter
	// (loaders/model.py, _configure_embedding_dtypes).
	Recast bool
	// DoRA trains the length of each column of a matrix apart from its direction
	// (LoraConfig.use_dora).
	DoRA bool
	// SingleQuantization leaves the quantisation constants of NF4 in float32.
	SingleQuantization bool
	// EvalBatch are the sequences of a step of the evaluation on one GPU, 0 where
	// nothing is held out. Tasks says that benchmarks are run in steps of as many.
	EvalBatch int
	Tasks     bool
	// Nodes is the number of nodes, 0 for 1. Every GPU holds a whole copy.
	Nodes int
	// Image is what the runtime's image demands.
	Image Image
}

// Constants of tuning (gpu.md 5.2); those marked in-sample were fitted on the
// rows of testdata/measurements.yaml that say so.
const (
	// nf4Double and nf4Single are the bytes of an NF4 parameter with its
	// quantisation constants, with and without double quantisation.
	nf4Double, nf4Single = (4 + 0.127) / 8, (4 + 0.5) / 8
	// runtimeMemory is the CUDA context with cuBLAS and bitsandbytes.
	runtimeMemory = 0.9 * gib
	// allocatorShare is what the caching allocator and quantisation states add
	// to everything that stays (in-sample).
	allocatorShare = 0.07
	// logitBytes a token and word: 12 are alive at the peak (measured: float32 logits,
	// log-softmax and gradient), and the caching allocator, which gets them in pieces
	// of a GiB and more, holds 16. With less than that runs end out of memory.
	logitBytes = 16
	// headCopies of the last hidden state in float32 are alive with the logits.
	headCopies = 4
	// doraMatrix bytes for each parameter of the widest matrix are alive while its columns
	// are measured: its product of the adapter in 16 and in 32 bit, the matrix in both, and
	// their sum (PEFT, tuners/lora/dora.py; 18 to 20). doraOutput bytes a token and output of
	// a matrix are kept of a layer for the way back: what the matrix and what the adapter
	// gave, in 32 bit.
	doraMatrix, doraOutput = 20, 8
	// SafetyMargin is what a fit must leave free to be called one: the
	// estimate's error on published measurements is below it.
	SafetyMargin = 0.15
)

// Tune judges tuning on nodes of one type: every GPU trains a whole copy on
// its own part of the data.
func Tune(m Model, i sku.Instance, t Tuning) Report {
	t = t.defaults()
	r := Report{Nodes: t.Nodes, TensorParallel: 1, PipelineParallel: 1, DataParallel: max(1, i.GPUs) * t.Nodes}
	r.GPUs = r.DataParallel
	if i.MIG != "" {
		r.DataParallel, r.GPUs = t.Nodes, t.Nodes
	}
	r.admit(Model{Name: m.Name, NoFloat16: m.NoFloat16}, i, t.Image)
	if err := m.Validate(); err != nil {
		return r.unknown(CodeShapeInvalid, "the shape of %s is wrong: %s", m.Name, err)
	}
	if why := m.NotTunable(); why != "" {
		return r.unknown(CodeNotModelled, "%s", why)
	}
	if names := m.MissingToTune(); len(names) > 0 {
		return r.unknown(CodeShapeUnknown, "the shape of %s is not known: %s", m.Name, list(names))
	}
	width, err := m.adapterWidth(t.TargetModules)
	if err != nil {
		return r.unknown(CodeNotModelled, "%s", err)
	}
	if i.GPUs == 0 || i.MemoryMiB == 0 {
		return r.unknown(CodeMemoryUnknown, "what the driver reports as the memory of %s on %s is not known", i.Chip(), i.Name)
	}
	if int64(t.SequenceLength) > m.MaxContext {
		r.Blocked = true
		r.because(CodeContextOfModel, "%s tokens are more than the %s that %s was made for", Thousands(int64(t.SequenceLength)), Thousands(m.MaxContext), m.Name)
	}
	run := t.sum(m, width, r.DataParallel)
	r.Context = int64(t.SequenceLength)
	r.PerGPU = run.memory(t)
	r.PerGPU.Budget = i.MemoryBytes()
	r.MaxContext = min(run.tokens(r.PerGPU.Budget)/int64(t.MicroBatch), m.MaxContext)
	r.MaxBatch = run.tokens(r.PerGPU.Budget) / int64(t.SequenceLength)
	r.scored(m, t, run)
	r.judgeTuning(t)
	return r.decide()
}

func (t Tuning) defaults() Tuning {
	if t.Method == "" {
		t.Method = v1alpha1.QLoRA
	}
	for _, d := range []struct {
		value *int
		zero  int
	}{{&t.SequenceLength, 2048}, {&t.MicroBatch, 1}, {&t.Rank, 16}, {&t.Nodes, 1}} {
		if *d.value <= 0 {
			*d.value = d.zero
		}
	}
	return t
}

// NotTunable says why no formula here covers tuning the model, "" when one does.
func (m Model) NotTunable() string {
	switch {
	case m.Kind == MoE:
		return fmt.Sprintf("%s is a mixture of experts: how much memory tuning it takes is not known here", m.Name)
	case m.Quantization != "":
		return fmt.Sprintf("the weights of %s are published in %s only: tuning starts from 16-bit weights", m.Name, m.Quantization)
	case m.StateLayers > 0 || m.UpperBound || m.latent():
		return fmt.Sprintf("%s has layers of another kind than attention: how much memory tuning it takes is not known here", m.Name)
	}
	return ""
}

// run is a tuning run on one GPU in bytes: what stays, and what a token takes
// at the peak of a step.
type run struct {
	weights, adapter, optimizer, overhead float64
	// kept, block and logits a token: checkpointed activations, the widest
	// layer while it is computed again, the logits at the loss.
	kept, block, logits float64
	// matrix is alive with the layer, whatever its tokens.
	matrix float64
}

// sum of a run whose adapter so many GPUs train together.
func (t Tuning) sum(m Model, width float64, copies int) run {
	layers, hidden := float64(m.Layers), float64(m.Hidden)
	words := float64(m.Embeddings) * float64(m.Vocab) * hidden
	// What the matrices do not explain (an image encoder) is not quantised.
	words += math.Max(0, float64(m.WeightBytes)/2-m.Params())
	lora := layers * float64(t.Rank) * width
	var u run
	// peft.prepare_model_for_kbit_training keeps what is not quantised in
	// float32, and with it the residual stream, unless what comes after puts it back;
	// a fused loss needs it in 16 bit.
	stream := 2.0
	switch {
	case t.Method == v1alpha1.LoRA:
		u.weights = float64(m.WeightBytes)
	case t.FusedLoss || t.Recast:
		u.weights = layers*m.linearPerLayer()*t.nf4() + words*2
	default:
		u.weights = layers*m.linearPerLayer()*t.nf4() + words*4
		stream = 4
	}
	u.adapter = lora * 4
	moments := 2.0
	if t.Optimizer32Bit {
		moments = 8
	}
	u.optimizer = lora * (4 + moments)
	if copies > 1 {
		// Gradients are gathered in buckets of the same size.
		u.optimizer += lora * 4
	}
	fixed := runtimeMemory
	if t.Method == v1alpha1.QLoRA {
		fixed += 2 * hidden * m.widestMatrix()
	}
	u.overhead = fixed + allocatorShare*(u.weights+u.adapter+u.optimizer+fixed)
	u.block = 2 * (10*hidden + 4*m.queryWidth() + 6*float64(m.Intermediate))
	if t.DoRA {
		u.block += doraOutput * (m.queryWidth() + 2*m.kvWidth() + 2*hidden + 2*float64(m.Intermediate))
		u.matrix = doraMatrix * hidden * m.widestMatrix()
	}
	u.kept = layers * hidden * stream
	if t.NoCheckpointing {
		u.kept = layers * u.block
	}
	if !t.FusedLoss {
		u.logits = math.Max(logitBytes*float64(m.Vocab)+headCopies*4*hidden, t.judged(m))
	}
	return u
}

func (t Tuning) nf4() float64 {
	if t.SingleQuantization {
		return nf4Single
	}
	return nf4Double
}

// widestMatrix is the output width of the matrix that takes the most room when
// NF4 is turned back into 16 bit.
func (m Model) widestMatrix() float64 {
	if m.FusedProjections {
		return 2 * float64(m.Intermediate)
	}
	return float64(m.Intermediate)
}

// memory is the sum at the peak of a step. The logits are gone before a layer
// is computed again, so the larger of the two counts: as logits, and what a
// layer takes beyond them as activations.
func (u run) memory(t Tuning) Memory {
	tokens := float64(t.SequenceLength) * float64(t.MicroBatch)
	p := Memory{
		Weights: size(u.weights), Adapter: size(u.adapter), Optimizer: size(u.optimizer), Overhead: size(u.overhead),
		Activation: size(tokens*u.kept + math.Max(0, tokens*(u.block-u.logits)+u.matrix)),
		Logits:     size(tokens * u.logits),
	}
	p.add()
	return p
}

// tokens is the largest step that fits the budget with the safety margin.
func (u run) tokens(budget int64) int64 {
	stays := u.weights + u.adapter + u.optimizer + u.overhead
	free := float64(budget)/(1+SafetyMargin) - stays
	if free <= 0 {
		return 0
	}
	return size(math.Max(0, math.Min(free/(u.kept+u.logits), (free-u.matrix)/(u.kept+u.block))))
}

func (r *Report) judgeTuning(t Tuning) {
	p := r.PerGPU
	switch {
	case p.Total > p.Budget:
		r.Verdict = v1alpha1.No
		r.because(CodeMemory, "tuning needs %s GiB a GPU and it has %s GiB: %s", GiB(p.Total), GiB(p.Budget), r.Sum())
		if r.MaxContext > 0 {
			r.because(CodeContext, "sequences of %s tokens would fit", Thousands(r.MaxContext))
		}
	case float64(p.Total)*(1+SafetyMargin) > float64(p.Budget):
		r.Verdict = v1alpha1.Tight
		r.because(CodeMargin, "%s of %s GiB is within the margin of %.0f %% of the estimate; sequences of %s tokens leave it", GiB(p.Total), GiB(p.Budget), SafetyMargin*100, Thousands(r.MaxContext))
	default:
		r.Verdict = v1alpha1.Fits
		r.because(CodeFits, "%s", r.Sum())
	}
	if t.Nodes > 1 {
		r.because(CodeMultiNode, "%d nodes train copies of the adapter together", t.Nodes)
	}
}
