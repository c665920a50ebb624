// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strconv"
	"syscall"
)

// limitProcess bounds this process before it reads what strangers wrote: the
// kernel refuses it memory beyond the limit, files that it could write, and cores, and
// kills it when it has had so many seconds of processors.
func limitProcess(memory string, seconds uint64) error {
	most, err := strconv.ParseUint(memory, 10, 63)
	if err != nil {
		return fmt.Errorf("--memory %q: want a number of bytes", memory)
	}
	if err := softLimit(memory); err != nil {
		return err
	}
	for _, l := range []struct {
		what  int
		most  uint64
		about string
	}{
		{syscall.RLIMIT_DATA, most, "memory"},
		{syscall.RLIMIT_CPU, seconds, "processor time"},
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
