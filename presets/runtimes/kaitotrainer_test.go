// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const kaitoJob = "kaito/0.5.0/tuning/job.yaml"

// pod is the container of KAITO's trainer, with stand-ins for the programs in it.
type pod struct {
	out, left string // what is written, and the message that is left behind
	cmd       *exec.Cmd
}

// trainerPod prepares a pod whose trainer is a script, beside a server of metrics that
// never ends.
func trainerPod(t *testing.T, trainer string) pod {
	t.Helper()
	args := scriptIn(t, kaitoJob, "train")
	dir, programs := t.TempDir(), t.TempDir()
	p := pod{out: filepath.Join(dir, "run", "out"), left: filepath.Join(dir, "termination-log")}
	write(t, filepath.Join(programs, "accelerate"), trainer)
	write(t, filepath.Join(programs, "python3"), "#!/bin/sh\nexec sleep 600\n")
	script := strings.NewReplacer("/dev/termination-log", p.left, "/workspace/tfs", dir).Replace(args[len(args)-1])
	p.cmd = exec.CommandContext(t.Context(), args[0], args[1], script)
	p.cmd.Env = []string{"RUN_OUTPUT=" + p.out, "RUN_GPUS=2", "TMPDIR=" + t.TempDir(), "PATH=" + programs + ":" + os.Getenv("PATH")}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() { // what a kubelet does when process 1 has ended
		if p.cmd.Process != nil {
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	return p
}

// run waits for process 1, whatever else still runs beside it.
func (p pod) run(t *testing.T) (code int, said string) {
	t.Helper()
	words, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer words.Close()
	p.cmd.Stdout, p.cmd.Stderr = words, words
	var exit *exec.ExitError
	if err := p.cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	text, err := os.ReadFile(words.Name())
	if err != nil {
		t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode(), string(text)
}

// trained is what KAITO's trainer writes at its end.
const trained = `#!/bin/sh
echo "$@"
for file in fine_tuning_completed.txt adapter_config.json; do echo x > "$RUN_OUTPUT/$file"; done
printf '\002\000\000\000\000\000\000\000{}' > "$RUN_OUTPUT/adapter_model.safetensors"
`

// TestKaitoTrainer: the container ends as the trainer does, the metrics hold nothing up,
// and only a whole adapter counts as one.
func TestKaitoTrainer(t *testing.T) {
	const left = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB\n"
	for name, tc := range map[string]struct {
		reason, trainer string
		code            int
		says, left      string
		mark            bool
	}{
		"Trains":     {"one process for each GPU, as KAITO starts it", trained, 0, "launch --num_processes=2", "", true},
		"Crashes":    {"a crash is one, and no adapter is published", "#!/bin/sh\necho my row\nexit 3\n", 3, "my row", "", false},
		"OutOfRoom":  {"another try would lack the memory too", cudaError, 78, "CUDA out of memory", left, false},
		"DiskFull":   {"another try would find it full too", "#!/bin/sh\necho 'OSError: [Errno 28] No space left on device'\nexit 1\n", 78, "No space left", "No space left on device: ", false},
		"NoAdapter":  {"it ended well and has left nothing", "#!/bin/sh\nexit 0\n", 1, "has left no fine_tuning_completed.txt", "", false},
		"HalfOfOne":  {"one of several processes may be done before another has saved", "#!/bin/sh\necho x > $RUN_OUTPUT/fine_tuning_completed.txt\necho x > $RUN_OUTPUT/adapter_config.json\n", 1, "has left no adapter_model.safetensors", "", false},
		"CutAdapter": {"it ended well and its weights are shorter than they say", strings.Replace(trained, "{}'", "{'", 1), 1, "has left no whole adapter_model.safetensors", "", false},
		"DiskOnce":   {"what was overcome long ago is not why it ended", survivedDisk, 1, "uncorrectable ECC", "", false},
		"LeavesHeir": {"a process that outlives the trainer holds nothing up", strings.Replace(trained, "#!/bin/sh\n", "#!/bin/sh\nsleep 600 &\n", 1), 0, "", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			p := trainerPod(t, tc.trainer)
			code, said := p.run(t)
			if code != tc.code || !strings.Contains(said, tc.says) {
				t.Errorf("%s: ended with %d, want %d, and said:\n%s", tc.reason, code, tc.code, said)
			}
			if text, err := os.ReadFile(p.left); tc.left != "" && (err != nil || !strings.HasPrefix(string(text), tc.left)) {
				t.Errorf("%s: left %q (%v), want %q", tc.reason, text, err, tc.left)
			}
			if _, err := os.Stat(filepath.Join(p.out, "trained")); (err == nil) != tc.mark {
				t.Errorf("%s: the mark is there: %v, want %v", tc.reason, err == nil, tc.mark)
			}
		})
	}
}

// TestKaitoTrainerAgain: a pod after one that was lost begins again, on nothing that the
// other has left; after one that had trained it trains nothing.
func TestKaitoTrainerAgain(t *testing.T) {
	full := weights()
	for name, tc := range map[string]struct {
		reason string
		files  map[string]string // that the pod before has left
		trains bool
	}{
		"Lost":    {"what was half written is no adapter", map[string]string{"adapter_model.safetensors": full}, true},
		"Done":    {"it is to be published, and not paid for twice", map[string]string{"adapter_model.safetensors": full, "trained": ""}, false},
		"Cut":     {"a machine was lost before the weights were on the disk, and no push can mend them", map[string]string{"adapter_model.safetensors": full[:len(full)-1], "trained": ""}, true},
		"Empty":   {"a mark alone is no adapter", map[string]string{"adapter_model.safetensors": "", "trained": ""}, true},
		"Missing": {"a mark alone is no adapter", map[string]string{"trained": ""}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := trainerPod(t, "#!/bin/sh\nls \"$RUN_OUTPUT\"\necho it trains\nexit 5\n")
			for file, text := range tc.files {
				write(t, filepath.Join(p.out, file), text)
			}
			code, said := p.run(t)
			if trains := strings.Contains(said, "it trains") && code == 5; trains != tc.trains || trains && strings.Contains(said, "\nadapter_model") {
				t.Errorf("%s: ended with %d and said:\n%s", tc.reason, code, said)
			}
		})
	}
}

// TestKaitoTrainerToldToGo: the trainer saves nothing, so that nothing is waited for.
func TestKaitoTrainerToldToGo(t *testing.T) {
	ready := filepath.Join(t.TempDir(), "ready")
	p := trainerPod(t, "#!/bin/sh\n: > "+ready+"\nexec sleep 600\n")
	ctx := t.Context()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := os.Stat(ready); err == nil || ctx.Err() != nil {
				break
			}
			<-time.After(10 * time.Millisecond)
		}
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
	}()
	code, said := p.run(t)
	<-done
	if code != 143 || !strings.Contains(said, "the next pod begins again") {
		t.Errorf("ended with %d and said:\n%s", code, said)
	}
}
