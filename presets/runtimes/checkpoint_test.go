// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"
)

// TestIncompleteCheckpoint runs what the container of the trainer runs before
// the trainer: a checkpoint that was cut short goes, and nothing else does.
func TestIncompleteCheckpoint(t *testing.T) {
	text, err := files.ReadFile("axolotl/0.19.0/job.yaml")
	if err != nil {
		t.Fatal(err)
	}
	job := batchv1.Job{}
	if err := yaml.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	args := job.Spec.Template.Spec.InitContainers[1].Args
	if _, err := exec.LookPath(args[0]); err != nil {
		t.Skip("there is no shell here")
	}
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
