// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// TestRead: what the runtimes are asked is what the golden files have, so that a
// target that is run by hand does not come to ask nothing.
func TestRead(t *testing.T) {
	tuning, err := read("../../render/testdata", runtimes.Axolotl)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(tuning, func(c trial) bool { return c.Name == "tuning-nodes" })
	if at < 0 || tuning[at].GPUs != 4 || !strings.Contains(tuning[at].Config, "adapter: qlora") {
		t.Errorf("a run over two nodes of two GPUs: %+v", tuning[at])
	}
	serving, err := read("../../render/testdata", runtimes.VLLM)
	if err != nil {
		t.Fatal(err)
	}
	at = slices.IndexFunc(serving, func(c trial) bool { return c.Name == "inference-nodes" })
	if at < 0 || serving[at].Args[0] != "deepseek-ai/DeepSeek-R1-0528" || !slices.Contains(serving[at].Args, "--node-rank=0") {
		t.Errorf("a copy over two nodes: %+v", serving[at])
	}
	if len(tuning) < 10 || len(serving) < 10 {
		t.Errorf("only %d runs and %d services", len(tuning), len(serving))
	}
	if _, err := read(t.TempDir(), runtimes.VLLM); err == nil {
		t.Error("no golden file is no verification")
	}
}

// TestRequirements: the trainer is asked with the PyTorch that its image has.
func TestRequirements(t *testing.T) {
	for name, want := range map[string]string{runtimes.Axolotl: "axolotl==0.19.0 torch==2.12.1", runtimes.VLLM: "vllm==0.26.0"} {
		pinned, ok := runtimes.Lookup(name, "", "")
		if got := strings.Join(requirements(pinned), " "); !ok || got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
