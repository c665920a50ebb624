// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMissing: without the programs, a test ends with what to run.
func TestMissing(t *testing.T) {
	_, err := Start(t.Context(), Options{Bin: t.TempDir()})
	if err == nil || !strings.Contains(err.Error(), BuildCommand) {
		t.Errorf("got %v, want an error that names %q", err, BuildCommand)
	}
}

// TestComponentDies: the death of a component is told with the end of its log,
// while starting and later.
func TestComponentDies(t *testing.T) {
	c, err := Start(t.Context(), Options{Parts: APIServer})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	if err := c.processes[0].cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.Died():
		if !strings.HasPrefix(err.Error(), "etcd ended: signal: killed; the end of its log:") {
			t.Errorf("got %v", err)
		}
	case <-time.After(readyTimeout):
		t.Error("nothing was told about the death of etcd")
	}

	// A folder that holds a file where etcd wants its data.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "etcd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Start(t.Context(), Options{Parts: APIServer, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "etcd ended: ") || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("starting on a broken folder: got %v", err)
	}
}
