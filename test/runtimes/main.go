// SPDX-License-Identifier: Apache-2.0

// Command runtimes asks the real Axolotl and the real vLLM, in the versions of
// presets/runtimes/pins.yaml, whether they accept what package render writes for
// them in its golden files: Axolotl's own validation of axolotl.yaml, and vLLM's
// own argument parser.
//
// It is `make verify-runtimes`, and no part of the tests: it needs Python, a
// package index and room for both packages with PyTorch. It runs no model and
// needs no GPU, so it says nothing of what a GPU would.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

//go:embed axolotl.py
var axolotl string

//go:embed vllm.py
var vllm string

// judges are the programs that read the cases of a runtime and say what the
// runtime itself says of each.
var judges = map[string]string{runtimes.Axolotl: axolotl, runtimes.VLLM: vllm}

func main() {
	golden := flag.String("golden", "render/testdata", "folder of golden files")
	venvs := flag.String("venvs", "bin/runtimes", "folder that the packages are installed in, and kept")
	python := flag.String("python", "python3", "Python 3.10 or newer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	asked := flag.Args()
	if len(asked) == 0 {
		asked = []string{runtimes.Axolotl, runtimes.VLLM}
	}
	failed := false
	for _, name := range asked {
		if err := verify(ctx, name, *golden, installation{python: *python, folder: filepath.Join(*venvs, name)}); err != nil {
			fmt.Fprintf(os.Stderr, "verify-runtimes: %s: %v\n", name, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// verify asks one runtime.
func verify(ctx context.Context, name, golden string, in installation) error {
	judge, ok := judges[name]
	if !ok {
		return fmt.Errorf("no such runtime: want %s or %s", runtimes.Axolotl, runtimes.VLLM)
	}
	cases, err := read(golden, name)
	if err != nil {
		return err
	}
	pinned, ok := runtimes.Lookup(name, "", "")
	if !ok {
		return fmt.Errorf("presets/runtimes/pins.yaml has no version of it")
	}
	if err := in.install(ctx, name+"=="+pinned.Version); err != nil {
		return fmt.Errorf("not verified: it needs Python 3.10 or newer, a package index and about 10 GB of disk: %w", err)
	}
	input, err := json.Marshal(cases)
	if err != nil {
		return fmt.Errorf("writing the cases: %w", err)
	}
	fmt.Printf("%s %s on %d cases\n", name, pinned.Version, len(cases))
	command := exec.CommandContext(ctx, in.program(), "-c", judge)
	command.Stdin, command.Stdout, command.Stderr = bytes.NewReader(input), os.Stdout, os.Stderr
	// Nothing is asked of a hub, and nobody is told.
	command.Env = append(os.Environ(), "HF_HUB_OFFLINE=1", "AXOLOTL_DO_NOT_TRACK=1", "VLLM_NO_USAGE_STATS=1", "CUDA_VISIBLE_DEVICES=")
	if err := command.Run(); err != nil {
		return fmt.Errorf("it does not accept all of them: %w", err)
	}
	return nil
}

// installation is a virtual environment.
type installation struct{ python, folder string }

func (i installation) program() string { return filepath.Join(i.folder, "bin", "python") }

// install installs a package, once.
func (i installation) install(ctx context.Context, requirement string) error {
	mark := filepath.Join(i.folder, "installed")
	if has, err := os.ReadFile(mark); err == nil && string(has) == requirement {
		return nil
	}
	for _, args := range [][]string{
		{i.python, "-m", "venv", i.folder},
		{i.program(), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement},
	} {
		command := exec.CommandContext(ctx, args[0], args[1:]...)
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w", requirement, err)
		}
	}
	return os.WriteFile(mark, []byte(requirement), 0o644)
}
