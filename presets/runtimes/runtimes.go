// SPDX-License-Identifier: Apache-2.0

// Package runtimes is the catalogue of the software that runs a task: its image
// by digest (pins.yaml), what the image demands of a node, and the Kustomize
// base its objects are rendered from (NAME/VERSION).
//
// It chooses nothing for a Workspace beyond the newest version that a driver
// runs, and it never asks a registry.
package runtimes

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Tasks of runtimes.
const (
	Inference = "inference"
	Tuning    = "tuning"
)

// Names of the runtimes.
const (
	VLLM    = "vllm"
	Axolotl = "axolotl"
	// KAITO is KAITO's base image, which has no pin: the spec names the image. It
	// serves with the vLLM in it and tunes with KAITO's trainer; KAITOTransformers
	// serves with KAITO's program around Hugging Face's transformers.
	KAITO             = v1alpha1.RuntimeKAITO
	KAITOTransformers = "kaito-transformers"
)

// Runtime is one version of the software that runs a task, in one image.
type Runtime struct {
	// Name and Version, as spec.runtime spells them.
	Name, Version string
	// Task is Inference or Tuning.
	Task string
	// Image by digest.
	Image string
	// CUDA is the version the image is built with.
	CUDA string
	// Requires is what the image demands of a node.
	Requires fit.Image
	// Sources of the facts.
	Sources []string
}

//go:embed pins.yaml arguments schemas vllm axolotl kaito kaito-transformers transformers pod
var files embed.FS

// pin is an entry of pins.yaml.
type pin struct {
	Name          string   `json:"name"`
	Version       string   `json:"version"`
	Task          string   `json:"task"`
	Image         string   `json:"image"`
	CUDA          string   `json:"cuda"`
	MinDriver     int      `json:"minDriver"`
	MinCapability string   `json:"minCapability"`
	Architectures []string `json:"architectures,omitempty"`
	Sources       []string `json:"sources"`
}

// catalogue panics on a malformed pins.yaml: it is part of the binary and a
// test loads it.
var catalogue = sync.OnceValue(func() []Runtime {
	all, err := load()
	if err != nil {
		panic("presets/runtimes: " + err.Error())
	}
	return all
})

func load() ([]Runtime, error) {
	text, err := files.ReadFile("pins.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading pins: %w", err)
	}
	return decode(text)
}

func decode(text []byte) ([]Runtime, error) {
	var doc struct {
		Runtimes []pin `json:"runtimes"`
	}
	if err := yaml.UnmarshalStrict(text, &doc); err != nil {
		return nil, fmt.Errorf("parsing pins.yaml: %w", err)
	}
	all := make([]Runtime, 0, len(doc.Runtimes))
	for _, p := range doc.Runtimes {
		r, err := p.runtime()
		if err != nil {
			return nil, fmt.Errorf("reading pin %s %s: %w", p.Name, p.Version, err)
		}
		all = append(all, r)
	}
	return all, nil
}

func (p pin) runtime() (Runtime, error) {
	capability, err := parseCapability(p.MinCapability)
	switch {
	case err != nil:
		return Runtime{}, err
	case !strings.Contains(p.Image, "@sha256:"):
		return Runtime{}, fmt.Errorf("image %q has no digest", p.Image)
	case p.Task != Inference && p.Task != Tuning:
		return Runtime{}, fmt.Errorf("task is %q: inference or tuning", p.Task)
	}
	return Runtime{
		Name: p.Name, Version: p.Version, Task: p.Task, Image: p.Image, CUDA: p.CUDA, Sources: p.Sources,
		Requires: fit.Image{
			Name: p.Name + " " + p.Version + " (CUDA " + p.CUDA + ")", MinDriver: p.MinDriver, MinCapability: capability, Arch: p.Architectures,
		},
	}, nil
}

func parseCapability(s string) (sku.Capability, error) {
	major, minor, ok := strings.Cut(s, ".")
	a, errA := strconv.Atoi(major)
	b, errB := strconv.Atoi(minor)
	if !ok || errA != nil || errB != nil {
		return sku.Capability{}, fmt.Errorf("minCapability is %q: want major.minor", s)
	}
	return sku.Capability{Major: a, Minor: b}, nil
}

// MinDriver is the oldest branch of NVIDIA's driver that runs images built with a
// version of CUDA, as "12.9": of CUDA 12 all run on 525, by compatibility of minor
// versions, and of CUDA 13 on 580 (NVIDIA CUDA compatibility; release notes of
// 13.0). A version that is none needs the newest.
func MinDriver(cuda string) int {
	if strings.HasPrefix(cuda, "12.") {
		return 525
	}
	return 580
}

// OwnPod is what runs a pod of the user's own: a base without a container. Its
// image is the user's, and nothing is known of what that demands.
func OwnPod() Runtime { return Runtime{Name: "pod", Version: "1", Task: Inference} }

// kaito is the one version of KAITO's base image whose programs are known. Its
// digest is not: no source that this catalogue rests on has one. It holds vLLM
// 0.25.1, of whose PyTorch the oldest GPU is known.
var kaito = Runtime{
	Name: KAITO, Version: "0.5.0", Task: Inference,
	Requires: fit.Image{Name: "kaito 0.5.0", MinDriver: MinDriver("12.9"), MinCapability: sku.Capability{Major: 7, Minor: 5}},
}

// kaitoTransformers is the other program of the same image, in the same PyTorch.
var kaitoTransformers = Runtime{
	Name: KAITOTransformers, Version: kaito.Version, Task: Inference,
	Requires: fit.Image{Name: "kaito-transformers 0.5.0", MinDriver: kaito.Requires.MinDriver, MinCapability: kaito.Requires.MinCapability},
}

// kaitoTrainer is the least GPU that KAITO's trainer has arithmetic for: TRL 1.0 keeps the
// adapter of a quantised model in bfloat16 on every GPU, and PEFT 0.11.1 that of a model in
// float16 in float16, of which transformers scales no gradients.
var kaitoTrainer = sku.Capability{Major: 8}

// unpinned are the runtimes whose image a spec names.
var unpinned = []Runtime{kaito, kaitoTransformers}

// Does says that a runtime whose image a spec names has a program for a task.
func Does(name, task string) bool {
	return name == KAITO || Unpinned(name) && task == Inference
}

// Recasts says whether the trainer puts what PEFT keeps in 32 bit back to 16
// (fit.Tuning.Recast).
func (r Runtime) Recasts() bool { return r.Name == Axolotl }

// For is the runtime doing a task, with what its program for that demands of a GPU.
func (r Runtime) For(task string) Runtime {
	r.Task = task
	if r.Name == KAITO && task == Tuning {
		r.Requires.MinCapability = kaitoTrainer
	}
	return r
}

// Unpinned says that a runtime has no image of its own here: a spec names it.
func Unpinned(name string) bool {
	return slices.ContainsFunc(unpinned, func(r Runtime) bool { return r.Name == name })
}

// All returns every image of every runtime, in the order of pins.yaml.
func All() []Runtime { return slices.Clone(catalogue()) }

// Lookup returns a version of a runtime; version "" is its default, and a leading
// v is ignored. Of the images of the version it is the first that runs on a driver
// such as "580.159.04". Where none does it is the first of all: what is wrong with it
// then shows in the fit. Where the driver is unknown ("") it is, of that version, the one
// that runs on the oldest: a driver runs what was built for those before it.
// Of KAITO the image is left to the caller.
func Lookup(name, version, driver string) (Runtime, bool) {
	version = strings.TrimPrefix(version, "v")
	for _, r := range unpinned {
		if r.Name == name {
			return r, version == "" || version == r.Version
		}
	}
	return firstOn(driver, func(r Runtime) bool { return r.Name == name && (version == "" || r.Version == version) })
}

// Default is what Lookup returns for the first runtime of a task.
func Default(task, driver string) (Runtime, bool) {
	return firstOn(driver, func(r Runtime) bool { return r.Task == task })
}

// Image returns the runtime whose pinned image that is.
func Image(reference string) (Runtime, bool) {
	return firstOn("", func(r Runtime) bool { return r.Image == reference })
}

func firstOn(driver string, wanted func(Runtime) bool) (Runtime, bool) {
	branch := sku.Instance{Driver: driver}.DriverBranch()
	var best *Runtime
	for _, r := range catalogue() {
		switch {
		case !wanted(r):
		case branch > 0 && branch >= r.Requires.MinDriver:
			return r, true
		case best == nil, branch == 0 && r.Name == best.Name && r.Version == best.Version && r.Requires.MinDriver < best.Requires.MinDriver:
			best = &r
		}
	}
	if best == nil {
		return Runtime{}, false
	}
	return *best, true
}

// Versions lists the known versions of a runtime, for messages.
func Versions(name string) []string {
	var versions []string
	for _, r := range append(All(), unpinned...) {
		if r.Name == name {
			versions = append(versions, r.Version)
		}
	}
	return slices.Compact(versions)
}

// VLLM says in messages which version of vLLM a runtime that serves has.
func (r Runtime) VLLM() string {
	if r.Name == KAITO {
		return "0.25.1, in kaito " + r.Version + ","
	}
	return r.Version
}

// Base is the folder of Kustomize bases that a version is rendered from.
func (r Runtime) Base() (fs.FS, error) {
	base, err := fs.Sub(files, r.Name+"/"+r.Version)
	if err != nil {
		return nil, fmt.Errorf("opening the base of %s %s: %w", r.Name, r.Version, err)
	}
	if _, err := fs.Stat(base, "kustomization.yaml"); err != nil {
		return nil, fmt.Errorf("%s %s has no base in this release of Espalier: %w", r.Name, r.Version, err)
	}
	return base, nil
}
