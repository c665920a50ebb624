// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

func newConvertCommand() *cobra.Command {
	var inPlace bool
	command := &cobra.Command{
		Use:   "convert PATH…",
		Short: "Write kaito.sh documents as espalier.dev ones",
		Long: "Writes the kaito.sh Workspaces and InferenceSets of each PATH, a file, a folder or - for stdin, in their native form,\n" +
			"with the comments that have a place there. Every other document comes out as it went in; of a folder only the\n" +
			"files that hold a kaito.sh document are written. Findings, and what was left out, go to stderr.",
		Example: "  espalier convert workspace.yaml > native.yaml\n" +
			"  espalier convert --write models",
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, paths []string) error {
			return convertAll(c, paths, inPlace)
		},
	}
	command.Flags().BoolVarP(&inPlace, "write", "w", false, "Write each file in place; one with a refused document is left alone")
	return command
}

func convertAll(c *cobra.Command, paths []string, inPlace bool) error {
	refused := false
	for _, p := range paths {
		files, err := yamlFiles(p)
		if err != nil {
			return err
		}
		for _, file := range files {
			content, err := readFileOrStdin(c.InOrStdin(), file)
			if err != nil {
				return err
			}
			if file != p && !bytes.Contains(content, []byte(kaito.Group+"/")) {
				continue
			}
			text, err := convert(c, file, content)
			if errors.Is(err, errRefused) {
				refused = true
			} else if err != nil {
				return err
			}
			if err := putConverted(c, file, text, inPlace && err == nil, inPlace); err != nil {
				return err
			}
		}
	}
	if refused {
		return errRefused
	}
	return nil
}

// putConverted writes a converted file: to stdout, or in place.
func putConverted(c *cobra.Command, file string, text []byte, whole, inPlace bool) error {
	switch {
	case !inPlace || file == "-":
		_, err := c.OutOrStdout().Write(text)
		return err
	case !whole:
		fmt.Fprintln(c.ErrOrStderr(), "left alone", file)
		return nil
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := os.WriteFile(file, bytes.TrimPrefix(text, []byte("---\n")), info.Mode().Perm()); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	fmt.Fprintln(c.ErrOrStderr(), "wrote", file)
	return nil
}

// yamlFiles is the path itself, or the YAML files below a folder in order.
func yamlFiles(p string) ([]string, error) {
	if p == "-" {
		return []string{p}, nil
	}
	var files []string
	err := filepath.WalkDir(p, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fmt.Errorf("reading %s: %w", name, err)
		case d.IsDir() && d.Name() == ".git":
			return fs.SkipDir
		case name == p && !d.IsDir():
			files = append(files, name)
		case d.Type().IsRegular() && (strings.HasSuffix(name, ".yaml") || strings.HasSuffix(name, ".yml")):
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

// convert returns the documents of a file, those of kaito.sh in their native
// form. The error is errRefused when one of them has none; it is left out then.
func convert(c *cobra.Command, name string, content []byte) ([]byte, error) {
	documents, refusal := split(name, content)
	if refusal != nil {
		return nil, errors.Join(errRefused, writeText(c.ErrOrStderr(), []shownFinding{{*refusal, name}}))
	}
	var out bytes.Buffer
	refused := false
	rest := bytes.TrimPrefix(content, []byte("\ufeff"))
	for _, document := range documents {
		before, after, _ := bytes.Cut(rest, bytes.TrimPrefix(document.Text, []byte("\ufeff")))
		writeComments(&out, before)
		rest = after
		text, err := convertDocument(c, name, document)
		if err != nil {
			return nil, err
		}
		refused = refused || text == nil
		if text != nil {
			fmt.Fprintf(&out, "---\n%s\n", bytes.TrimRight(bytes.TrimPrefix(text, []byte("---\n")), "\n"))
		}
	}
	if refused {
		return out.Bytes(), errRefused
	}
	return out.Bytes(), nil
}

// writeComments keeps what stands between documents: a file's own header.
func writeComments(out *bytes.Buffer, between []byte) {
	for line := range bytes.Lines(between) {
		if bytes.HasPrefix(bytes.TrimSpace(line), []byte("#")) {
			out.Write(line)
		}
	}
}

// convertDocument returns nil when the document is refused.
func convertDocument(c *cobra.Command, name string, document *repolayout.Document) ([]byte, error) {
	if version := document.APIVersion(); version != "" && !strings.HasPrefix(version, kaito.Group+"/") {
		return bytes.TrimPrefix(document.Text, []byte("\ufeff")), nil
	}
	text, findings, err := repolayout.Convert(document.Text, document)
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", name, err)
	}
	finding.Sort(findings)
	for _, f := range findings {
		if err := writeText(c.ErrOrStderr(), []shownFinding{{f, f.File}}); err != nil {
			return nil, err
		}
	}
	return text, nil
}
