// SPDX-License-Identifier: Apache-2.0

package cluster

import "syscall"

// processAttributes lets the kernel end a component when its parent dies, even
// by SIGKILL.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
