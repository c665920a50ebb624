// SPDX-License-Identifier: Apache-2.0

package harness

import "syscall"

// dieWithParent ends the child when the test or demo is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
