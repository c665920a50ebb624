// SPDX-License-Identifier: Apache-2.0

// Command pause is the program of a pod's sandbox: it holds the pod's namespaces
// open until it is told to go.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT)
	<-told
}
