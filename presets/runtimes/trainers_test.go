// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// podOf is the script of one pod of a run over two nodes, with a trainer.
func podOf(t *testing.T, index, out, trainer string) *exec.Cmd {
	t.Helper()
	args := scriptIn(t, "axolotl/0.19.0/nodes/job.yaml", "train")
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "axolotl"), []byte(trainer), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{
		"JOB_COMPLETION_INDEX=" + index, "RUN_OUTPUT=" + out, "RUN_NODES=2", "RUN_GPUS=4", "RUN_PODS=run", "RUN_DOMAIN=w-nodes.n.svc",
		"PATH=" + programs + ":" + os.Getenv("PATH"),
	}
	return cmd
}

// TestTrainersStart: every pod starts torchrun by its own rank and the address of
// pod 0, and only pod 0 touches what all of them see.
func TestTrainersStart(t *testing.T) {
	for index, left := range map[string]int{"0": 0, "1": 1} {
		out := t.TempDir()
		if err := os.MkdirAll(filepath.Join(out, "checkpoint-10"), 0o755); err != nil {
			t.Fatal(err)
		}
		said, err := podOf(t, index, out, "#!/bin/sh\necho trained \"$@\"\n").CombinedOutput()
		want := "trained train /config/axolotl.yaml --launcher torchrun -- --nnodes=2 --nproc_per_node=4 --node_rank=" + index +
			" --master_addr=run-0.w-nodes.n.svc --master_port=29500"
		if err != nil || !strings.Contains(string(said), want) {
			t.Errorf("pod %s ended with %v and said:\n%s", index, err, said)
		}
		look := exec.CommandContext(t.Context(), "sh", "-c", scriptIn(t, "axolotl/0.19.0/nodes/job.yaml", "resume")[2])
		look.Env = []string{"JOB_COMPLETION_INDEX=" + index, "RUN_OUTPUT=" + out, "PATH=" + os.Getenv("PATH")}
		if said, err := look.CombinedOutput(); err != nil && left == 1 {
			t.Errorf("pod %s looked at the checkpoints of others: %v: %s", index, err, said)
		}
		if checkpoints, _ := filepath.Glob(filepath.Join(out, "checkpoint-*")); len(checkpoints) != left {
			t.Errorf("pod %s left %d incomplete checkpoints, want %d", index, len(checkpoints), left)
		}
	}
}

// TestTrainersToldToGo: pod 0 saves before it ends; the others ask for nothing.
func TestTrainersToldToGo(t *testing.T) {
	for index, saves := range map[string]bool{"0": true, "1": false} {
		out := t.TempDir()
		cmd := podOf(t, index, out, fakeTrainer)
		said, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(said)
		for lines.Scan() && lines.Text() != "training" {
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
		}
		var ended *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 143 {
			t.Errorf("pod %s ended with %v, want exit code 143", index, err)
		}
		if _, err := os.Stat(filepath.Join(out, "checkpoint-40")); (err == nil) != saves {
			t.Errorf("pod %s: checkpoint %v", index, err)
		}
	}
}

// TestTrainersFail: the container fails as its trainer does, which is not as one
// that ends for the sake of another pod.
func TestTrainersFail(t *testing.T) {
	var ended *exec.ExitError
	if err := podOf(t, "1", t.TempDir(), "#!/bin/sh\nexit 3\n").Run(); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("it ended with %v, want exit code 3", err)
	}
}
