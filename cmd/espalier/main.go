// SPDX-License-Identifier: Apache-2.0

// Command espalier is the controller and the command line of Espalier.
//
// Results go to stdout and talk to stderr. It exits with 0 when all is well,
// 1 when the input is refused (it is wrong, does not fit, or exceeds the budget),
// and 2 on misuse or failure. A member of several pods that ends because of
// another one exits with 75, and a helper in a pod whose input no other try can mend
// with 78.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/espalier-dev/espalier/cmd/espalier/member"
)

// Exit codes.
const (
	exitOK      = 0
	exitRefused = 1
	exitFailed  = 2
	exitLost    = 75 // EX_TEMPFAIL of sysexits.h; the Jobs of presets/runtimes/axolotl know it,
	exitFinal   = 78 // and EX_CONFIG
)

// errRefused ends a command whose input was refused, after its findings are printed.
var errRefused = errors.New("refused")

// errFinal is errRefused for a helper in a pod: its Job is not to try again.
var errFinal = errors.New("refused for good")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process, so that tests call it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitOK
	case errors.Is(err, errRefused):
		return exitRefused
	case errors.Is(err, errFinal):
		return exitFinal
	case errors.Is(err, member.ErrLost):
		fmt.Fprintf(stderr, "espalier: %v\n", err)
		return exitLost
	default:
		fmt.Fprintf(stderr, "espalier: %v\n", err)
		return exitFailed
	}
}
