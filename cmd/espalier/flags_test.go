// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const flagsHead = `# Commands and flags

Every command of ` + "`espalier`" + ` and every flag, as ` + "`--help`" + ` has them. ` + "`adapter`, `data` and `member`" + ` run in pods.

This page is generated from the commands by ` + "`make generate`" + `.
`

// TestFlagsPage: docs/flags.md has every flag there is.
func TestFlagsPage(t *testing.T) {
	var page bytes.Buffer
	page.WriteString(flagsHead)
	for _, c := range newRootCommand().Commands() {
		documented(&page, c)
	}
	name := filepath.Join("..", "..", "docs", "flags.md")
	if *update {
		if err := os.WriteFile(name, page.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("docs/flags.md differs, run make generate\n-want +got:\n%.2000s", diff)
	}
}

// described writes a command with its flags.
func described(page *bytes.Buffer, c *cobra.Command) {
	fmt.Fprintf(page, "\n## %s\n\n%s.\n", c.CommandPath(), c.Short)
	if c.Use != c.Name() {
		fmt.Fprintf(page, "\n```text\n%s\n```\n", c.UseLine())
	}
	rows := 0
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		if rows++; rows == 1 {
			page.WriteString("\n| flag | default | |\n|---|---|---|\n")
		}
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		value := ""
		if f.DefValue != "" && f.DefValue != "[]" {
			value = "`" + f.DefValue + "`"
		}
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", name, value, strings.ReplaceAll(f.Usage, "|", `\|`))
	})
}

// documented writes a command and those below it.
func documented(page *bytes.Buffer, c *cobra.Command) {
	if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
		return
	}
	if c.Runnable() {
		described(page, c)
	}
	for _, below := range c.Commands() {
		documented(page, below)
	}
}
