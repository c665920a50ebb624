// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestMissed(t *testing.T) {
	lower := &v1alpha1.EvaluationStatus{LossBefore: "1.8300", LossAfter: "1.2100"}
	gsm8k := func(before, after string) *v1alpha1.EvaluationStatus {
		return &v1alpha1.EvaluationStatus{Tasks: []v1alpha1.TaskScore{{Name: "gsm8k", Metric: "exact_match,strict-match", Before: before, After: after}}}
	}
	task := func(minimum, maxRegression string) *v1alpha1.Evaluation {
		return &v1alpha1.Evaluation{Tasks: []v1alpha1.EvaluationTask{{Name: "gsm8k", Metric: "exact_match", Minimum: minimum, MaxRegression: maxRegression}}}
	}
	for name, tc := range map[string]struct {
		reason string
		spec   *v1alpha1.Evaluation
		got    *v1alpha1.EvaluationStatus
		want   string // a part of each sentence, joined by |; "" when nothing is missed
	}{
		"NothingDemanded":  {reason: "What is only measured is never missed.", spec: &v1alpha1.Evaluation{Split: "5%"}, got: lower},
		"NoEvaluation":     {reason: "There is nothing to miss."},
		"LossLow":          {reason: "The bound itself is allowed.", spec: &v1alpha1.Evaluation{MaxLoss: "1.21"}, got: lower},
		"LossHigh":         {reason: "One ten-thousandth more is more.", spec: &v1alpha1.Evaluation{MaxLoss: "1.2099"}, got: lower, want: "is 1.2100, and evaluation.maxLoss allows 1.2099"},
		"Improved":         {reason: "A third less is more than a tenth.", spec: &v1alpha1.Evaluation{MinImprovement: "10%"}, got: lower},
		"ImprovedTooFew":   {reason: "The number that is shown never reads as if it were enough.", spec: &v1alpha1.Evaluation{MinImprovement: "33.88%"}, got: lower, want: "from 1.8300 to 1.2100, 33.8 % less, and evaluation.minImprovement asks for 33.88% less"},
		"Worse":            {reason: "With 0% a higher loss is refused.", spec: &v1alpha1.Evaluation{MinImprovement: "0%"}, got: &v1alpha1.EvaluationStatus{LossBefore: "1.0000", LossAfter: "1.0500"}, want: "5.0 % more"},
		"Same":             {reason: "With 0% the same loss is allowed.", spec: &v1alpha1.Evaluation{MinImprovement: "0%"}, got: &v1alpha1.EvaluationStatus{LossBefore: "1.0000", LossAfter: "1.0000"}},
		"NotMeasured":      {reason: "A number that is not there meets nothing.", spec: &v1alpha1.Evaluation{MaxLoss: "9", MinImprovement: "0%"}, want: "is not measured|from not measured to not measured"},
		"NoNumber":         {reason: "Nor does one that is none.", spec: &v1alpha1.Evaluation{MaxLoss: "9"}, got: &v1alpha1.EvaluationStatus{LossAfter: "1e-99999999"}, want: "evaluation.maxLoss"},
		"ScoreReached":     {reason: "The bound itself is enough.", spec: task("0.40", "0.02"), got: gsm8k("0.4200", "0.4000")},
		"ScoreLow":         {reason: "Each threshold is missed by itself.", spec: task("0.40", "0.02"), got: gsm8k("0.4200", "0.3900"), want: "exact_match of task gsm8k is 0.3900, and its minimum is 0.40|went from 0.4200 to 0.3900, and its maxRegression is 0.02"},
		"ScoreNotMeasured": {reason: "Another task says nothing of it.", spec: task("0", ""), got: &v1alpha1.EvaluationStatus{Tasks: []v1alpha1.TaskScore{{Name: "arc_easy", After: "1"}}}, want: "is not measured"},
		"BothMissed":       {reason: "All that is missed is said.", spec: &v1alpha1.Evaluation{MaxLoss: "1", MinImprovement: "50%"}, got: lower, want: "maxLoss|minImprovement"},
	} {
		t.Run(name, func(t *testing.T) {
			got := repolayout.Missed(tc.spec, tc.got)
			var want []string
			if tc.want != "" {
				want = strings.Split(tc.want, "|")
			}
			if len(got) != len(want) {
				t.Fatalf("%s\ngot %q, want %d sentences", tc.reason, got, len(want))
			}
			for i := range want {
				if !strings.Contains(got[i], want[i]) {
					t.Errorf("%s\ngot %q, want %q in it", tc.reason, got[i], want[i])
				}
			}
		})
	}
}

func TestMeasured(t *testing.T) {
	got := repolayout.Measured(&v1alpha1.EvaluationStatus{
		LossBefore: "1.8300", LossAfter: "1.2100",
		Tasks: []v1alpha1.TaskScore{{Name: "gsm8k", Metric: "exact_match,strict-match", Before: "0.3100", After: "0.4200"}},
	})
	want := []string{"loss 1.8300 → 1.2100 (33.8 % less)", "gsm8k exact_match,strict-match 0.3100 → 0.4200"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := repolayout.Measured(nil); got != nil {
		t.Errorf("of nothing it says %q", got)
	}
}

func TestHeldOut(t *testing.T) {
	for split, want := range map[string]float64{"5%": 0.05, "12.5%": 0.125, "200": 200, "0%": 0, "": 0, "much": 0, "-1": 0} {
		if got := repolayout.HeldOut(split); got != want {
			t.Errorf("%q holds out %v, want %v", split, got, want)
		}
	}
}
