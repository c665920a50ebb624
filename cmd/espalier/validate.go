// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// validateGC is GOGC of `espalier validate`, whose garbage lives for seconds: 10,000
// folders take 9.0 s and 360 MiB, where Go's own 100 takes 10.5 s and 320 MiB
// (BenchmarkValidate10000, two cores).
const validateGC = 200

func newValidateCommand() *cobra.Command {
	options := loadOptions{render: defaultRender()}
	output := "text"
	command := &cobra.Command{
		Use:   "validate PATH…",
		Short: "Check every document of files, folders or kustomizations",
		Long: "Checks every document of each PATH, a file, a folder, a kustomization or - for stdin, as the controllers would,\n" +
			"without a cluster or a network: one line a finding, FILE:LINE: error|warning: message (Code). docs/findings.md\n" +
			"explains the codes. -o sarif is what forges show beside the lines of a change; it and -o json name files relative\n" +
			"to the repository. Exits with 1 when there is an error.",
		Example: "  espalier validate models\n" +
			"  espalier validate models/phi-4/workspace.yaml models/phi-4/config.yaml\n" +
			"  kustomize build models/overlays/prod | espalier validate -\n" +
			"  espalier validate models -o sarif > espalier.sarif",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			if os.Getenv("GOGC") == "" {
				defer debug.SetGCPercent(debug.SetGCPercent(validateGC))
			}
			return validate(c, paths, options, output)
		},
	}
	command.Flags().StringVar(&options.syncFile, "sync", "", "File with the RepoSync whose substitutions apply; empty: the one found in the tree")
	command.Flags().StringVar(&options.region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")
	bindProvider(command.Flags(), &options.render.Provider)
	command.Flags().StringVarP(&output, "output", "o", output, "text, json or sarif")
	return command
}

func validate(c *cobra.Command, paths []string, options loadOptions, output string) error {
	write, known := findingWriters[output]
	if !known {
		return fmt.Errorf("--output %q: text, json or sarif", output)
	}
	all, err := targets(paths)
	if err != nil {
		return err
	}
	findings := []shownFinding{}
	said := map[shownFinding]bool{}
	workspaces := 0
	for _, t := range all {
		l, err := loadTarget(c.Context(), c.InOrStdin(), t, options)
		if err != nil {
			return err
		}
		l.saySync(c.ErrOrStderr())
		for _, f := range l.shownFindings() {
			if !said[f] { // what is wrong with a RepoSync is found with each target
				said[f], findings = true, append(findings, f)
			}
		}
		workspaces += len(l.workspaces)
	}
	sortShown(findings)
	if err := write(c.OutOrStdout(), findings); err != nil {
		return err
	}
	errors := 0
	for _, f := range findings {
		if f.Severity == finding.Error {
			errors++
		}
	}
	fmt.Fprintf(c.ErrOrStderr(), "%d workspaces, %d errors, %d warnings\n", workspaces, errors, len(findings)-errors)
	if errors > 0 {
		return errRefused
	}
	return nil
}
