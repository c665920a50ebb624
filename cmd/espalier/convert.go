// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
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
		decoded, findings := repolayout.Decode(document.Text, document)
		if err := printFindings(c.ErrOrStderr(), findings, "text"); err != nil {
			return err
		}
		var object any
		switch {
		case decoded.Workspace != nil:
			decoded.Workspace.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind))
			object = decoded.Workspace
		case decoded.Pool != nil:
			decoded.Pool.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind))
			object = decoded.Pool
		case decoded.Input != nil:
			object = decoded.Input.Object
		default:
			refused = true
			continue
		}
		if err := printYAML(c.OutOrStdout(), object); err != nil {
			return err
		}
	}
	if refused {
		return errRefused
	}
	return nil
}

// printYAML prints an object without the empty parts that Go's encoder adds.
func printYAML(w io.Writer, object any) error {
	content, err := yaml.Marshal(object)
	if err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	var fields map[string]any
	if err := yaml.Unmarshal(content, &fields); err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	delete(fields, "status")
	if metadata, ok := fields["metadata"].(map[string]any); ok {
		delete(metadata, "creationTimestamp")
	}
	if content, err = yaml.Marshal(fields); err != nil {
		return fmt.Errorf("writing YAML: %w", err)
	}
	_, err = fmt.Fprintf(w, "---\n%s", content)
	return err
}
