// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/review"
)

// processPlanner plans each head in a process of its own, so that what somebody
// wrote into a pull request can take down no more than that.
type processPlanner struct {
	binary  string
	timeout time.Duration
	memory  int64         // bytes
	share   time.Duration // of processors; 0: as much as the time allows
}

const (
	maxVerdict = 4 << 20  // bytes of a verdict: a comment and three sentences
	maxTrace   = 16 << 10 // bytes kept of what a process says on stderr
)

// newProcessPlanner plans with this program itself.
func newProcessPlanner(o reviewOptions) (*processPlanner, error) {
	binary, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	return &processPlanner{binary: binary, timeout: o.Timeout, memory: o.Memory.Value()}, nil
}

// Plan starts a process, and kills it when its time is up.
func (p *processPlanner) Plan(ctx context.Context, q review.Question, commits *git.Commits) (review.Verdict, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	var out, trace bytes.Buffer
	cmd := exec.CommandContext(ctx, p.binary, headCommand, "--memory", strconv.FormatInt(p.memory, 10), "--seconds", strconv.FormatInt(int64(p.processor().Seconds()), 10))
	cmd.Dir = "/"
	// Nothing of the controller's own: no address of the cluster, no proxy, no token.
	cmd.Env = []string{"GOTRACEBACK=single", "GOMAXPROCS=" + strconv.Itoa(childProcs)}
	cmd.Stdout, cmd.Stderr = &limited{Buffer: &out, left: maxVerdict}, &limited{Buffer: &trace, left: maxTrace, drop: true}
	cmd.SysProcAttr = childAttributes()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return review.Verdict{}, fmt.Errorf("starting a process: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return review.Verdict{}, fmt.Errorf("starting a process: %w", err)
	}
	// A process that ends before it has read all closes the pipe: why, it says itself.
	_ = ask(stdin, q, commits)
	_ = stdin.Close()
	err = cmd.Wait()
	switch {
	case parent.Err() != nil:
		return review.Verdict{}, context.Canceled
	case ctx.Err() != nil:
		return review.Verdict{}, &review.Undone{Why: fmt.Sprintf("planning it takes longer than %s, which is all the time there is", p.timeout)}
	case err != nil:
		ctrl.LoggerFrom(parent).Info("planning a pull request ended badly", "head", q.Head, "error", err.Error(), "trace", trace.String())
		return review.Verdict{}, p.undone(trace.String(), cmd.ProcessState)
	}
	var verdict review.Verdict
	if err := json.Unmarshal(out.Bytes(), &verdict); err != nil {
		return review.Verdict{}, &review.Undone{Why: "planning it ended without an answer"}
	}
	return verdict, nil
}

// processor is the time of processors that a process gets, in whole seconds: what
// childProcs of them have until its time is up. The kernel holds it to that, whatever becomes of this
// process.
func (p *processPlanner) processor() time.Duration {
	if p.share > 0 {
		return p.share
	}
	return time.Duration(math.Ceil(p.timeout.Seconds())) * time.Second * childProcs
}

// undone says why a process ended, without what it wrote: that may hold whatever
// the pull request holds.
func (p *processPlanner) undone(trace string, ended *os.ProcessState) error {
	if bytes.Contains([]byte(trace), []byte("out of memory")) || bytes.Contains([]byte(trace), []byte("cannot allocate memory")) {
		return &review.Undone{Why: fmt.Sprintf("planning it takes more than %d MiB of memory, which is all there is", p.memory>>20)}
	}
	share := p.processor()
	switch time, memory := outOfTime(ended.Sys().(syscall.WaitStatus), ended.UserTime()+ended.SystemTime(), share); {
	case time && memory:
		return &review.Undone{Why: fmt.Sprintf("planning it takes more than %s of processor time or more memory than there is", share)}
	case time:
		return &review.Undone{Why: fmt.Sprintf("planning it takes more than %s of processor time, which is all there is", share)}
	}
	return &review.Undone{Why: "planning it ended badly; the log of the review controller says how"}
}

// outOfTime tells whether the kernel may have ended a process for what it used of its share of
// processors. The clock that the kernel holds to the limit counts whole ticks, and on a busy
// machine it is far ahead of the one that it tells of: so for what was killed, half the share
// will do. Below nine tenths it may as well have been memory, since that kills the same way.
func outOfTime(status syscall.WaitStatus, used, share time.Duration) (time, memory bool) {
	if used >= share*9/10 {
		return true, false
	}
	half := status.Signaled() && status.Signal() == syscall.SIGKILL && used >= share/2
	return half, half
}

// limited keeps the beginning of what is written to it.
type limited struct {
	*bytes.Buffer
	left int
	drop bool // take the rest and forget it, rather than refuse it
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	l.Buffer.Write(p[:n])
	if n < len(p) && !l.drop {
		return n, errTooMuch
	}
	return len(p), nil
}

var errTooMuch = errors.New("more is written than is read")

var _ io.Writer = (*limited)(nil)

// childProcs is the number of processors that one plan may use.
const childProcs = 2
