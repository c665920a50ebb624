// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/presets"
)

// presetAnswer is a model as JSON. What is not known is absent.
type presetAnswer struct {
	Name            string            `json:"name"`
	ID              string            `json:"id"`
	License         string            `json:"license,omitempty"`
	Architecture    string            `json:"architecture,omitempty"`
	Gated           bool              `json:"gated"`
	Tunable         bool              `json:"tunable"`
	Revision        string            `json:"revision,omitempty"`
	WeightBytes     int64             `json:"weightBytes"`
	Quantization    string            `json:"quantization,omitempty"`
	MaxContext      int64             `json:"maxContext"`
	Shape           map[string]any    `json:"shape"`
	ToolParser      string            `json:"toolParser,omitempty"`
	ReasoningParser string            `json:"reasoningParser,omitempty"`
	ChatTemplate    string            `json:"chatTemplate,omitempty"`
	Args            map[string]string `json:"args,omitempty"`
	Sources         []string          `json:"sources"`
	Note            string            `json:"note,omitempty"`
}

func newPresetsCommand() *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "presets [NAME]",
		Short: "List the models of the catalogue, or show one",
		Long: "Lists the models that a Workspace may name, by short name or repository id, with what is known of each.\n" +
			"A model outside the catalogue is described by a lock file: espalier presets lock.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("--output %q: text or json", output)
			}
			if len(args) == 1 {
				return showPreset(c.OutOrStdout(), args[0], output)
			}
			return listPresets(c.OutOrStdout(), output)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	command.AddCommand(newLockCommand())
	return command
}

func answerPreset(p presets.Preset) presetAnswer {
	m := p.Model
	shape := map[string]any{}
	for name, value := range map[string]int{
		"layers": m.Layers, "hidden": m.Hidden, "intermediate": m.Intermediate, "vocabulary": m.Vocab, "heads": m.Heads, "kvHeads": m.KVHeads,
		"headDim": m.HeadDim, "kvLoraRank": m.KVLoraRank, "ropeDim": m.RopeDim, "embeddings": m.Embeddings,
		"slidingLayers": m.SlidingLayers, "window": m.Window, "stateLayers": m.StateLayers, "kvElementBytes": m.KVElementBytes,
	} {
		if value > 0 {
			shape[name] = value
		}
	}
	if m.Kind != "" {
		shape["kind"] = string(m.Kind)
	}
	if m.UpperBound {
		shape["upperBound"] = true
	}
	return presetAnswer{
		Name: p.Name(), ID: p.ID, License: p.License, Architecture: p.Architecture, Gated: p.Gated, Tunable: p.Tunable, Revision: p.Revision,
		WeightBytes: m.WeightBytes, Quantization: m.Quantization, MaxContext: m.MaxContext, Shape: shape, ToolParser: p.ToolParser,
		ReasoningParser: p.ReasoningParser, ChatTemplate: p.ChatTemplate, Args: p.Args, Sources: p.Sources, Note: p.Note,
	}
}

func listPresets(w io.Writer, output string) error {
	if output == "json" {
		answers := []presetAnswer{}
		for _, p := range presets.All() {
			answers = append(answers, answerPreset(p))
		}
		return printJSON(w, answers)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "NAME\tID\tWEIGHTS GiB\tTYPE\tCONTEXT\tTUNABLE\tGATED\tLICENCE")
	for _, p := range presets.All() {
		kind := p.Model.Quantization
		if kind == "" {
			kind = "16 bit"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name(), p.ID, fit.GiB(p.Model.WeightBytes), kind,
			fit.Thousands(p.Model.MaxContext), yesNo(p.Tunable), yesNo(p.Gated), p.License)
	}
	return table.Flush()
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "-"
}

func showPreset(w io.Writer, name, output string) error {
	p, err := findPreset(name)
	if err != nil {
		return err
	}
	a := answerPreset(p)
	if output == "json" {
		return printJSON(w, a)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(label, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", label, value)
		}
	}
	row("name", a.Name)
	row("id", a.ID)
	row("licence", a.License)
	row("architecture", a.Architecture)
	row("gated", yesNo(a.Gated))
	row("tunable", yesNo(a.Tunable))
	row("revision", orUnknown(a.Revision))
	row("weights", fit.GiB(a.WeightBytes)+" GiB "+a.Quantization)
	row("context", fit.Thousands(a.MaxContext)+" tokens")
	names := make([]string, 0, len(a.Shape))
	for n := range a.Shape {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		row(n, fmt.Sprint(a.Shape[n]))
	}
	row("tool parser", a.ToolParser)
	row("reasoning parser", a.ReasoningParser)
	row("chat template", a.ChatTemplate)
	args := make([]string, 0, len(a.Args))
	for n := range a.Args {
		args = append(args, n)
	}
	sort.Strings(args)
	for _, n := range args {
		row("--"+n, a.Args[n])
	}
	for _, s := range a.Sources {
		row("source", s)
	}
	row("note", a.Note)
	return table.Flush()
}

// lockOptions are the settings of `espalier presets lock`.
type lockOptions struct {
	From, Index, Size, Revision, License string
}

func newLockCommand() *cobra.Command {
	var o lockOptions
	command := &cobra.Command{
		Use:   "lock ID --from config.json",
		Short: "Write the lock file of a model outside the catalogue",
		Long: "Writes, to stdout, the file that describes a model outside the catalogue, made from its own config.json.\n" +
			"Commit it, so that every plan works from Git and asks no model hub. What config.json does not say stays unknown.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return lock(c.OutOrStdout(), args[0], o)
		},
	}
	fs := command.Flags()
	fs.StringVar(&o.From, "from", "", "The model's config.json")
	fs.StringVar(&o.Index, "index", "", "The model's model.safetensors.index.json, for the size of its weights")
	fs.StringVar(&o.Size, "size", "", "Size of the weights in place of --index, for example 14.96GiB")
	fs.StringVar(&o.Revision, "revision", "", "Commit of the model repository, 40 hexadecimal digits")
	fs.StringVar(&o.License, "license", "", "Identifier of the model's licence")
	return command
}

func lock(w io.Writer, id string, o lockOptions) error {
	if o.From == "" {
		return errors.New("--from is required: the model's config.json")
	}
	if o.Index != "" && o.Size != "" {
		return errors.New("--index and --size both say the size of the weights: give one")
	}
	config, err := os.ReadFile(o.From)
	if err != nil {
		return err
	}
	bytes, err := o.weights()
	if err != nil {
		return err
	}
	text, err := presets.Lock(config, presets.LockOptions{ID: id, WeightBytes: bytes, Revision: o.Revision, License: o.License})
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func (o lockOptions) weights() (int64, error) {
	if o.Index != "" {
		index, err := os.ReadFile(o.Index)
		if err != nil {
			return 0, err
		}
		return presets.WeightsOf(index)
	}
	if o.Size == "" {
		return 0, nil
	}
	gib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(o.Size), "GiB"), 64)
	if err != nil || gib <= 0 || gib > 1<<20 {
		return 0, fmt.Errorf("--size %q: want a size such as 14.96GiB", o.Size)
	}
	return int64(gib * (1 << 30)), nil
}
