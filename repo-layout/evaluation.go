// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// EvaluationFile is the key of a run's ConfigMap with spec.tuning.evaluation as
// JSON. The pod reads it when the run has trained, so that thresholds that Git has
// changed meanwhile count.
const EvaluationFile = "evaluation.json"

// AnnotationEvaluation of a published image is what an evaluation has measured, an
// EvaluationStatus as JSON.
const AnnotationEvaluation = "espalier.dev/evaluation"

// HeldOut is how much of the data a split holds out: a share below 1, or a number
// of rows; 0 where it is none.
func HeldOut(split string) float64 {
	text, share := strings.CutSuffix(split, "%")
	n, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil || n <= 0:
		return 0
	case share:
		return n / 100
	}
	return n
}

// Missed says which thresholds of an evaluation its numbers miss, a phrase each.
// The pod that publishes and the controller ask it about the same text, and so get
// the same answer.
func Missed(e *v1alpha1.Evaluation, got *v1alpha1.EvaluationStatus) []string {
	if e == nil {
		return nil
	}
	if got == nil {
		got = &v1alpha1.EvaluationStatus{}
	}
	all := []string{lossTooHigh(e, got), improvedTooLittle(e, got)}
	for _, t := range e.Tasks {
		score := scoreOf(got, t.Name)
		all = append(all, scoredTooLow(t, score), fellTooFar(t, score))
	}
	return slices.DeleteFunc(all, func(why string) bool { return why == "" })
}

func lossTooHigh(e *v1alpha1.Evaluation, got *v1alpha1.EvaluationStatus) string {
	most, ok := decimal(e.MaxLoss)
	if !ok {
		return ""
	}
	if loss, measured := decimal(got.LossAfter); !measured || loss.Cmp(most) > 0 {
		return fmt.Sprintf("the loss on held-out rows is %s, and evaluation.maxLoss allows %s", orNone(got.LossAfter), e.MaxLoss)
	}
	return ""
}

func improvedTooLittle(e *v1alpha1.Evaluation, got *v1alpha1.EvaluationStatus) string {
	least, ok := decimal(strings.TrimSuffix(e.MinImprovement, "%"))
	if !ok {
		return ""
	}
	by, measured := improvement(got)
	if measured && by.Cmp(least) >= 0 {
		return ""
	}
	went := fmt.Sprintf("the loss on held-out rows went from %s to %s", orNone(got.LossBefore), orNone(got.LossAfter))
	if measured {
		went += ", " + percent(by)
	}
	return fmt.Sprintf("%s, and evaluation.minImprovement asks for %s less", went, e.MinImprovement)
}

func scoredTooLow(t v1alpha1.EvaluationTask, s v1alpha1.TaskScore) string {
	least, ok := decimal(t.Minimum)
	if !ok {
		return ""
	}
	if got, measured := decimal(s.After); !measured || got.Cmp(least) < 0 {
		return fmt.Sprintf("%s of task %s is %s, and its minimum is %s", t.Metric, t.Name, orNone(s.After), t.Minimum)
	}
	return ""
}

func fellTooFar(t v1alpha1.EvaluationTask, s v1alpha1.TaskScore) string {
	most, ok := decimal(t.MaxRegression)
	if !ok {
		return ""
	}
	before, known := decimal(s.Before)
	after, measured := decimal(s.After)
	if known && measured && new(big.Rat).Sub(before, after).Cmp(most) <= 0 {
		return ""
	}
	return fmt.Sprintf("%s of task %s went from %s to %s, and its maxRegression is %s", t.Metric, t.Name, orNone(s.Before), orNone(s.After), t.MaxRegression)
}

func scoreOf(got *v1alpha1.EvaluationStatus, task string) v1alpha1.TaskScore {
	for _, s := range got.Tasks {
		if s.Name == task {
			return s
		}
	}
	return v1alpha1.TaskScore{}
}

// improvement is by how many per cent of the first loss the second is lower; below
// 0 where it is higher.
func improvement(got *v1alpha1.EvaluationStatus) (*big.Rat, bool) {
	before, ok := decimal(got.LossBefore)
	after, measured := decimal(got.LossAfter)
	if !ok || !measured || before.Sign() <= 0 {
		return nil, false
	}
	by := new(big.Rat).Quo(new(big.Rat).Sub(before, after), before)
	return by.Mul(by, big.NewRat(100, 1)), true
}

// percent says how a loss has changed. It is rounded towards none, so that what
// misses a threshold never reads as if it met it.
func percent(by *big.Rat) string {
	tenths := new(big.Rat).Mul(new(big.Rat).Abs(by), big.NewRat(10, 1))
	whole := new(big.Int).Quo(tenths.Num(), tenths.Denom())
	text := new(big.Rat).SetFrac(whole, big.NewInt(10)).FloatString(1) + " %"
	if by.Sign() < 0 {
		return text + " more"
	}
	return text + " less"
}

// decimal reads digits with a decimal point. An exponent is none of ours, and could
// stand for a number of a million digits.
func decimal(text string) (*big.Rat, bool) {
	if text == "" || len(text) > 32 || strings.Trim(text, "0123456789.") != "" {
		return nil, false
	}
	return new(big.Rat).SetString(text)
}

func orNone(number string) string {
	if number == "" {
		return "not measured"
	}
	return number
}

// Measured is what an evaluation has measured, a phrase for the loss and one for
// each task; empty for nothing.
func Measured(got *v1alpha1.EvaluationStatus) []string {
	if got == nil {
		return nil
	}
	var said []string
	if got.LossBefore != "" || got.LossAfter != "" {
		line := fmt.Sprintf("loss %s → %s", orNone(got.LossBefore), orNone(got.LossAfter))
		if by, ok := improvement(got); ok {
			line += " (" + percent(by) + ")"
		}
		said = append(said, line)
	}
	for _, t := range got.Tasks {
		said = append(said, fmt.Sprintf("%s %s %s → %s", t.Name, t.Metric, orNone(t.Before), orNone(t.After)))
	}
	return said
}
