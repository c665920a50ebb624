// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/espalier-dev/espalier/deploy/image"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/port"
)

// BuildEspalier builds the product's binary into bin/ of the checkout, as a
// user would, and returns its path.
func BuildEspalier(ctx context.Context, out io.Writer) (string, error) {
	root, err := cluster.Root()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(root, "bin", "espalier")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags="+image.Tags, "-o", binary, "./cmd/espalier")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, out, out
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building espalier: %w", err)
	}
	return binary, nil
}

// lateEnd is when a controller that was asked to end is taken to hang. It is less
// than the controller's own --graceful-stop, and a healthy one takes a second.
const lateEnd = 15 * time.Second

// Controller is a running `espalier controller`.
type Controller struct {
	cmd    *exec.Cmd
	health string
	hook   string
	ended  chan struct{} // closed when it has
	err    error         // how it ended, once it has
	log    *os.File
}

// HookURL is where a webhook goes: path is /hook or /review.
func (c *Controller) HookURL(path, namespace, name string) string {
	return fmt.Sprintf("http://%s%s/%s/%s", c.hook, path, namespace, name)
}

// Ended is closed when the controller has ended.
func (c *Controller) Ended() <-chan struct{} { return c.ended }

// Err says how the controller has ended.
func (c *Controller) Err() error {
	return fmt.Errorf("the controller ended: %s; see %s", c.cmd.ProcessState, c.log.Name())
}

// PID is the process of the controller.
func (c *Controller) PID() int { return c.cmd.Process.Pid }

// StartController starts the controller of the Stand and returns when it is
// ready. It runs without leader election: the one after a SIGKILL is to act at
// once, not when a Lease has run out.
func (s *Stand) StartController(ctx context.Context) error {
	c, err := s.startReplica(ctx, s.progress, "--leader-elect=false")
	s.controller = c
	return err
}

// StartReplica starts a controller with further flags, which stand over the Stand's
// own.
func (s *Stand) StartReplica(ctx context.Context, flags ...string) (*Controller, error) {
	progress, err := port.FreeAddress() // leaders of several shards listen at once
	if err != nil {
		return nil, err
	}
	return s.startReplica(ctx, progress, flags...)
}

// startReplica starts a controller that takes progress at an address.
func (s *Stand) startReplica(ctx context.Context, progress string, flags ...string) (*Controller, error) {
	if progress != "" {
		flags = append([]string{"--progress-url", "https://" + progress, "--progress-addr", progress}, flags...)
	}
	return s.startProcess(ctx, s.ControllerLog(), append(s.ARM.Env(), "KUBECONFIG="+s.kubeconfig), append(s.controllerArgs(), flags...))
}

// startProcess starts a controller with an environment and flags.
func (s *Stand) startProcess(ctx context.Context, logFile string, env, flags []string) (*Controller, error) {
	health, err := port.FreeAddress()
	if err != nil {
		return nil, err
	}
	hook, err := port.FreeAddress()
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the controller's log: %w", err)
	}
	args := append([]string{"controller", "--health-addr", health, "--hook-addr", hook, "--metrics-addr", "0"}, flags...)
	command := slices.Concat(s.inside, []string{s.binary}, args)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the controller: %w", err)
	}
	s.started = true
	c := &Controller{cmd: cmd, health: health, hook: hook, ended: make(chan struct{}), log: log}
	go func() {
		c.err = cmd.Wait()
		close(c.ended)
	}()
	return c, c.waitReady(ctx)
}

func (c *Controller) waitReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		select {
		case <-c.ended:
			return false, c.Err()
		default:
			return c.answers(ctx), nil
		}
	})
	if err != nil {
		return fmt.Errorf("waiting for the controller: %w", err)
	}
	return nil
}

func (c *Controller) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.health+"/readyz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// HookURL is where a webhook of a RepoSync goes.
func (s *Stand) HookURL(namespace, name string) string {
	return s.controller.HookURL("/hook", namespace, name)
}

// Binary is the program that runs as controllers.
func (s *Stand) Binary() string { return s.binary }

// KillController kills the controller with SIGKILL, as a lost node would.
func (s *Stand) KillController() error {
	c := s.controller
	s.controller = nil
	return c.end(syscall.SIGKILL)
}

// StopController stops the controller with SIGTERM and says how it ended.
func (s *Stand) StopController() error {
	c := s.controller
	s.controller = nil
	return c.Stop()
}

// Stop stops a controller with SIGTERM and says how it ended.
func (c *Controller) Stop() error { return c.end(syscall.SIGTERM) }

// Kill kills a controller with SIGKILL, as a lost node would.
func (c *Controller) Kill() error { return c.end(syscall.SIGKILL) }

func (c *Controller) end(signal syscall.Signal) error {
	if c == nil {
		return nil
	}
	defer c.log.Close()
	if err := c.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signalling the controller: %w", err)
	}
	// One that does not end by itself says where it stands, in its log.
	late := time.AfterFunc(lateEnd, func() { _ = c.cmd.Process.Signal(syscall.SIGQUIT) })
	defer late.Stop()
	<-c.ended
	if signal == syscall.SIGKILL {
		return nil // that is how it ends
	}
	return c.err
}
