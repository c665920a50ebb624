// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/presets"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// lockOptions are the settings of `espalier presets lock`.
type lockOptions struct {
	From, Index, Size, Revision, License, Output string
	Gated                                        bool
}

func newLockCommand() *cobra.Command {
	var o lockOptions
	command := &cobra.Command{
		Use:   "lock OWNER/NAME --from config.json [--index model.safetensors.index.json] [--output " + repolayout.LockFile + "]",
		Short: "Write the lock file of a model outside the catalogue",
		Long: "Writes the file that describes a model outside the catalogue, made from its own config.json, and says on stderr\n" +
			"what to do with it. Commit it beside the Workspace, so that every plan works from Git and asks no model hub.\n" +
			"What config.json does not say stays unknown, and is judged so.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return o.lock(c.OutOrStdout(), c.ErrOrStderr(), args[0])
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.From, "from", "", "The model's config.json")
	fs.StringVar(&o.Index, "index", "", "The model's model.safetensors.index.json, for the size of its weights")
	fs.StringVar(&o.Size, "size", "", "Size of all weight files together in place of --index: 14.96GiB, 16.06GB, or a number of bytes")
	fs.StringVar(&o.Revision, "revision", "", "Commit of the model repository, 40 hexadecimal digits")
	fs.StringVar(&o.License, "license", "", "Identifier of the model's licence")
	fs.BoolVar(&o.Gated, "gated", false, "The model hub asks for a token before it gives the weights")
	fs.StringVarP(&o.Output, "output", "o", "", "File to write; empty: stdout")
	return command
}

func (o lockOptions) lock(stdout, stderr io.Writer, id string) error {
	if o.From == "" {
		return errors.New("--from is required: the model's config.json")
	}
	if o.Index != "" && o.Size != "" {
		return errors.New("--index and --size both say the size of the weights: give one")
	}
	config, err := os.ReadFile(o.From)
	if err != nil {
		return fmt.Errorf("reading --from: %w", err)
	}
	bytes, err := o.weights()
	if err != nil {
		return err
	}
	text, err := presets.Lock(config, presets.LockOptions{ID: id, WeightBytes: bytes, Revision: o.Revision, License: o.License, Gated: o.Gated})
	if err != nil {
		return err
	}
	p, err := presets.DecodeLock(text)
	if err != nil {
		return err
	}
	if o.Output == "" {
		_, err = stdout.Write(text)
	} else {
		err = os.WriteFile(o.Output, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("writing the lock file: %w", err)
	}
	o.next(stderr, p)
	return nil
}

// weights is the size of the weights, 0 unknown.
func (o lockOptions) weights() (int64, error) {
	if o.Index != "" {
		index, err := os.ReadFile(o.Index)
		if err != nil {
			return 0, fmt.Errorf("reading --index: %w", err)
		}
		return presets.WeightsOf(index)
	}
	if o.Size == "" {
		return 0, nil
	}
	number, unit := strings.TrimSpace(o.Size), 1.0
	for suffix, bytes := range map[string]float64{"GiB": 1 << 30, "GB": 1e9} {
		if rest, found := strings.CutSuffix(number, suffix); found {
			number, unit = strings.TrimSpace(rest), bytes
		}
	}
	n, err := strconv.ParseFloat(number, 64)
	// A model of a megabyte is a number without its unit.
	if err != nil || !(n*unit >= 1<<20 && n*unit <= 1<<50) {
		return 0, fmt.Errorf("--size %q: want the size of all weight files together, such as 14.96GiB, 16.06GB or a number of bytes", o.Size)
	}
	return int64(n * unit), nil
}

// next says what is in a lock file, what it lacks, and what to do with it.
func (o lockOptions) next(w io.Writer, p presets.Preset) {
	file, key := o.Output, repolayout.LockFile
	switch {
	case file == "":
		file = repolayout.LockFile
	case filepath.Base(file) != repolayout.LockFile:
		key = repolayout.LockFile + "=" + filepath.Base(file)
	}
	fmt.Fprintf(w, "%s: %s\n", p.ID, known(p))
	if p.Model.WeightBytes == 0 {
		fmt.Fprintln(w, "the size of its weights: --index model.safetensors.index.json, or --size where it has one file of weights only")
	}
	if p.Revision == "" {
		fmt.Fprintln(w, "no commit is pinned: --revision COMMIT, so that a restarted pod loads the same weights")
	}
	name := strings.ReplaceAll(p.Name(), "_", "-") + "-lock"
	fmt.Fprintf(w, "next, in the kustomization.yaml beside it:\n\n  configMapGenerator:\n  - name: %s\n    files: [%s]\n\n", name, key)
	fmt.Fprintf(w, "and in the Workspace, below inference or tuning, in the place of preset:\n\n  model: {id: %s, lock: %s}\n\n", p.ID, name)
	fmt.Fprintf(w, "espalier fit --model-file %s --all compares the sizes it could run on\n", file)
}

// known says what a lock file lets be judged.
func known(p presets.Preset) string {
	if missing := p.Model.MissingToServe(); len(missing) > 0 {
		return "not known yet, and without it nobody can say whether it fits: " + strings.Join(missing, ", ")
	}
	text := fit.GiB(p.Model.WeightBytes) + " GiB of weights; known well enough to be served"
	why, missing := p.Model.NotTunable(), p.Model.MissingToTune()
	switch {
	case p.Tunable:
		text += " and tuned"
	case why != "":
		text += ", not to be tuned: " + why
	default:
		text += ", not to be tuned: " + strings.Join(missing, ", ") + " is not known"
	}
	return text
}
