// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// leave makes what a node leaves on a machine when its process is killed, and
// returns the process that runs in it.
func leave(t *testing.T, r remains) *exec.Cmd {
	t.Helper()
	if _, err := r.network(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.cgroups(); err != nil {
		t.Fatal(err)
	}
	mounted := filepath.Join(r.dir, "mounted")
	if err := errors.Join(os.Mkdir(mounted, 0o755), syscall.Mount("tmpfs", mounted, "tmpfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	procs := filepath.Join("/sys/fs/cgroup", r.id, "cgroup.procs")
	if _, err := os.Stat(procs); err != nil { // version 1
		procs = filepath.Join("/sys/fs/cgroup/pids", r.id, "cgroup.procs")
	}
	if err := os.WriteFile(procs, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		t.Fatal(err)
	}
	return cmd
}

// TestSweep: the next node removes what a killed one left behind, and leaves a
// living one alone.
func TestSweep(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, for mounts and cgroups")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs iproute2")
	}
	living, unlock, err := newRemains(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	working := leave(t, living)
	dead, release, err := newRemains(filepath.Join(t.TempDir(), "node"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dead.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	contained := leave(t, dead)
	if found, err := dead.running("sleep"); err != nil || len(found) != 1 || found[0] != contained.Process.Pid {
		t.Errorf("running within it are %v (%v), want %d", found, err, contained.Process.Pid)
	}
	release()
	// A process that is killed takes its lock along, and leaves its record.
	if err := os.WriteFile(filepath.Join(records, dead.id), []byte(dead.dir), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := sweep(); err != nil {
		t.Fatal(err)
	}
	if err := contained.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("what ran within the dead node ended with %v, want it killed", err)
	}
	isGone(t, dead)
	if err := working.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("what runs within the living node: %v", err)
	}

	if err := living.remove(t.Context()); err != nil {
		t.Error(err)
	}
	unlock()
	_ = working.Wait() // killed, as it should be
	isGone(t, living)
	if err := living.remove(t.Context()); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

// isGone looks for what is left of a node.
func isGone(t *testing.T, r remains) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(mounts), r.dir) {
		t.Errorf("mounts of %s are left (%v)", r.id, err)
	}
	for _, path := range []string{filepath.Join("/sys/class/net", r.bridge()), filepath.Join(records, r.id)} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
	if err := r.walk(func(folder string) error { return errors.New(folder) }); err != nil {
		t.Errorf("a cgroup is left: %v", err)
	}
}
