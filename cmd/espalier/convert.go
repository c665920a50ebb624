// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/spf13/cobra"
)

func newConvertCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "convert FILE",
		Short: "Write kaito.sh documents as espalier.dev ones",
		Long:  "Reads kaito.sh Workspaces and InferenceSets of FILE (- for stdin) and writes the native form. Findings go to stderr.",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			content, err := readFileOrStdin(c.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			return convert(c, args[0], content)
		},
	}
}

func readFileOrStdin(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		content, err := io.ReadAll(stdin)
		if err != nil {
			return nil, fmt.Errorf("reading stdin: %w", err)
		}
		return content, nil
	}
	content, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return content, nil
}

func convert(c *cobra.Command, name string, content []byte) error {
	refused := false
	for _, document := range repolayout.Split(name, content) {
		text, findings, err := repolayout.Convert(document.Text, document)
		if err != nil {
			return fmt.Errorf("converting %s: %w", name, err)
		}
		if err := printFindings(c.ErrOrStderr(), findings, "text"); err != nil {
			return err
		}
		if text == nil {
			refused = true
			continue
		}
		if _, err := fmt.Fprintf(c.OutOrStdout(), "---\n%s", bytes.TrimPrefix(text, []byte("---\n"))); err != nil {
			return err
		}
	}
	if refused {
		return errRefused
	}
	return nil
}
