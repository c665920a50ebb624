// SPDX-License-Identifier: Apache-2.0

package gitea

import "syscall"

// dieWithParent ends Gitea when the test is killed.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
