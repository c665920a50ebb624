// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// heartbeat is how often a build says that it is alive where lines stay.
	heartbeat = 15 * time.Second
	// redraw is the same where a line can be written over.
	redraw = 200 * time.Millisecond
	// keptLines of a build's complaints are shown when it breaks.
	keptLines = 30
)

// buildLog is what a running `go build -v` has said: package names as they are
// compiled, and complaints.
type buildLog struct {
	mu         sync.Mutex
	compiled   int
	last       string
	complaints []string
}

func (l *buildLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.ContainsAny(line, " :#") { // a package name has none of these
		l.compiled++
		l.last = line
		return
	}
	l.complaints = append(l.complaints, line)
	if len(l.complaints) > keptLines {
		l.complaints = l.complaints[1:]
	}
}

func (l *buildLog) progress() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.compiled == 0 {
		return "nothing had to be compiled so far"
	}
	return fmt.Sprintf("%d packages compiled, now %s", l.compiled, l.last)
}

func (l *buildLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.complaints, "\n")
}

// WatchBuild runs a `go build -v` and says how far it is: in one line on a
// terminal, in a line now and then elsewhere.
func WatchBuild(cmd *exec.Cmd, name string, out io.Writer) error {
	var said buildLog
	talk, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		for lines := bufio.NewScanner(talk); lines.Scan(); {
			said.add(lines.Text())
		}
		done <- cmd.Wait()
	}()

	terminal := isTerminal(out)
	every := heartbeat
	if terminal {
		every = redraw
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for started := time.Now(); ; {
		select {
		case err := <-done:
			if terminal {
				fmt.Fprint(out, "\r\x1b[K")
			}
			if err != nil {
				return errors.Join(err, errors.New(said.String()))
			}
			return nil
		case <-ticker.C:
			line := fmt.Sprintf("  %s: %s, %s", name, time.Since(started).Round(time.Second), said.progress())
			if terminal {
				fmt.Fprint(out, "\r\x1b[K", cut(line, out))
			} else {
				fmt.Fprintln(out, line)
			}
		}
	}
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// cut shortens a line to the width of the terminal, so that it can be written
// over.
func cut(line string, out io.Writer) string {
	width, _, err := term.GetSize(int(out.(*os.File).Fd()))
	if err != nil || width <= 1 || len(line) < width {
		return line
	}
	return line[:width-1]
}
