// SPDX-License-Identifier: Apache-2.0

package train

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/espalier-dev/espalier/test/chats"
	"github.com/espalier-dev/espalier/test/harness"
)

var venv = flag.String("train.venv", "", "Virtual environment with Axolotl, as make e2e-train installs it; empty: the test is skipped")

// patience bounds an attempt. Axolotl alone takes half a minute to start on two idle
// cores, and minutes on busy ones.
const patience = 15 * time.Minute

// TestRealAxolotl: the real Axolotl trains with what is rendered. It is killed after
// its first checkpoints, told to go after further ones, and goes on from what was saved
// each time; it says how far it is; the adapter is published and pulled; and PEFT
// loads it, and answers otherwise than with the base model.
func TestRealAxolotl(t *testing.T) {
	if *venv == "" {
		t.Skip("needs Axolotl with Python: `make e2e-train` installs it")
	}
	espalier, err := harness.BuildEspalier(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{T: t, pod: render(t, espalier), venv: *venv}
	r.mount(t)
	rows := chats.Rows(72)
	table, err := chats.Parquet(rows)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.dir, "data", "chats.parquet"), table, 0o644); err != nil {
		t.Fatal(err)
	}
	model := r.setting(t, "base_model")
	r.say("making a small %s of random weights", model)
	r.say("%s", r.python("model.py", nil, filepath.Join(r.dir, "work", "huggingface"), model))
	listen(r)

	r.say("first attempt: killed when it has written a checkpoint")
	first := r.attempt(func(script *exec.Cmd) {
		r.await(1)
		_ = syscall.Kill(-script.Process.Pid, syscall.SIGKILL)
	})
	if first == nil {
		t.Fatal("it ended before it was killed: the data are too few")
	}
	saved := r.newest()

	r.say("second attempt: goes on from step %d, and is told to go after the next checkpoint", saved)
	second := r.attempt(func(script *exec.Cmd) {
		r.await(saved + 1)
		_ = script.Process.Signal(syscall.SIGTERM)
	})
	r.expect(2, r.resumes(saved), "espalier: told to go: saving a checkpoint first", "is saved: the next pod goes on from it")
	if second == nil || second.ExitCode() != 143 {
		t.Errorf("it ended with %v, want exit code 143", second)
	}
	told := r.newest()
	if told <= saved {
		t.Errorf("the newest checkpoint is of step %d after one of %d", told, saved)
	}

	r.say("third attempt: goes on from step %d to the end", told)
	if err := r.attempt(func(*exec.Cmd) {}); err != nil {
		t.Fatalf("it ended with %v:\n%s", err, r.log(3))
	}
	r.expect(3, r.resumes(told))
	steps := r.logged()
	r.heard(steps)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	r.load(r.publish(espalier, strings.TrimPrefix(server.URL, "http://")), rows[0])
}

// publish does what the container does that publishes, to another registry, and
// copies out of it what a service would mount.
func (r *run) publish(espalier, host string) (folder string) {
	c := r.container(r.T, "publish")
	r.say("%s: the thresholds are met, and the adapter is pushed", strings.Join(c.Command, " "))
	args := append([]string{}, c.Command[1:]...)
	for _, a := range c.Args {
		args = append(args, strings.Replace(r.here.Replace(a), "registry.example.com", host, 1))
	}
	args = append(args, "--termination-log", filepath.Join(r.dir, "left"))
	reference := r.program(exec.CommandContext(r.Context(), espalier, args...))
	r.say("pushed %s", reference)
	left, err := os.ReadFile(filepath.Join(r.dir, "left"))
	if err != nil {
		r.Fatal(err)
	}
	r.say("measured %s", left)
	folder = filepath.Join(r.dir, "adapter")
	if err := os.Mkdir(folder, 0o755); err != nil {
		r.Fatal(err)
	}
	r.program(exec.CommandContext(r.Context(), espalier, "adapter", "pull", reference, "--to", folder))
	return folder
}

// load has PEFT load an adapter, and sees that it does something, and something good.
func (r *run) load(adapter string, row chats.Row) {
	r.say("PEFT loads it")
	said := r.python("adapter.py", row.JSON(), r.setting(r.T, "base_model"), adapter)
	var got struct{ Difference, BaseLoss, AdapterLoss float64 }
	if err := json.Unmarshal([]byte(said[strings.LastIndex(said, "\n")+1:]), &got); err != nil {
		r.Fatalf("%v: %s", err, said)
	}
	r.say("logits differ by up to %.3f; loss of a row: %.3f with the base model, %.3f with the adapter", got.Difference, got.BaseLoss, got.AdapterLoss)
	if got.Difference < 0.01 || got.AdapterLoss >= got.BaseLoss {
		r.Error("the adapter does nothing, or nothing good")
	}
}

// await returns when a checkpoint of step or later is complete, or the test is over.
func (r *run) await(step int) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	_ = wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(context.Context) (bool, error) {
		return r.newest() >= step || r.ended.Load(), nil
	})
}

// program runs a program and returns what it prints, without its last newline.
func (r *run) program(cmd *exec.Cmd) string {
	var said, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	if err := cmd.Run(); err != nil {
		r.Fatalf("%s: %v:\n%s", strings.Join(cmd.Args, " "), err, complaint.String())
	}
	return strings.TrimSpace(said.String())
}
