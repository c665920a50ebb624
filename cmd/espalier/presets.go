// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"sort"
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
		"indexBytes": m.IndexBytes,
	} {
		if value > 0 {
			shape[name] = value
		}
	}
	if m.Kind != "" {
		shape["kind"] = string(m.Kind)
	}
	for name, yes := range map[string]bool{"upperBound": m.UpperBound, "fusedProjections": m.FusedProjections, "noFloat16": m.NoFloat16} {
		if yes {
			shape[name] = true
		}
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
