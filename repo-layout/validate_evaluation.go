// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The patterns and bounds of the CRD.
var (
	splitText  = regexp.MustCompile(`^([0-9]{1,2}(\.[0-9]{1,2})?%|[1-9][0-9]{0,8})$`)
	numberText = regexp.MustCompile(`^[0-9]{1,4}(\.[0-9]{1,4})?$`)
	shareText  = regexp.MustCompile(`^[0-9]{1,2}(\.[0-9]{1,2})?%$`)
	taskName   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	metricName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*(,[A-Za-z0-9][A-Za-z0-9_.-]*)?$`)
)

const (
	maxHeldOutURLs = 16
	maxTasks       = 16
	maxTaskName    = 128
	maxTaskLimit   = 1_000_000
	maxFewShot     = 64
)

// evaluation judges what is to be measured, and what is demanded of it.
func (v *validator) evaluation(path string, t v1alpha1.TuningSpec) {
	e := t.Evaluation
	if e == nil {
		return
	}
	switch heldOut := e.HoldsOut(); {
	case !heldOut && len(e.Tasks) == 0:
		v.refuse(finding.EvaluationInvalid, path, "it measures nothing: write split, how much of the data is held out, such as 5%%; or urls of data of its own; or tasks of lm-eval")
	case e.Split != "" && len(e.URLs) > 0:
		v.refuse(finding.EvaluationInvalid, path+".split", "urls name the held-out rows as well: keep one of them")
	case !heldOut && (e.MaxLoss != "" || e.MinImprovement != ""):
		v.refuse(finding.EvaluationInvalid, path, "maxLoss and minImprovement are of held-out rows, and none are held out: write split, such as 5%%, or urls")
	}
	v.heldOut(path, t)
	v.benchmarks(path+".tasks", e.Tasks)
}

// heldOut judges where the rows are from whose loss is measured, and its bounds.
func (v *validator) heldOut(path string, t v1alpha1.TuningSpec) {
	e := t.Evaluation
	if e.Split != "" && (!splitText.MatchString(e.Split) || HeldOut(e.Split) == 0) {
		v.refuse(finding.EvaluationInvalid, path+".split", `want a share above 0%% and below 100%% such as 5%%, or a number of rows such as "200"`)
	}
	v.heldOutFiles(path+".urls", t)
	v.evaluationNumber(path+".maxLoss", e.MaxLoss, `a loss as digits with at most 4 decimals, in quotes: "1.25"`)
	if e.MinImprovement != "" && !shareText.MatchString(e.MinImprovement) {
		v.refuse(finding.EvaluationInvalid, path+".minImprovement", "want by how much of the base model's loss the adapter's must be lower, such as 10%%; 0%% forbids a higher one")
	}
}

func (v *validator) heldOutFiles(path string, t v1alpha1.TuningSpec) {
	urls := t.Evaluation.URLs
	if len(urls) > 0 && len(t.Input.URLs) == 0 {
		v.refuse(finding.EvaluationInvalid, path, "files are downloaded beside those of input.urls, and the training data is none: hold a part of it out by split")
	}
	v.atMost(path, len(urls), maxHeldOutURLs)
	for i, u := range urls {
		v.url(finding.Index(path, i), u, v.data())
	}
}

func (v *validator) evaluationNumber(field, text, want string) {
	if text != "" && !numberText.MatchString(text) {
		v.refuse(finding.EvaluationInvalid, field, "want %s", want)
	}
}

func (v *validator) benchmarks(path string, tasks []v1alpha1.EvaluationTask) {
	v.atMost(path, len(tasks), maxTasks)
	first := map[string]int{}
	for i, t := range tasks {
		at := finding.Index(path, i)
		v.benchmark(at, t)
		if other, twice := first[t.Name]; twice {
			v.refuse(finding.EvaluationInvalid, at+".name", "task %d has this name as well, and a task is measured once: remove one", other)
			continue
		}
		first[t.Name] = i
	}
}

func (v *validator) benchmark(at string, t v1alpha1.EvaluationTask) {
	switch {
	case t.Name == "":
		v.refuse(finding.MissingField, at+".name", "name a task of lm-eval, such as gsm8k")
	case !taskName.MatchString(t.Name) || len(t.Name) > maxTaskName:
		v.refuse(finding.EvaluationInvalid, at+".name", "want the name of a task as `lm-eval ls tasks` lists it, such as gsm8k")
	}
	v.between(at+".limit", int(t.Limit), 0, maxTaskLimit, "leave it out for all questions")
	if t.FewShot != nil {
		v.between(at+".fewShot", int(*t.FewShot), 0, maxFewShot, "leave it out for what the task says")
	}
	switch {
	case t.Metric == "" && (t.Minimum != "" || t.MaxRegression != ""):
		v.refuse(finding.EvaluationInvalid, at+".metric", "minimum and maxRegression are of a metric: name it, such as acc or exact_match")
	case t.Metric != "" && (!metricName.MatchString(t.Metric) || len(t.Metric) > maxTaskName):
		v.refuse(finding.EvaluationInvalid, at+".metric", "want a metric of the task such as exact_match, and behind a comma the filter where it has several: exact_match,flexible-extract")
	}
	v.evaluationNumber(at+".minimum", t.Minimum, `a score as digits with at most 4 decimals, in quotes: "0.40"`)
	v.evaluationNumber(at+".maxRegression", t.MaxRegression, `by how much the score may fall, in quotes: "0.02"`)
}
