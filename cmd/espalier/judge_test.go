// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// measuredFolder is what a trainer leaves that has evaluated before and after.
func measuredFolder(t *testing.T) string {
	t.Helper()
	dir := adapterFolder(t)
	checkpoint := filepath.Join(dir, "checkpoint-4")
	if err := os.Mkdir(checkpoint, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(checkpoint, "trainer_state.json"),
		`{"global_step": 4, "max_steps": 4, "log_history": [{"step": 0, "eval_loss": 1.83}, {"step": 4, "eval_loss": 1.21}]}`)
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestAdapterPushEvaluated: numbers that are good enough go with the image, and an
// adapter whose numbers are not goes nowhere.
func TestAdapterPushEvaluated(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", "")
	for title, tc := range map[string]struct{ reason, spec, want string }{
		"Good":   {"Who pulls it reads how good it is.", `{"split": "5%", "minImprovement": "10%"}`, `{"lossBefore":"1.8300","lossAfter":"1.2100"}`},
		"Missed": {"It is no failure of the pod, which would be tried again for the same numbers.", `{"split": "5%", "maxLoss": "1.2"}`, `{"lossBefore":"1.8300","lossAfter":"1.2100","withheld":true}`},
	} {
		t.Run(title, func(t *testing.T) {
			server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
			defer server.Close()
			image := strings.TrimPrefix(server.URL, "http://") + "/models/phi:1"
			message := filepath.Join(t.TempDir(), "termination-log")
			spec := write(t, filepath.Join(t.TempDir(), "evaluation.json"), tc.spec)
			code, stdout, stderr := command(t, "adapter", "push", "--from", measuredFolder(t), "--to", image, "--evaluation", spec, "--termination-log", message)
			if code != exitOK || !strings.Contains(stderr, "loss 1.8300 → 1.2100 (33.8 % less)") {
				t.Fatalf("%s\nexit code %d: %s", tc.reason, code, stderr)
			}
			left := said(t, message)
			if string(left.Evaluation) != tc.want || (left.Adapter == "") != strings.Contains(tc.want, "withheld") || left.Adapter != strings.TrimSpace(stdout) {
				t.Errorf("%s\nthe message says %s of adapter %q, want %s", tc.reason, left.Evaluation, left.Adapter, tc.want)
			}
			tag, err := name.NewTag(image)
			if err != nil {
				t.Fatal(err)
			}
			index, err := remote.Index(tag)
			if left.Adapter == "" {
				if err == nil {
					t.Errorf("%s\nit was pushed all the same", tc.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if manifest, err := index.IndexManifest(); err != nil || manifest.Annotations[repolayout.AnnotationEvaluation] != tc.want {
				t.Errorf("%s\nannotations %v, %v", tc.reason, manifest.Annotations, err)
			}
		})
	}
}

// message is what a container tells the controller.
type message struct {
	Adapter    string          `json:"adapter"`
	Evaluation json.RawMessage `json:"evaluation"`
	Why        string          `json:"why"`
}

func said(t *testing.T, path string) message {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// TestAdapterJudge: on a claim nothing is published, and the numbers are told. A
// metric that a task does not have is found before the training.
func TestAdapterJudge(t *testing.T) {
	dir, message := t.TempDir(), filepath.Join(t.TempDir(), "termination-log")
	spec := write(t, filepath.Join(dir, "evaluation.json"), `{"split": "5%", "maxLoss": "1.2"}`)
	code, _, stderr := command(t, "adapter", "judge", "--from", measuredFolder(t), "--evaluation", spec, "--termination-log", message)
	if got := said(t, message); code != exitOK || string(got.Evaluation) != `{"lossBefore":"1.8300","lossAfter":"1.2100"}` {
		t.Errorf("exit code %d, %s: %s", code, got.Evaluation, stderr)
	}
	if code, _, stderr := command(t, "adapter", "judge", "--from", "/nowhere", "--evaluation", spec, "--index", "1"); code != exitOK {
		t.Errorf("another pod than the first judges: exit code %d: %s", code, stderr)
	}

	if err := os.Mkdir(filepath.Join(dir, "before"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "before", "gsm8k.json"), `{"results": {"gsm8k": {"exact_match,strict-match": 0.4}}}`)
	for metric, want := range map[string]int{"exact_match": exitOK, "acc": exitFinal} {
		write(t, spec, `{"tasks": [{"name": "gsm8k", "metric": "`+metric+`"}]}`)
		code, _, stderr := command(t, "adapter", "judge", "--before", "--measured", dir, "--evaluation", spec, "--termination-log", message)
		got := said(t, message)
		if code != want || (want == exitFinal) != strings.Contains(got.Why, "no metric acc: it has exact_match,strict-match") {
			t.Errorf("%s: exit code %d, why %q: %s", metric, code, got.Why, stderr)
		}
	}
}
