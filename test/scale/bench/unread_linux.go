// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// unread lets the kernel forget a file that it has in memory, so that whose container reads it
// next pays for it: as on a node whose image has just come.
func unread(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the program: %w", err)
	}
	defer f.Close()
	if err := errors.Join(f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)); err != nil {
		return fmt.Errorf("having the program read from the disk: %w", err)
	}
	return nil
}
