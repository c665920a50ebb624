// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

// fakeHarness tells its arguments and leaves a result, as lm_eval does, but for the
// task unreachable. It reads what it is given, as a program that asks would.
const fakeHarness = `#!/bin/sh
cat > /dev/null
echo measured "$@"
while [ $# -gt 0 ]; do
  case "$1" in
  --tasks) task=$2 ;;
  --output_path) out=$2 ;;
  esac
  shift
done
[ "$task" = unreachable ] && exit 1
mkdir -p "$(dirname "$out")" && echo "{}$task" > "$(dirname "$out")/results_2026-11-26T03-52-20.json"
`

// harness is one of the containers that measure tasks.
func harness(t *testing.T, phase, measured, tasks string) *exec.Cmd {
	t.Helper()
	text, err := files.ReadFile("axolotl/0.19.0/tasks/job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	job := batchv1.Job{}
	if err := yaml.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	programs := t.TempDir()
	for name, content := range map[string]string{"lm_eval": fakeHarness, "tasks": tasks} {
		if err := os.WriteFile(filepath.Join(programs, name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range job.Spec.Template.Spec.InitContainers {
		if c.Name != "tasks-"+phase {
			continue
		}
		if _, err := exec.LookPath(c.Args[0]); err != nil {
			t.Skip("there is no shell here")
		}
		cmd := exec.CommandContext(t.Context(), c.Args[0], c.Args[1:]...)
		cmd.Env = []string{
			"RUN_PHASE=" + phase, "RUN_MODEL=pretrained=a/b", "RUN_BATCH=2", "RUN_MEASURED=" + measured,
			"RUN_TASKS=" + filepath.Join(programs, "tasks"), "RUN_WHY=" + filepath.Join(measured, "why"), "PATH=" + programs + ":" + os.Getenv("PATH"),
		}
		return cmd
	}
	t.Fatalf("there is no container tasks-%s", phase)
	return nil
}

// TestTasksMeasured: each task is measured once, with its own options, and a pod
// that comes later measures the rest.
func TestTasksMeasured(t *testing.T) {
	for _, phase := range []string{"before", "after"} {
		measured := t.TempDir()
		said, err := harness(t, phase, measured, "gsm8k --limit 200 --num_fewshot 5\narc_easy\n").CombinedOutput()
		if err != nil {
			t.Fatalf("%v:\n%s", err, said)
		}
		for _, want := range []string{
			"measured --model hf --model_args pretrained=a/b --tasks gsm8k --limit 200 --num_fewshot 5 --batch_size 2 --output_path ",
			"measured --model hf --model_args pretrained=a/b --tasks arc_easy --batch_size 2 --output_path ",
		} {
			if !strings.Contains(string(said), want) {
				t.Errorf("want %q:\n%s", want, said)
			}
		}
		for _, task := range []string{"gsm8k", "arc_easy"} {
			text, err := os.ReadFile(filepath.Join(measured, phase, task+".json"))
			if err != nil || strings.TrimSpace(string(text)) != "{}"+task {
				t.Errorf("result of %s: %q, %v", task, text, err)
			}
		}
		again, err := harness(t, phase, measured, "gsm8k --limit 200 --num_fewshot 5\narc_easy\nhellaswag\n").CombinedOutput()
		if err != nil || strings.Count(string(again), "measured already") != 2 || strings.Count(string(again), "measured --model") != 1 {
			t.Errorf("again: %v:\n%s", err, again)
		}
	}
}

// TestTasksFail: a task that cannot be measured fails the container, and says why
// where the controller reads it.
func TestTasksFail(t *testing.T) {
	measured := t.TempDir()
	var ended *exec.ExitError
	said, err := harness(t, "before", measured, "unreachable --limit 1\ngsm8k\n").CombinedOutput()
	if !errors.As(err, &ended) || ended.ExitCode() != 1 {
		t.Fatalf("it ended with %v:\n%s", err, said)
	}
	why, err := os.ReadFile(filepath.Join(measured, "why"))
	var left struct {
		Why string `json:"why"`
	}
	if err != nil || yaml.Unmarshal(why, &left) != nil || !strings.Contains(left.Why, "task unreachable of the evaluation could not be measured before the training") {
		t.Errorf("why: %q, %v", why, err)
	}
	if _, err := os.Stat(filepath.Join(measured, "before", "gsm8k.json")); err == nil {
		t.Error("it went on after the failure")
	}
}

// TestTasksAlike: both containers do the same.
func TestTasksAlike(t *testing.T) {
	before, after := harness(t, "before", t.TempDir(), ""), harness(t, "after", t.TempDir(), "")
	if strings.Join(before.Args, "\n") != strings.Join(after.Args, "\n") {
		t.Error("tasks-before and tasks-after run different scripts")
	}
}
