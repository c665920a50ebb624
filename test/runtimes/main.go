// SPDX-License-Identifier: Apache-2.0

// Command runtimes asks the real Axolotl and the real vLLM, in the versions of
// presets/runtimes/pins.yaml, whether they accept what package render writes for
// them in its golden files: Axolotl's own validation of axolotl.yaml, and vLLM's
// own argument parser.
//
// It is `make verify-runtimes`, and no part of the tests: it needs Python, a
// package index and room for both packages with PyTorch. It runs no model and
// needs no GPU, so it says nothing of what a GPU would. With -install it asks
// nothing: that is for `make e2e-train`, which trains with the same Axolotl.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"

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
	only := flag.Bool("install", false, "Install the runtimes, and ask nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	asked := flag.Args()
	if len(asked) == 0 {
		asked = []string{runtimes.Axolotl, runtimes.VLLM}
	}
	failed := false
	for _, name := range asked {
		in := installation{python: *python, folder: filepath.Join(*venvs, name)}
		work := func() error { return verify(ctx, name, *golden, in) }
		if *only {
			work = func() error { _, err := in.pinned(ctx, name); return err }
		}
		if err := work(); err != nil {
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
	version, err := in.pinned(ctx, name)
	if err != nil {
		return fmt.Errorf("not verified: %w", err)
	}
	input, err := json.Marshal(cases)
	if err != nil {
		return fmt.Errorf("writing the cases: %w", err)
	}
	fmt.Printf("%s %s on %d cases\n", name, version, len(cases))
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

// pinned installs a runtime in the version of presets/runtimes/pins.yaml, and
// returns that.
func (i installation) pinned(ctx context.Context, name string) (string, error) {
	pinned, ok := runtimes.Lookup(name, "", "")
	if !ok {
		return "", errors.New("presets/runtimes/pins.yaml has no version of it")
	}
	if err := i.install(ctx, requirements(pinned)); err != nil {
		return "", fmt.Errorf("it needs Python 3.10 or newer, a package index and about 10 GB of disk: %w", err)
	}
	return pinned.Version, nil
}

// torch finds PyTorch's version in the tag of an image of Axolotl.
var torch = regexp.MustCompile(`-cu[0-9]+-([0-9.]+)@`)

// requirements are the packages that an image of a runtime has, as far as its pin
// says.
func requirements(r runtimes.Runtime) []string {
	all := []string{r.Name + "==" + r.Version}
	if m := torch.FindStringSubmatch(r.Image); m != nil {
		all = append(all, "torch=="+m[1])
	}
	return all
}

// install installs packages, once.
func (i installation) install(ctx context.Context, packages []string) error {
	mark, all := filepath.Join(i.folder, "installed"), strings.Join(packages, " ")
	if has, err := os.ReadFile(mark); err == nil && string(has) == all {
		return nil
	}
	fmt.Printf("Installing %s into %s, once: 5 to 20 minutes.\n", all, i.folder)
	for _, args := range [][]string{
		{i.python, "-m", "venv", i.folder},
		append([]string{i.program(), "-m", "pip", "install", "--quiet", "--no-cache-dir", "--disable-pip-version-check"}, packages...),
	} {
		command := exec.CommandContext(ctx, args[0], args[1:]...)
		command.Stdout, command.Stderr = os.Stderr, os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("%s: %w", all, err)
		}
	}
	return os.WriteFile(mark, []byte(all), 0o644)
}
