// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"runtime/debug"
	"syscall"
)

// limitProcess bounds this process before it reads what strangers wrote: the
// kernel refuses it memory beyond the limit, files that it could write, and cores.
func limitProcess(memory int64) error {
	if memory <= 0 {
		return nil
	}
	// The collector works harder before the kernel says no.
	debug.SetMemoryLimit(memory * 3 / 4)
	for _, l := range []struct {
		what  int
		most  uint64
		about string
	}{
		{syscall.RLIMIT_DATA, uint64(memory), "memory"},
		{syscall.RLIMIT_FSIZE, 0, "files"},
		{syscall.RLIMIT_CORE, 0, "cores"},
		{syscall.RLIMIT_NOFILE, 32, "open files"},
	} {
		if err := syscall.Setrlimit(l.what, &syscall.Rlimit{Cur: l.most, Max: l.most}); err != nil {
			return fmt.Errorf("limiting %s: %w", l.about, err)
		}
	}
	return nil
}

// childAttributes end the child with its parent.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
