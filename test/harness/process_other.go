// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package harness

import "syscall"

// dieWithParent is not to be had here: a killed parent leaves the child.
func dieWithParent() *syscall.SysProcAttr { return nil }
