// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

// trainerScript is the command of the container of the trainer.
func trainerScript(t *testing.T) []string { return scriptIn(t, "axolotl/0.19.0/job.yaml") }

// scriptIn is the shell's part of that command.
func scriptIn(t *testing.T, file string) []string {
	t.Helper()
	text, err := files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	job := batchv1.Job{}
	if err := yaml.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	init := job.Spec.Template.Spec.InitContainers
	args := init[len(init)-1].Args
	if i := slices.Index(args, "--"); i >= 0 { // of espalier member
		args = args[i+1:]
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip("there is no shell here")
	}
	return args
}

// TestIncompleteCheckpoint runs what the container of the trainer runs before
// the trainer: a checkpoint that was cut short goes, and nothing else does.
func TestIncompleteCheckpoint(t *testing.T) {
	args := trainerScript(t)
	out, programs := t.TempDir(), t.TempDir()
	for name, content := range map[string]string{
		"checkpoint-10/trainer_state.json": "{}", "checkpoint-20/trainer_state.json": "", "checkpoint-30/optimizer.pt": "x", "adapter_config.json": "{}",
	} {
		path := filepath.Join(out, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(programs, "axolotl"), []byte("#!/bin/sh\necho trained \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"RUN_OUTPUT=" + out, "PATH=" + programs + ":" + os.Getenv("PATH")}
	said, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(said), "trained train /config/axolotl.yaml") || strings.Count(string(said), "is incomplete") != 2 {
		t.Errorf("it ended with %v and said:\n%s", err, said)
	}
	left, err := filepath.Glob(filepath.Join(out, "*"))
	if err != nil || len(left) != 2 || filepath.Base(left[1]) != "checkpoint-10" {
		t.Errorf("left are %v, %v", left, err)
	}
}

// cudaError is how a run on one GPU ends that lacks memory: PyTorch's message is
// above the traceback of the launcher.
const cudaError = `#!/bin/sh
echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.20 GiB is free. Of the allocated memory 13 GiB is allocated by PyTorch" >&2
echo "subprocess.CalledProcessError: Command returned non-zero exit status 1." >&2
exit 1
`

// TestOutOfMemory sees that numbers are left for the condition, and that no try is
// paid for which cannot get further.
func TestOutOfMemory(t *testing.T) {
	const left = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB\n"
	for name, tc := range map[string]struct {
		reason, trainer, checkpoint string
		code                        int
		left                        string
	}{
		"AtOnce":          {"The same again would end the same.", cudaError, "", 78, left},
		"AfterCheckpoint": {"From a checkpoint a run may get further.", cudaError, "checkpoint-10/trainer_state.json", 1, left},
		"Otherwise":       {"Any other end has the code of the trainer, and leaves nothing.", "#!/bin/sh\necho my row\nexit 3\n", "", 3, ""},
	} {
		for _, file := range []string{"axolotl/0.19.0/job.yaml", "axolotl/0.19.0/nodes/job.yaml"} {
			t.Run(name+"/"+filepath.Base(filepath.Dir(file)), func(t *testing.T) {
				args := scriptIn(t, file)
				out, programs := t.TempDir(), t.TempDir()
				message := filepath.Join(programs, "termination-log")
				write(t, filepath.Join(programs, "axolotl"), tc.trainer)
				if tc.checkpoint != "" {
					write(t, filepath.Join(out, tc.checkpoint), "{}")
				}
				script := strings.ReplaceAll(args[len(args)-1], "/dev/termination-log", message)
				cmd := exec.CommandContext(t.Context(), args[0], args[1], script)
				cmd.Env = []string{"RUN_OUTPUT=" + out, "JOB_COMPLETION_INDEX=0", "TMPDIR=" + t.TempDir(), "PATH=" + programs + ":" + os.Getenv("PATH")}
				said, err := cmd.CombinedOutput()
				if code := cmd.ProcessState.ExitCode(); code != tc.code {
					t.Errorf("%s\nended with %d (%v), want %d:\n%s", tc.reason, code, err, tc.code, said)
				}
				if text, err := os.ReadFile(message); err != nil || string(text) != tc.left {
					t.Errorf("%s\nleft %q (%v), want %q", tc.reason, text, err, tc.left)
				}
			})
		}
	}
}

// write makes a file that can be run, and its folder.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

// fakeTrainer does what Axolotl does when it finds the file: it takes the file
// away and writes a checkpoint, trainer_state.json last; and it goes on training.
const fakeTrainer = `#!/bin/sh
echo training
while :; do
  if [ -e "$RUN_OUTPUT/save-now" ]; then
    rm "$RUN_OUTPUT/save-now"
    sleep 1
    mkdir "$RUN_OUTPUT/checkpoint-40"
    echo weights > "$RUN_OUTPUT/checkpoint-40/adapter_model.safetensors"
    echo {} > "$RUN_OUTPUT/checkpoint-40/trainer_state.json"
  fi
  sleep 0.1
done
`

// TestToldToGo sends what the kubelet sends an evicted pod: the run saves first,
// and its end is no success.
func TestToldToGo(t *testing.T) {
	args := trainerScript(t)
	out, programs := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "axolotl"), []byte(fakeTrainer), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"RUN_OUTPUT=" + out, "PATH=" + programs + ":" + os.Getenv("PATH")}
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
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	var ended *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &ended) || ended.ExitCode() != 143 {
		t.Errorf("it ended with %v, want exit code 143", err)
	}
	if want := "checkpoint-40 is saved: the next pod goes on from it"; !strings.Contains(last, want) {
		t.Errorf("the last line is %q, want %q", last, want)
	}
}

// TestTrainerFails: the container fails as its trainer does.
func TestTrainerFails(t *testing.T) {
	args := trainerScript(t)
	programs := t.TempDir()
	if err := os.WriteFile(filepath.Join(programs, "axolotl"), []byte("#!/bin/sh\nexit 3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env = []string{"RUN_OUTPUT=" + t.TempDir(), "PATH=" + programs + ":" + os.Getenv("PATH")}
	var ended *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &ended) || ended.ExitCode() != 3 {
		t.Errorf("it ended with %v, want exit code 3", err)
	}
}
