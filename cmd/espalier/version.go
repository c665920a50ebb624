// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/cmd/espalier/version"
)

func newVersionCommand() *cobra.Command {
	output := "text"
	command := &cobra.Command{
		Use:   "version",
		Short: "Say which build this is: version, commit and Go",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			build := version.Current()
			switch output {
			case "text":
				fmt.Fprintf(c.OutOrStdout(), "espalier version %s\n", build)
				return nil
			case "json":
				encoder := json.NewEncoder(c.OutOrStdout())
				encoder.SetIndent("", "  ")
				return encoder.Encode(build)
			}
			return fmt.Errorf("--output %q: text or json", output)
		},
	}
	command.Flags().StringVarP(&output, "output", "o", output, "text or json")
	return command
}
