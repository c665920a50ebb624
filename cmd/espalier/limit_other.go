// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package main

import "syscall"

// limitProcess makes the collector keep to a limit. Only Linux has one for what is
// allocated in earnest.
func limitProcess(memory string, _ uint64) error { return softLimit(memory) }

func childAttributes() *syscall.SysProcAttr { return nil }
