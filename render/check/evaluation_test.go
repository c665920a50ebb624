// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestEvaluation: what is to be measured becomes settings of the trainer, and the
// configuration does not hold out rows beside it.
func TestEvaluation(t *testing.T) {
	both := map[string]any{"load_best_model_at_end": false, "eval_sample_packing": false, "dataloader_drop_last": false, "evals_per_epoch": nil, "eval_steps": 1_000_000_000}
	with := func(more map[string]any) map[string]any {
		all := map[string]any{}
		for _, m := range []map[string]any{both, more} {
			for k, v := range m {
				all[k] = v
			}
		}
		return all
	}
	without := func(m map[string]any, keys ...string) map[string]any {
		for _, k := range keys {
			delete(m, k)
		}
		return m
	}
	for name, tc := range map[string]struct {
		reason, config string
		evaluation     *v1alpha1.Evaluation
		want           map[string]any
		code           string // of a finding on the evaluation; "" for none
	}{
		"None":       {reason: "Nothing is held out unasked."},
		"Share":      {reason: "Axolotl takes a share as a number below 1.", evaluation: &v1alpha1.Evaluation{Split: "5%"}, want: with(map[string]any{"val_set_size": 0.05})},
		"Rows":       {reason: "And rows as one above.", evaluation: &v1alpha1.Evaluation{Split: "200"}, want: with(map[string]any{"val_set_size": 200.0})},
		"Files":      {reason: "With rows of their own none of the training's are held out.", evaluation: &v1alpha1.Evaluation{URLs: []string{"https://data.example.com/b.jsonl"}}, want: with(map[string]any{"val_set_size": nil})},
		"TasksAlone": {reason: "Without held-out rows the trainer evaluates nothing.", evaluation: &v1alpha1.Evaluation{Tasks: []v1alpha1.EvaluationTask{{Name: "gsm8k"}}}},
		"Often":      {reason: "Who wants more points gets them.", config: "axolotl: {evals_per_epoch: 2}", evaluation: &v1alpha1.Evaluation{Split: "5%"}, want: without(with(map[string]any{"val_set_size": 0.05}), "evals_per_epoch", "eval_steps")},
		"OftenOnce":  {reason: "Once in a single pass is never to Axolotl.", config: "axolotl: {evals_per_epoch: 1, num_epochs: 1}", evaluation: &v1alpha1.Evaluation{Split: "5%"}, want: with(map[string]any{"val_set_size": 0.05})},
		"Packed":     {reason: "Who has many rows may pack them.", config: "axolotl: {eval_sample_packing: true}", evaluation: &v1alpha1.Evaluation{Split: "5%"}, want: without(with(map[string]any{"val_set_size": 0.05}), "eval_sample_packing", "dataloader_drop_last")},
		"Twice":      {reason: "Two shares would contradict each other.", config: "training_config: {DatasetConfig: {train_test_split: 0.9}}", evaluation: &v1alpha1.Evaluation{Split: "5%"}, code: finding.EvaluationInvalid},
		"Unmeasured": {reason: "Rows that are kept from training and then not looked at are lost.", config: "axolotl: {val_set_size: 0.1}", code: finding.EvaluationInvalid},
		"Watched":    {reason: "Between the steps they are looked at.", config: "axolotl: {val_set_size: 0.1, evals_per_epoch: 2}"},
	} {
		t.Run(name, func(t *testing.T) {
			w := tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) { w.Spec.Tuning.Evaluation, w.Spec.Tuning.Config = tc.evaluation, "config" })
			config := tc.config
			if config == "" {
				config = "axolotl: {}"
			}
			a := check.Workspace(w, check.Facts{ConfigMaps: map[string]map[string]string{"config": {"training_config.yaml": config}}}, nil)
			if diff := cmp.Diff(tc.want, a.Training.Measuring); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
			code := ""
			for _, f := range a.Findings {
				if strings.HasPrefix(f.Code, "Evaluation") {
					code = f.Code
				}
			}
			if code != tc.code {
				t.Errorf("%s\ngot %q, want %q: %v", tc.reason, code, tc.code, a.Findings)
			}
		})
	}
}
