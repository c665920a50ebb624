// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// evaluation says what is measured otherwise, and what is demanded otherwise.
func (w *words) evaluation(a, b *v1alpha1.Evaluation) {
	switch {
	case a == nil && b == nil:
	case a == nil:
		w.add("evaluation added: %s", measuredBy(b))
	case b == nil:
		w.add("evaluation removed: nothing is measured, and every adapter is published")
	default:
		w.change("held out", heldOut(a), heldOut(b))
		w.change("maxLoss", a.MaxLoss, b.MaxLoss)
		w.change("minImprovement", a.MinImprovement, b.MinImprovement)
		before, after := tasksOf(a), tasksOf(b)
		for _, name := range union(before, after) {
			w.change("task "+name, before[name], after[name])
		}
	}
}

// measuredBy is an evaluation as a whole.
func measuredBy(e *v1alpha1.Evaluation) string {
	var said []string
	if held := heldOut(e); held != "" {
		said = append(said, held+" held out")
	}
	if e.MaxLoss != "" {
		said = append(said, "a loss of at most "+e.MaxLoss)
	}
	if e.MinImprovement != "" {
		said = append(said, "a loss lower by "+e.MinImprovement)
	}
	for _, t := range e.Tasks {
		said = append(said, "task "+strings.TrimSpace(t.Name+" "+taskWords(t)))
	}
	return strings.Join(said, ", ")
}

func heldOut(e *v1alpha1.Evaluation) string {
	switch {
	case len(e.URLs) > 0:
		return dataOf(v1alpha1.DataSource{URLs: e.URLs})
	case e.Split == "" || strings.HasSuffix(e.Split, "%"):
		return strings.Replace(e.Split, "%", " %", 1)
	}
	return e.Split + " rows"
}

func tasksOf(e *v1alpha1.Evaluation) map[string]string {
	all := map[string]string{}
	for _, t := range e.Tasks {
		if all[t.Name] = taskWords(t); all[t.Name] == "" {
			all[t.Name] = "measured"
		}
	}
	return all
}

// taskWords is how a task is asked, and what is demanded of it.
func taskWords(t v1alpha1.EvaluationTask) string {
	var said []string
	for _, part := range []struct{ name, value string }{
		{"metric", t.Metric}, {"minimum", t.Minimum}, {"maxRegression", t.MaxRegression}, {"limit", numbered(t.Limit)},
	} {
		if part.value != "" {
			said = append(said, part.name+" "+part.value)
		}
	}
	if t.FewShot != nil {
		said = append(said, "fewShot "+strconv.Itoa(int(*t.FewShot)))
	}
	if t.Chat {
		said = append(said, "chat")
	}
	if len(said) == 0 {
		return ""
	}
	return fmt.Sprintf("(%s)", strings.Join(said, ", "))
}
