// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// trial is what one golden file has for a runtime.
type trial struct {
	Name string `json:"name"`
	// Config is the text of axolotl.yaml, GPUs the number that train together.
	Config string `json:"config,omitempty"`
	GPUs   int64  `json:"gpus,omitempty"`
	// Args are those of vllm serve.
	Args []string `json:"args,omitempty"`
}

// manifest is the part of a rendered object that is read.
type manifest struct {
	Kind string            `json:"kind"`
	Data map[string]string `json:"data"`
	Spec struct {
		batchv1.JobSpec `json:",inline"`
	} `json:"spec"`
}

// read returns the cases of a runtime, in the order of their names.
func read(folder, runtime string) ([]trial, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.txtar"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("no golden files in %s", folder)
	}
	var all []trial
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		want := slices.IndexFunc(archive.Files, func(f txtar.File) bool { return f.Name == "want.yaml" })
		if want < 0 {
			return nil, fmt.Errorf("%s has no want.yaml", file)
		}
		t, err := trialOf(archive.Files[want].Data, runtime)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		t.Name = strings.TrimSuffix(filepath.Base(file), ".txtar")
		if t.Config != "" || len(t.Args) > 0 {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("no golden file is of this runtime")
	}
	return all, nil
}

func trialOf(text []byte, runtime string) (trial, error) {
	t := trial{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		m := manifest{}
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return t, nil
		} else if err != nil {
			return t, err
		}
		pod := m.Spec.Template.Spec
		switch {
		case runtime == runtimes.Axolotl && m.Data["axolotl.yaml"] != "":
			t.Config = m.Data["axolotl.yaml"]
		case runtime == runtimes.Axolotl && m.Kind == "Job":
			t.GPUs = gpus(pod)
			if n := m.Spec.Parallelism; n != nil {
				t.GPUs *= int64(*n)
			}
		case runtime == runtimes.VLLM:
			t.Args = slices.Concat(t.Args, arguments(pod))
		}
		if len(t.Args) > 0 {
			return t, nil // further copies are the same
		}
	}
}

// gpus of one pod, whose containers run after one another.
func gpus(pod corev1.PodSpec) int64 {
	var most int64
	for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
		quantity := c.Resources.Limits["nvidia.com/gpu"]
		most = max(most, quantity.Value())
	}
	return most
}

// arguments of vllm serve: those of the container, after what stands before it
// on several nodes. A pod has a rank there.
func arguments(pod corev1.PodSpec) []string {
	for _, c := range pod.Containers {
		if c.Name != runtimes.VLLM || len(c.Command) > 0 && c.Command[0] == "python3" { // KAITO's program has another vLLM
			continue
		}
		args := c.Args
		if i := slices.Index(args, "serve"); i >= 0 {
			args = args[i+1:]
		}
		out := make([]string, len(args))
		for i, a := range args {
			out[i] = strings.NewReplacer("$(RANK)", "0", "$(COPY)", "copy").Replace(a)
		}
		return out
	}
	return nil
}
