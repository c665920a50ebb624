// SPDX-License-Identifier: Apache-2.0

package fit

import (
	"fmt"
	"slices"
	"sort"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Image is what a runtime image demands of a node. Zero fields demand nothing.
type Image struct {
	// Name is used in sentences: "vllm 0.26.0 (CUDA 13.0)".
	Name string
	// MinDriver is the lowest NVIDIA driver branch its CUDA runs on: CUDA 13
	// needs 580, CUDA 12.x needs 525 (gpu.md 1.7, peers.md 3.1 and 4.3).
	MinDriver int
	// MinCapability is the oldest GPU its kernels are built for: CUDA 13 dropped
	// everything below 7.5.
	MinCapability sku.Capability
	// Arch lists the CPUs it is built for.
	Arch []string
}

// dtypes the runtime is told.
const (
	bfloat16 = "bfloat16"
	float16  = "float16"
)

// quantization says from which capability on the runtime runs weights of a
// kind, and from which one the GPU computes in it.
type quantization struct{ runs, native sku.Capability }

// quantizations follow vLLM's pages on quantisation (docs.vllm.ai v0.32.0: FP8
// from 8.9, as weight-only Marlin from 7.5; v0.14.0 table: AWQ from 7.5, Marlin
// from 8.0). A weight-only kernel keeps the weights small and computes in 16 bit.
var quantizations = map[string]quantization{
	"fp8":                  {runs: sku.Capability{Major: 7, Minor: 5}, native: sku.Capability{Major: 8, Minor: 9}},
	"float-quantized":      {runs: sku.Capability{Major: 7, Minor: 5}, native: sku.Capability{Major: 8, Minor: 9}},
	"mxfp4":                {runs: sku.Capability{Major: 8}, native: sku.Capability{Major: 10}},
	"nvfp4-pack-quantized": {runs: sku.Capability{Major: 8}, native: sku.Capability{Major: 10}},
	"awq":                  {runs: sku.Capability{Major: 7, Minor: 5}},
}

// admit records what about the node itself, not its memory, decides: cheapest
// explanation first.
func (r *Report) admit(m Model, i sku.Instance, img Image) {
	block := func(code, format string, args ...any) {
		r.Blocked = true
		r.because(code, format, args...)
	}
	if err := i.Schedulable(); err != nil {
		code := CodeNotSchedulable
		if i.Status == sku.Retired {
			code = CodeRetired
		}
		block(code, "%s", err)
	}
	if len(img.Arch) > 0 && i.Arch != "" && !slices.Contains(img.Arch, i.Arch) {
		block(CodeArch, "%s has %s processors; the image %s is built for %s", i.Name, i.Arch, img.Name, list(img.Arch))
	}
	if img.MinCapability.Known() && i.Vendor == sku.AMD {
		block(CodeVendor, "%s has AMD GPUs (%s); the image %s is built for CUDA", i.Name, i.Chip(), img.Name)
	}
	if img.MinCapability.Known() && i.Capability.Known() && i.Capability.Less(img.MinCapability) {
		block(CodeCapability, "%s has compute capability %s; the image %s needs %s or newer", i.Chip(), i.Capability, img.Name, img.MinCapability)
	}
	r.admitDriver(i, img, block)
	r.admitType(m, i, block)
}

func (r *Report) admitDriver(i sku.Instance, img Image, block func(string, string, ...any)) {
	if img.MinDriver == 0 || i.Vendor == sku.AMD {
		return
	}
	switch branch := i.DriverBranch(); {
	case branch == 0 && i.OwnDriver:
		r.because(CodeDriverUnknown, "nobody says which driver the nodes have; the image %s needs branch %d or newer", img.Name, img.MinDriver)
	case branch == 0:
		r.because(CodeDriverUnknown, "the driver of %s is not known here; the image %s needs branch %d or newer", i.Name, img.Name, img.MinDriver)
	case branch < img.MinDriver && i.OwnDriver:
		block(CodeDriver, "the driver of the nodes is %s; the image %s needs branch %d or newer", i.Driver, img.Name, img.MinDriver)
	case branch < img.MinDriver:
		block(CodeDriver, "AKS installs driver %s on %s; the image %s needs branch %d or newer", i.Driver, i.Name, img.Name, img.MinDriver)
	}
}

// admitType chooses the data type and checks the kind of the weights.
func (r *Report) admitType(m Model, i sku.Instance, block func(string, string, ...any)) {
	r.DType = bfloat16
	if !i.BF16 {
		r.DType = float16
		switch {
		case m.NoFloat16:
			block(CodeFloat16Refused, "%s has no bfloat16 and %s overflows in float16", i.Chip(), m.Name)
		default:
			r.because(CodeFloat16, "%s has no bfloat16: the runtime is told float16", i.Chip())
		}
	}
	q, ok := quantizations[m.Quantization]
	if !ok || !i.Capability.Known() {
		return
	}
	switch {
	case i.Capability.Less(q.runs):
		block(CodeQuantization, "%s (compute capability %s) cannot run %s weights: %s or newer can", i.Chip(), i.Capability, m.Quantization, q.runs)
	case q.native.Known() && i.Capability.Less(q.native):
		r.because(CodeEmulated, "%s has no %s arithmetic: the weights stay small and are computed in 16 bit, which is slower", i.Chip(), m.Quantization)
	}
}

// unknown ends a report that cannot be summed; what blocks the node stays the
// stronger verdict.
func (r Report) unknown(code, format string, args ...any) Report {
	r.Reasons = append(r.Reasons, Reason{Code: code, Message: fmt.Sprintf(format, args...)})
	r.Verdict = v1alpha1.Unknown
	return r.decide()
}

// decide turns the verdict into No where the node is out of the question, and
// puts what decided it first.
func (r Report) decide() Report {
	if r.Blocked {
		r.Verdict = v1alpha1.No
		for n := range r.Reasons {
			if r.Reasons[n].Code == CodeFits {
				r.Reasons[n] = Reason{Code: CodeMemoryEnough, Message: "its memory would be enough: " + r.Reasons[n].Message}
			}
		}
	}
	sort.SliceStable(r.Reasons, func(a, b int) bool { return weight(r.Reasons[a].Code) < weight(r.Reasons[b].Code) })
	return r
}

// weight orders reasons: what about the node decides, what about the memory
// decides, what is good to know.
func weight(code string) int {
	switch code {
	case CodeRetired, CodeNotSchedulable, CodeArch, CodeVendor, CodeCapability, CodeDriver,
		CodeQuantization, CodeFloat16Refused, CodeContextOfModel:
		return 0
	case CodeFits, CodeMargin, CodeCacheSmall, CodeWeights, CodeContext, CodeMemory,
		CodeMemoryUnknown, CodeShapeUnknown, CodeShapeInvalid, CodeNotModelled:
		return 1
	}
	return 2
}
