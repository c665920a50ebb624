// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/repo-layout/schema"
)

func newSchemaCommand() *cobra.Command {
	var folder string
	command := &cobra.Command{
		Use:   "schema [NAME]",
		Short: "Print the JSON schemas of documents, for editors",
		Long: "Lists the JSON schemas that this version knows, prints the one of NAME, or writes them all into a folder.\n" +
			"all.json picks the right one by apiVersion and kind. docs/editors.md says how editors use them.",
		Example: "  espalier schema espalier.dev/workspace_v1alpha1.json\n" +
			"  espalier schema --write .schemas",
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case folder != "" && len(args) > 0:
				return fmt.Errorf("--write writes every schema: leave out %s", args[0])
			case folder != "":
				return writeSchemas(c, folder)
			case len(args) == 1:
				return printSchema(c, args[0])
			}
			names, err := schemaNames()
			fmt.Fprintln(c.OutOrStdout(), strings.Join(names, "\n"))
			return err
		},
	}
	command.Flags().StringVarP(&folder, "write", "w", "", "Folder to write every schema into")
	return command
}

func schemaNames() ([]string, error) {
	var names []string
	err := fs.WalkDir(schema.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

func printSchema(c *cobra.Command, name string) error {
	text, err := fs.ReadFile(schema.Files, path.Clean(name))
	if err != nil {
		return fmt.Errorf("there is no schema %q: espalier schema lists them", name)
	}
	_, err = c.OutOrStdout().Write(text)
	return err
}

// writeSchemas replaces what an earlier version wrote: nobody edits a schema.
func writeSchemas(c *cobra.Command, folder string) error {
	names, err := schemaNames()
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := fs.ReadFile(schema.Files, name)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return fmt.Errorf("writing schemas: %w", err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			return fmt.Errorf("writing schemas: %w", err)
		}
		fmt.Fprintln(c.ErrOrStderr(), "wrote", file)
	}
	return nil
}
