// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/espalier-dev/espalier/deploy/image"
	"github.com/espalier-dev/espalier/test/cluster"
)

// Edit replaces a text of a source file.
type Edit struct{ File, Old, New string }

// UseRelease builds the product as a later release would be, with edits of files
// relative to the module's root, and makes the next controller one of it. It
// returns what goes back to this release.
func (s *Stand) UseRelease(ctx context.Context, out io.Writer, edits ...Edit) (back func(), err error) {
	root, err := cluster.Root()
	if err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	for i, e := range edits {
		file := filepath.Join(root, e.File)
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading what a later release changes: %w", err)
		}
		if !strings.Contains(string(text), e.Old) {
			return nil, fmt.Errorf("%s no longer says %q", e.File, e.Old)
		}
		overlay[file] = filepath.Join(s.dir, fmt.Sprintf("release-%d", i))
		if err := os.WriteFile(overlay[file], []byte(strings.ReplaceAll(string(text), e.Old, e.New)), 0o600); err != nil {
			return nil, fmt.Errorf("writing what a later release says: %w", err)
		}
	}
	config, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, fmt.Errorf("encoding the overlay: %w", err)
	}
	overlayFile, binary := filepath.Join(s.dir, "overlay.json"), filepath.Join(s.dir, "espalier-next")
	if err := os.WriteFile(overlayFile, config, 0o600); err != nil {
		return nil, fmt.Errorf("writing the overlay: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags="+image.Tags, "-overlay", overlayFile, "-o", binary, "./cmd/espalier")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, out, out
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building a later release: %w", err)
	}
	this := s.binary
	s.binary = binary
	return func() { s.binary = this }, nil
}
