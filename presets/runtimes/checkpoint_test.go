// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bufio"
	"encoding/binary"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// trainerScript is the command of the container of the trainer.
func trainerScript(t *testing.T) []string { return scriptIn(t, "axolotl/0.19.0/job.yaml", "train") }

// scriptIn is the shell's part of the command of a container.
func scriptIn(t *testing.T, file, container string) []string {
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
	args := init[slices.IndexFunc(init, func(c corev1.Container) bool { return c.Name == container })].Args
	if i := slices.Index(args, "--"); i >= 0 { // of espalier member
		args = args[i+1:]
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip("there is no shell here")
	}
	return args
}

// state is a trainer_state.json as transformers writes it.
const state = "{\n  \"global_step\": 10,\n  \"log_history\": [\n    {\n      \"loss\": 1.5\n    }\n  ]\n}\n"

// saved is the end of what torch.save writes: a zip, whose last 22 bytes are the end record.
const saved = "PK\x03\x04 tensors PK\x05\x06\x00\x00\x00\x00\x05\x00\x05\x00\x4a\x01\x00\x00\x80\x03\x00\x00\x00\x00"

// weights is a whole file of safetensors with two tensors.
func weights() string {
	const header = `{"__metadata__":{"format":"pt"},"b":{"dtype":"U8","shape":[60],"data_offsets":[40,100]},"a":{"dtype":"U8","shape":[40],"data_offsets":[0,40]}}`
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + strings.Repeat("\x00", 100)
}

// TestIncompleteCheckpoint runs what is run before the trainer: a checkpoint that was cut short
// goes, and nothing else does; what is wrong with it is left for the controller.
func TestIncompleteCheckpoint(t *testing.T) {
	const states, tensors = "/trainer_state.json", "/adapter_model.safetensors"
	full := weights()
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string // of the folder, beside the adapter's configuration
		left   []string          // checkpoints that stay
		says   string            // the message
	}{
		"Whole":         {"What is whole stays.", map[string]string{"checkpoint-10" + states: state, "checkpoint-10" + tensors: full}, []string{"checkpoint-10"}, ""},
		"OneLine":       {"JSON need not be indented.", map[string]string{"checkpoint-10" + states: "{}"}, []string{"checkpoint-10"}, ""},
		"NoState":       {"It is written last.", map[string]string{"checkpoint-10" + states: state, "checkpoint-30/optimizer.pt": "x"}, []string{"checkpoint-10"}, "checkpoint-30: trainer_state.json is not there, or empty\nleft: checkpoint-10\n"},
		"EmptyState":    {"A node that was lost leaves names without content.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: ""}, []string{"checkpoint-10"}, "checkpoint-20: trainer_state.json is not there, or empty\nleft: checkpoint-10\n"},
		"CutState":      {"It ends in the middle.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state[:30]}, []string{"checkpoint-10"}, "checkpoint-20: trainer_state.json has no end\nleft: checkpoint-10\n"},
		"CutAtABrace":   {"The brace is of an inner object.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state[:strings.Index(state, "    }")+6]}, []string{"checkpoint-10"}, "checkpoint-20: trainer_state.json has no end\nleft: checkpoint-10\n"},
		"CutWeights":    {"They are shorter than their header says.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20" + tensors: full[:len(full)-1]}, []string{"checkpoint-10"}, "checkpoint-20: adapter_model.safetensors has no end\nleft: checkpoint-10\n"},
		"CutHeader":     {"They end within their header.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20" + tensors: full[:50]}, []string{"checkpoint-10"}, "checkpoint-20: adapter_model.safetensors has no end\nleft: checkpoint-10\n"},
		"EmptyWeights":  {"They have no header.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20" + tensors: ""}, []string{"checkpoint-10"}, "checkpoint-20: adapter_model.safetensors has no end\nleft: checkpoint-10\n"},
		"NoSafetensors": {"Their header is longer than any.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20" + tensors: strings.Repeat("x", 200)}, []string{"checkpoint-10"}, "checkpoint-20: adapter_model.safetensors has no end\nleft: checkpoint-10\n"},
		"TwoOfThree":    {"The one before the one before counts.", map[string]string{"checkpoint-5" + states: state, "checkpoint-10" + states: state[:9], "checkpoint-20" + states: ""}, []string{"checkpoint-5"}, "checkpoint-10: trainer_state.json has no end\ncheckpoint-20: trainer_state.json is not there, or empty\nleft: checkpoint-5\n"},
		"WholeTorch":    {"What torch.save wrote to its end stays.", map[string]string{"checkpoint-10" + states: state, "checkpoint-10/optimizer.pt": saved, "checkpoint-10/rng_state.pth": saved}, []string{"checkpoint-10"}, ""},
		"EmptyTorch":    {"torch.load would fail in every try.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20/optimizer.pt": ""}, []string{"checkpoint-10"}, "checkpoint-20: optimizer.pt is empty\nleft: checkpoint-10\n"},
		"CutTorch":      {"The end of the archive is missing.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20/scheduler.pt": saved[:len(saved)-1]}, []string{"checkpoint-10"}, "checkpoint-20: scheduler.pt has no end\nleft: checkpoint-10\n"},
		"ZeroedTorch":   {"A file system may give a name its size and no content.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20/rng_state_0.pth": strings.Repeat("\x00", len(saved))}, []string{"checkpoint-10"}, "checkpoint-20: rng_state_0.pth has no end\nleft: checkpoint-10\n"},
		"EmptyFile":     {"No file of a checkpoint is empty.", map[string]string{"checkpoint-10" + states: state, "checkpoint-20" + states: state, "checkpoint-20/training_args.bin": ""}, []string{"checkpoint-10"}, "checkpoint-20: training_args.bin is empty\nleft: checkpoint-10\n"},
		"Rotated":       {"A pod may end while the trainer deletes an old one: what the run goes on from is newer.", map[string]string{"checkpoint-10" + states: state[:9], "checkpoint-9" + states: state, "checkpoint-20" + states: state}, []string{"checkpoint-20", "checkpoint-9"}, "checkpoint-10: trainer_state.json has no end\nleft: checkpoint-20\n"},
		"None":          {"The log says that the run begins anew.", map[string]string{"checkpoint-10" + states: state[:9]}, nil, "checkpoint-10: trainer_state.json has no end\nanew\n"},
		"First":         {"A run that begins has nothing to say.", nil, nil, ""},
	} {
		for _, file := range []string{"axolotl/0.19.0/job.yaml", "axolotl/0.19.0/nodes/job.yaml"} {
			t.Run(name+"/"+filepath.Base(filepath.Dir(file)), func(t *testing.T) {
				args := scriptIn(t, file, "resume")
				out, message := t.TempDir(), filepath.Join(t.TempDir(), "termination-log")
				write(t, filepath.Join(out, "adapter_config.json"), "{}")
				write(t, message, "")
				for path, content := range tc.files {
					write(t, filepath.Join(out, path), content)
				}
				cmd := exec.CommandContext(t.Context(), args[0], args[1], strings.ReplaceAll(args[2], "/dev/termination-log", message))
				cmd.Env = []string{"RUN_OUTPUT=" + out, "JOB_COMPLETION_INDEX=0", "PATH=" + os.Getenv("PATH")}
				said, err := cmd.CombinedOutput()
				if err != nil || strings.Contains(string(said), "the run begins anew") != strings.HasSuffix(tc.says, "anew\n") {
					t.Errorf("%s\nit ended with %v and said:\n%s", tc.reason, err, said)
				}
				if text, err := os.ReadFile(message); err != nil || string(text) != tc.says {
					t.Errorf("%s\nit left %q (%v), want %q", tc.reason, text, err, tc.says)
				}
				found, err := filepath.Glob(filepath.Join(out, "checkpoint-*"))
				var left []string
				for _, path := range found {
					left = append(left, filepath.Base(path))
				}
				if err != nil || !slices.Equal(left, tc.left) {
					t.Errorf("%s\nleft are %v (%v), want %v; it said:\n%s", tc.reason, left, err, tc.left, said)
				}
				if gone := strings.Count(string(said), "is cut short and is removed"); gone != checkpointsIn(tc.files)-len(tc.left) {
					t.Errorf("%s\n%d are said to be cut short:\n%s", tc.reason, gone, said)
				}
			})
		}
	}
}

func checkpointsIn(files map[string]string) int {
	folders := map[string]bool{}
	for path := range files {
		folders[filepath.Dir(path)] = true
	}
	return len(folders)
}

// cudaError is how a run on one GPU ends that lacks memory: PyTorch's message is
// above the traceback of the launcher.
const cudaError = `#!/bin/sh
echo "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.20 GiB is free. Of the allocated memory 13 GiB is allocated by PyTorch" >&2
echo "subprocess.CalledProcessError: Command returned non-zero exit status 1." >&2
exit 1
`

// diskError is how a run ends that cannot write a checkpoint.
const diskError = `#!/bin/sh
echo "safetensors_rust.SafetensorError: Error while serializing: I/O error: No space left on device (os error 28)" >&2
echo "subprocess.CalledProcessError: Command returned non-zero exit status 1." >&2
exit 1
`

// survivedDisk is how a run ends that a full disk did not stop hours ago.
var survivedDisk = strings.Replace(diskError, "echo \"subprocess", "for step in $(seq 100); do echo \"step $step\"; done\necho \"CUDA error: uncorrectable ECC error encountered\"\necho \"subprocess", 1)

// fakeDisk says how full a disk is.
const fakeDisk = `#!/bin/sh
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "/dev/sdc 33554432 33553198 1234 100% /work"
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
		"FullDisk":        {"The next try would find the disk as full; how much is free says which disk it was.", diskError, "checkpoint-10/trainer_state.json", 78, "No space left on device: 1234 KiB are free where the checkpoints are\n"},
		"SurvivedDisk":    {"What was overcome long ago is not why it ended.", survivedDisk, "checkpoint-10/trainer_state.json", 1, ""},
		"Otherwise":       {"Any other end has the code of the trainer, and leaves nothing.", "#!/bin/sh\necho my row\nexit 3\n", "", 3, ""},
	} {
		for _, file := range []string{"axolotl/0.19.0/job.yaml", "axolotl/0.19.0/nodes/job.yaml"} {
			t.Run(name+"/"+filepath.Base(filepath.Dir(file)), func(t *testing.T) {
				args := scriptIn(t, file, "train")
				out, programs := t.TempDir(), t.TempDir()
				message := filepath.Join(programs, "termination-log")
				write(t, filepath.Join(programs, "axolotl"), tc.trainer)
				write(t, filepath.Join(programs, "df"), fakeDisk)
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
