// SPDX-License-Identifier: Apache-2.0

package train

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/progress"
)

// run is a run of the pod on this machine.
type run struct {
	*testing.T
	*pod
	venv     string
	attempts int
	ended    atomic.Bool // the attempt that is under way
	begun    time.Time

	progress []string // variables that tell the trainer where to say how far it is

	mu      sync.Mutex
	reports []progress.Report
}

// say tells what is done, while it is done.
func (r *run) say(format string, args ...any) {
	r.Helper()
	if r.begun.IsZero() {
		r.begun = time.Now()
	}
	r.Logf("%4.0f s  %s", time.Since(r.begun).Seconds(), fmt.Sprintf(format, args...))
}

// environment is that of the container of the trainer, and what this machine needs:
// where the programs are, that there is no GPU and no hub.
func (r *run) environment() []string {
	env := []string{
		"PATH=" + filepath.Join(r.venv, "bin") + ":" + os.Getenv("PATH"), "HOME=" + r.dir, "TMPDIR=" + r.dir,
		"CUDA_VISIBLE_DEVICES=", "HF_HUB_OFFLINE=1", "PYTHONWARNINGS=ignore",
	}
	return append(append(env, r.progress...), r.env(r.container(r.T, "train"))...)
}

// python runs a program of this folder.
func (r *run) python(file string, input []byte, args ...string) string {
	cmd := exec.CommandContext(r.Context(), filepath.Join(r.venv, "bin", "python"), append([]string{file}, args...)...)
	cmd.Env, cmd.Stdin = r.environment(), bytes.NewReader(input)
	return r.program(cmd)
}

// attempt runs the container of the trainer once, as the kubelet does: what is left
// of it when process 1 has ended is killed. Meanwhile interrupt may do something.
func (r *run) attempt(interrupt func(script *exec.Cmd)) *exec.ExitError {
	r.attempts++
	out, err := os.Create(r.logFile(r.attempts))
	if err != nil {
		r.Fatal(err)
	}
	defer out.Close()
	container := func(name string) *exec.Cmd {
		args := r.container(r.T, name).Args
		cmd := exec.CommandContext(r.Context(), args[0], args[1], r.here.Replace(args[2]))
		cmd.Env, cmd.Stdout, cmd.Stderr, cmd.Dir = r.environment(), out, out, r.dir
		return cmd
	}
	if err := container("resume").Run(); err != nil {
		r.Fatalf("looking at the checkpoints: %v:\n%s", err, r.log(r.attempts))
	}
	cmd := container("train")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.ended.Store(false)
	if err := cmd.Start(); err != nil {
		r.Fatal(err)
	}
	late := time.AfterFunc(patience, func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })
	defer late.Stop()
	interrupted := make(chan struct{})
	go func() {
		defer close(interrupted)
		interrupt(cmd)
	}()
	err = cmd.Wait()
	r.ended.Store(true)
	<-interrupted
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	r.say("attempt %d ended: %v; step %d is saved", r.attempts, cmd.ProcessState, r.newest())
	if r.newest() == 0 {
		r.Fatalf("nothing is saved:\n%s", r.log(r.attempts))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.Fatal(err)
	}
	return exit
}

func (r *run) logFile(attempt int) string {
	return filepath.Join(r.dir, fmt.Sprintf("attempt-%d.log", attempt))
}

// log is the end of what an attempt said.
func (r *run) log(attempt int) string {
	text, err := os.ReadFile(r.logFile(attempt))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-8<<10):])
}

// expect sees that an attempt said something.
func (r *run) expect(attempt int, texts ...string) {
	r.Helper()
	all, err := os.ReadFile(r.logFile(attempt))
	if err != nil {
		r.Fatal(err)
	}
	for _, text := range texts {
		if !strings.Contains(string(all), text) {
			r.Errorf("attempt %d did not say %q:\n%s", attempt, text, r.log(attempt))
		}
	}
}

// resumes is what Axolotl says when it goes on from the checkpoint of a step.
func (r *run) resumes(step int) string {
	return fmt.Sprintf("resume from checkpoint at %s/checkpoint-%d\n", r.output(), step)
}

// newest is the step of the newest complete checkpoint, 0 where there is none.
func (r *run) newest() (newest int) {
	found, _ := filepath.Glob(filepath.Join(r.output(), "checkpoint-*", "trainer_state.json"))
	for _, file := range found {
		step, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(file)), "checkpoint-"))
		if info, gone := os.Stat(file); err == nil && gone == nil && info.Size() > 0 {
			newest = max(newest, step)
		}
	}
	return newest
}

func (r *run) output() string { return r.here.Replace(r.setting(r.T, "output_dir")) }

// logged sees that the losses of all steps are those of one run, none twice and none
// missing, and returns how many there are.
func (r *run) logged() int {
	text, err := os.ReadFile(filepath.Join(r.output(), "checkpoint-"+strconv.Itoa(r.newest()), "trainer_state.json"))
	if err != nil {
		r.Fatal(err)
	}
	var state struct {
		Steps   int `json:"max_steps"`
		History []struct {
			Step int      `json:"step"`
			Loss *float64 `json:"loss"`
		} `json:"log_history"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		r.Fatal(err)
	}
	var losses []float64
	for _, l := range state.History {
		if l.Loss == nil {
			continue
		}
		if losses = append(losses, *l.Loss); l.Step != len(losses) {
			r.Errorf("the loss of step %d is logged where that of %d should be", l.Step, len(losses))
		}
	}
	if len(losses) != state.Steps || state.Steps == 0 {
		r.Fatalf("%d losses are logged of %d steps", len(losses), state.Steps)
	}
	r.say("loss from %.3f to %.3f over %d steps in %d attempts", losses[0], losses[len(losses)-1], state.Steps, r.attempts)
	return state.Steps
}

// bearer is what the projected token of the pod would be.
const bearer = "token-of-the-pod"

// listen takes the place of the controller: what the trainer posts is read as the
// controller reads it, over TLS and with the variables of a pod.
func listen(r *run) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		report, bad := progress.Decode(body)
		if err := errors.Join(err, bad); err != nil || req.Header.Get("Authorization") != "Bearer "+bearer {
			r.Errorf("the trainer posted %.200s (%v)", body, err)
		}
		r.mu.Lock()
		r.reports = append(r.reports, report)
		r.mu.Unlock()
	}))
	r.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string][]byte{"progress-ca.crt": authority, "progress-token": []byte(bearer)} {
		if err := os.WriteFile(filepath.Join(r.dir, "config", name), text, 0o600); err != nil {
			r.Fatal(err)
		}
	}
	r.progress = []string{
		"KUBEFLOW_TRAINER_SERVER_URL=" + server.URL + progress.Path,
		"KUBEFLOW_TRAINER_SERVER_CA_CERT=" + filepath.Join(r.dir, "config", "progress-ca.crt"),
		"KUBEFLOW_TRAINER_SERVER_TOKEN=" + filepath.Join(r.dir, "config", "progress-token"),
	}
}

// heard sees that the trainer has said how far it is, until it was done.
func (r *run) heard(steps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) == 0 {
		r.Fatal("the trainer never said how far it is")
	}
	// Those of the beginning and the end always come; the ones between, five seconds apart.
	steps64, losses := int64(steps), 0
	total := slices.ContainsFunc(r.reports, func(p progress.Report) bool { return p.Steps != nil && *p.Steps == steps64 })
	for _, report := range r.reports {
		if report.Loss != "" {
			losses++
		}
	}
	last := r.reports[len(r.reports)-1]
	if !total || losses == 0 || last.Percent == nil || *last.Percent != 100 {
		r.Errorf("of %d reports %d have a loss, one says that there are %d steps: %t; the last one says %+v", len(r.reports), losses, steps, total, last)
	}
	r.say("%d reports of progress came, %d with a loss, and the last one says 100 %%", len(r.reports), losses)
}
