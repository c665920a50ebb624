// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
)

// stopGrace is how long a component may take to end by itself: about 1 s when
// all is well, for ever when the API server has lost etcd.
const stopGrace = 3 * time.Second

// tailBytes of a log are shown when its component dies.
const tailBytes = 4096

// process is one component of the cluster, in a process group of its own so
// that an interrupt typed at a terminal reaches only the caller, who then stops
// the components in order.
type process struct {
	name    string
	logFile string
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process is gone
	err     error         // why, once done is closed
	ending  atomic.Bool   // it was asked to end
}

// command is what a process runs: program under a name, in dir, with env beside
// this process's environment.
type command struct {
	dir, program, name string
	env, args          []string
}

// startProcess runs a command with its output in dir/<name>.log. When it ends
// unasked, its failure goes to died.
func startProcess(c command, died chan<- error) (*process, error) {
	p := &process{name: c.name, logFile: filepath.Join(c.dir, c.name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, err
	}
	p.cmd = exec.Command(c.program)
	p.cmd.Args = append([]string{c.name}, c.args...)
	p.cmd.Dir = c.dir
	if len(c.env) > 0 {
		p.cmd.Env = append(os.Environ(), c.env...)
	}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = processAttributes()

	started := make(chan error)
	go func() {
		// The kernel ends the child when the thread that started it ends, so
		// that thread is kept until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer log.Close()
		err := p.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.err = p.cmd.Wait()
		close(p.done)
		if !p.ending.Load() {
			select {
			case died <- p.failure():
			default: // nobody has read the earlier ones; the first says most
			}
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	return p, nil
}

// stop ends the process: first with a request, then without.
func (p *process) stop() {
	p.ending.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err == nil {
		select {
		case <-p.done:
			return
		case <-time.After(stopGrace):
		}
	}
	_ = p.cmd.Process.Kill() // fails only for a process that is gone
	<-p.done
}

// failure says how the process ended and shows the end of its log. It is
// called once done is closed.
func (p *process) failure() error {
	err := p.err
	if err == nil {
		err = errors.New("exit status 0")
	}
	return fmt.Errorf("%s ended: %w; the end of its log:\n%s", p.name, err, tail(p.logFile))
}

// tail returns the last whole lines of a file, at most tailBytes.
func tail(file string) []byte {
	data, err := os.ReadFile(file)
	if err != nil {
		return []byte(err.Error())
	}
	if len(data) > tailBytes {
		data = data[len(data)-tailBytes:]
		if i := bytes.IndexByte(data, '\n'); i >= 0 {
			data = data[i+1:]
		}
	}
	return data
}
