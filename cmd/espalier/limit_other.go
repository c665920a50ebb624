// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import (
	"runtime/debug"
	"syscall"
)

// limitProcess makes the collector keep to a limit. Only Linux has one for what is
// allocated in earnest.
func limitProcess(memory int64) error {
	if memory > 0 {
		debug.SetMemoryLimit(memory * 3 / 4)
	}
	return nil
}

func childAttributes() *syscall.SysProcAttr { return nil }
