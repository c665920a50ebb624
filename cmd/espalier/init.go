// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/espalier-dev/espalier/repo-layout/example"
)

func newInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init DIR",
		Short: "Write a repository in the recommended layout",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			written, err := initRepository(args[0])
			for _, name := range written {
				fmt.Fprintln(c.OutOrStdout(), name)
			}
			return err
		},
	}
}

// initRepository writes the example and overwrites nothing: a file that is
// there stops it before the first is written.
func initRepository(dir string) ([]string, error) {
	var names []string
	err := fs.WalkDir(example.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s is there already: give an empty folder", filepath.Join(dir, name))
		}
		names = append(names, name)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		content, err := example.Files.ReadFile(name)
		if err != nil {
			return names[:i], fmt.Errorf("reading the example: %w", err)
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return names[:i], fmt.Errorf("making %s: %w", filepath.Dir(to), err)
		}
		if err := os.WriteFile(to, content, 0o644); err != nil {
			return names[:i], fmt.Errorf("writing %s: %w", to, err)
		}
	}
	return names, nil
}
