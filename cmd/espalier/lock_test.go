// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a file that docs/models.md shows.
var block = regexp.MustCompile("(?m)^`(models/[^`]+)`:\n\n```yaml\n((?s).*?)```\n")

// TestModelsPage does what docs/models.md tells a reader to do, and wants the
// answers that it shows.
func TestModelsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/models.md")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../../presets/testdata/config/HuggingFaceTB--SmolLM2-1.7B-Instruct.json")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	shown := block.FindAllStringSubmatch(string(page), -1)
	if len(shown) != 2 {
		t.Fatalf("the page shows %d files, want 2", len(shown))
	}
	for _, b := range append(shown, []string{"", "config.json", string(config)}) {
		if err := os.MkdirAll(filepath.Dir(b[1]), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(b[1], []byte(b[2]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	commands := 0
	for line := range strings.Lines(strings.ReplaceAll(string(page), "\\\n", " ")) {
		command, ok := strings.CutPrefix(line, "    espalier ")
		if !ok {
			continue
		}
		command, _, _ = strings.Cut(command, "#")
		commands++
		root := newRootCommand()
		out, err := execute(root, strings.Fields(command)...)
		if err != nil && !errors.Is(err, errRefused) || strings.Contains(out, "error:") {
			t.Errorf("espalier %s: %v\n%s", command, err, out)
		}
		if !strings.Contains(command, "presets lock") {
			continue
		}
		for said := range strings.Lines(out) {
			if !strings.HasPrefix(said, "espalier fit") && !strings.Contains(string(page), "\n"+said) && said != "\n" {
				t.Errorf("the page does not show %q", said)
			}
		}
	}
	if commands < 8 {
		t.Errorf("%d commands, want all of the page's", commands)
	}
}
