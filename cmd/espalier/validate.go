// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func newValidateCommand() *cobra.Command {
	options := loadOptions{render: defaultRender()}
	output := "text"
	command := &cobra.Command{
		Use:   "validate PATH…",
		Short: "Check every document of files, folders or kustomizations",
		Long: "Checks every document below each PATH as the controllers would, without a cluster or a network:\n" +
			"one line a finding, FILE:LINE: error|warning: message (Code). Exits with 1 when there is an error.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			return validate(c, paths, options, output)
		},
	}
	command.Flags().StringVar(&options.syncFile, "sync", "", "File with the RepoSync whose substitutions apply; empty: the one found in the tree")
	command.Flags().StringVar(&options.region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return command
}

func validate(c *cobra.Command, paths []string, options loadOptions, output string) error {
	findings := []v1alpha1.Finding{}
	workspaces := 0
	for _, path := range paths {
		l, err := load(c.Context(), c.InOrStdin(), path, options)
		if err != nil {
			return err
		}
		saySync(c.ErrOrStderr(), l.sync)
		findings = append(findings, l.findings...)
		workspaces += len(l.workspaces)
	}
	finding.Sort(findings)
	if err := printFindings(c.OutOrStdout(), findings, output); err != nil {
		return err
	}
	errors := 0
	for _, f := range findings {
		if f.Severity == "error" {
			errors++
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%d workspaces, %d errors, %d warnings\n", workspaces, errors, len(findings)-errors)
	if errors > 0 {
		return errRefused
	}
	return nil
}

func saySync(w io.Writer, sync *v1alpha1.RepoSync) {
	if sync == nil {
		fmt.Fprintln(w, "no RepoSync found: no substitutions apply")
		return
	}
	fmt.Fprintln(w, "with RepoSync", path.Join(sync.Namespace, sync.Name))
}

func printFindings(w io.Writer, findings []v1alpha1.Finding, output string) error {
	switch output {
	case "json":
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(findings)
	case "text":
		for _, f := range findings {
			fmt.Fprintf(w, "%s: %s: %s (%s)\n", finding.Location(f.File, f.Line), f.Severity, f.Message, f.Code)
		}
		return nil
	}
	return fmt.Errorf("--output %q: text or json", output)
}
