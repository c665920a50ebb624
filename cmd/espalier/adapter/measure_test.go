// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The files of testdata were written by transformers 5.16.1, by a run that was
// interrupted after step 27 of 28, and by lm_eval 0.4.11.

// leftBehind is what a run leaves: files by their path in a folder.
func leftBehind(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func written(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMeasure(t *testing.T) {
	whole := map[string]string{
		"checkpoint-9/trainer_state.json":  `{"global_step": 9, "max_steps": 28, "log_history": []}`,
		"checkpoint-28/trainer_state.json": written(t, "trainer_state.json"),
		"before/tiny_gen.json":             written(t, "tiny_gen.json"), "after/tiny_gen.json": strings.Replace(written(t, "tiny_gen.json"), "0.0", "0.25", 1),
		"before/tiny_mc.json": written(t, "tiny_mc.json"), "after/tiny_mc.json": written(t, "tiny_mc.json"),
	}
	losses := func(state string) map[string]string {
		return map[string]string{"checkpoint-2/trainer_state.json": state}
	}
	for name, tc := range map[string]struct {
		reason string
		spec   string
		files  map[string]string
		want   v1alpha1.EvaluationStatus
		missed int
		says   string // a part of the refusal; "" when there is none
	}{
		"Losses":      {reason: "The base model's is of before the first step, whatever later pods measured first.", spec: `{"split": "5%", "maxLoss": "4.62"}`, files: whole, want: v1alpha1.EvaluationStatus{LossBefore: "4.8343", LossAfter: "4.6206"}, missed: 1},
		"FirstFilter": {reason: "A task says its most important filter first.", spec: `{"tasks": [{"name": "tiny_gen", "metric": "exact_match"}]}`, files: whole, want: v1alpha1.EvaluationStatus{Tasks: []v1alpha1.TaskScore{{Name: "tiny_gen", Metric: "exact_match,strict-match", Before: "0.0000", After: "0.2500"}}}},
		"OtherFilter": {reason: "Another one can be named.", spec: `{"tasks": [{"name": "tiny_gen", "metric": "exact_match,flexible-extract"}]}`, files: whole, want: v1alpha1.EvaluationStatus{Tasks: []v1alpha1.TaskScore{{Name: "tiny_gen", Metric: "exact_match,flexible-extract", Before: "0.0000", After: "0.0000"}}}},
		"NoFilter":    {reason: "The filter none is no word for people, and the first metric counts where none is named.", spec: `{"tasks": [{"name": "tiny_mc"}]}`, files: whole, want: v1alpha1.EvaluationStatus{Tasks: []v1alpha1.TaskScore{{Name: "tiny_mc", Metric: "acc", Before: "0.5000", After: "0.5000"}}}},
		"NoMetric":    {reason: "The message lists what there is.", spec: `{"tasks": [{"name": "tiny_mc", "metric": "accuracy"}]}`, files: whole, says: "no metric accuracy: it has acc and acc_norm"},
		"NoTask":      {reason: "A task that was not measured is not taken for passed.", spec: `{"tasks": [{"name": "gsm8k"}]}`, files: whole, says: "task gsm8k was not measured before the training"},
		"NaN":         {reason: "Python writes NaN where a gradient is none, which is no JSON and no reason to fail.", spec: `{"split": "5%"}`, files: losses(`{"global_step": 2, "max_steps": 2, "log_history": [{"step": 0, "eval_loss": 2.5}, {"step": 1, "grad_norm": NaN}, {"step": 2, "eval_loss": 2}], "trial_name": "a \" NaN"}`), want: v1alpha1.EvaluationStatus{LossBefore: "2.5000", LossAfter: "2.0000"}},
		"Diverged":    {reason: "A loss that is no number is none.", spec: `{"split": "5%"}`, files: losses(`{"global_step": 2, "max_steps": 2, "log_history": [{"step": 0, "eval_loss": 2.5}, {"step": 2, "eval_loss": Infinity}]}`), says: "no number because the training has diverged"},
		"NotFinished": {reason: "The loss of an earlier step is not that of the adapter.", spec: `{"split": "5%"}`, files: losses(`{"global_step": 2, "max_steps": 4, "log_history": [{"step": 0, "eval_loss": 2.5}]}`), says: "step 2 of 4"},
		"NeverBefore": {reason: "A run that went on from a checkpoint of before it was measured has no number to compare with.", spec: `{"split": "5%"}`, files: losses(`{"global_step": 2, "max_steps": 2, "log_history": [{"step": 2, "eval_loss": 2}]}`), says: "no loss on held-out rows"},
		"NoState":     {reason: "No checkpoint, no number.", spec: `{"split": "5%"}`, files: map[string]string{}, says: "holds no checkpoint"},
		"NotJSON":     {reason: "A file that a full disk has cut short.", spec: `{"split": "5%"}`, files: losses(`{"global_step": 2`), says: "not as transformers writes it"},
		"NoSpec":      {reason: "What is demanded must be readable.", spec: `5%`, files: whole, says: "no evaluation of a Workspace"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := leftBehind(t, tc.files)
			spec := filepath.Join(leftBehind(t, map[string]string{"evaluation.json": tc.spec}), "evaluation.json")
			got, missed, err := Measure(Evaluation{Spec: spec, From: dir, Measured: dir})
			if tc.says != "" {
				var refused *RefusedError
				if !errors.As(err, &refused) || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("%s\ngot %v, want %q", tc.reason, err, tc.says)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			if diff := cmp.Diff(&tc.want, got); diff != "" || len(missed) != tc.missed {
				t.Errorf("%s\nmissed %q\n%s", tc.reason, missed, diff)
			}
		})
	}
}

// FuzzMeasure: what a trainer or a harness wrote is read without panic, and gives
// numbers or a refusal.
func FuzzMeasure(f *testing.F) {
	for _, name := range []string{"trainer_state.json", "tiny_gen.json", "tiny_mc.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "tiny_mc", "acc")
	}
	f.Add([]byte(`{"global_step":1,"max_steps":1,"log_history":[{"step":0,"eval_loss":-Infinity},{"step":1,"eval_loss":1e308}]}`), "a", "")
	f.Fuzz(func(t *testing.T, text []byte, task, metric string) {
		dir := t.TempDir()
		state := filepath.Join(dir, "checkpoint-1", "trainer_state.json")
		if err := os.MkdirAll(filepath.Dir(state), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(state, text, 0o600); err != nil {
			t.Fatal(err)
		}
		before, after, err := losses(dir)
		if err == nil && (strings.Trim(before+after, "0123456789.") != "" || before == "" || after == "") {
			t.Errorf("losses %q and %q", before, after)
		}
		if name, value, err := metricOf(text, v1alpha1.EvaluationTask{Name: task, Metric: metric}); err == nil && (name == "" || number(value) == "") {
			t.Errorf("metric %q %v", name, value)
		}
	})
}
