// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// maxReportBytes bounds what is read of a file that the trainer or the harness
// wrote. The state of a trainer has a line for every logged step.
const maxReportBytes = 64 << 20

// Evaluation says what of a run was measured, and where.
type Evaluation struct {
	// Spec is the file with spec.tuning.evaluation.
	Spec string
	// From is the trainer's output folder, Measured that of the tasks' results.
	From, Measured string
}

// Measure reads what a run has measured, and which of its thresholds that misses.
func Measure(e Evaluation) (got *v1alpha1.EvaluationStatus, missed []string, err error) {
	spec, err := e.read()
	if err != nil {
		return nil, nil, err
	}
	got = &v1alpha1.EvaluationStatus{}
	if spec.HoldsOut() {
		if got.LossBefore, got.LossAfter, err = losses(e.From); err != nil {
			return nil, nil, err
		}
	}
	for _, t := range spec.Tasks {
		_, before, err := score(e.Measured, "before", t)
		if err != nil {
			return nil, nil, err
		}
		metric, after, err := score(e.Measured, "after", t)
		if err != nil {
			return nil, nil, err
		}
		got.Tasks = append(got.Tasks, v1alpha1.TaskScore{Name: t.Name, Metric: metric, Before: before, After: after})
	}
	return got, repolayout.Missed(spec, got), nil
}

// Known says whether every task has the metric that counts, by what the base model
// gave: a mistyped one is found before the training is paid for.
func Known(e Evaluation) error {
	spec, err := e.read()
	if err != nil {
		return err
	}
	for _, t := range spec.Tasks {
		if _, _, err := score(e.Measured, "before", t); err != nil {
			return err
		}
	}
	return nil
}

func (e Evaluation) read() (*v1alpha1.Evaluation, error) {
	text, err := readBounded(e.Spec)
	if err != nil {
		return nil, fmt.Errorf("reading what is demanded of the run: %w", err)
	}
	spec := &v1alpha1.Evaluation{}
	if err := json.Unmarshal(text, spec); err != nil {
		return nil, refused("%s is no evaluation of a Workspace", e.Spec)
	}
	return spec, nil
}

// trainerState is what is read of a checkpoint's trainer_state.json.
type trainerState struct {
	Step    int          `json:"global_step"`
	Last    int          `json:"max_steps"`
	History []trainerLog `json:"log_history"`
}

type trainerLog struct {
	Step int      `json:"step"`
	Loss *float64 `json:"eval_loss"`
}

// losses are those of the base model and of the adapter: the evaluation before the
// first step, when the matrices of an adapter are such that it changes nothing, and
// the one after the last. The newest checkpoint knows both, also of a run that began
// in another pod.
func losses(dir string) (before, after string, err error) {
	state, err := newestState(dir)
	if err != nil {
		return "", "", err
	}
	if state.Last <= 0 || state.Step < state.Last {
		return "", "", unfinished("the newest checkpoint is of step %d of %d, so that nothing says what the finished adapter's loss is; the trainer has not finished", state.Step, state.Last)
	}
	first, last := state.ends()
	if first == nil || last == nil {
		return "", "", refused("the trainer has left no loss on held-out rows of before the first step or of after the last one, or one that is no number because the training has diverged: look for eval_loss in the log of container train")
	}
	if *first < 0 || *last < 0 {
		return "", "", refused("the trainer has left a loss below 0 on held-out rows, which none can be")
	}
	return number(*first), number(*last), nil
}

// ends are the first loss of before the first step, and the last of after the last;
// nil where there is none.
func (s *trainerState) ends() (first, last *float64) {
	for _, l := range s.History {
		switch {
		case l.Loss == nil:
		case l.Step >= s.Last:
			last = l.Loss
		case l.Step == 0 && first == nil:
			first = l.Loss
		}
	}
	return first, last
}

// newestState is the state in the checkpoint of the most steps.
func newestState(dir string) (*trainerState, error) {
	checkpoints, err := filepath.Glob(filepath.Join(dir, "checkpoint-*", "trainer_state.json"))
	if err != nil {
		return nil, fmt.Errorf("looking for checkpoints: %w", err)
	}
	newest, steps := "", -1
	for _, path := range checkpoints {
		n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(filepath.Dir(path)), "checkpoint-"))
		if err == nil && n > steps {
			newest, steps = path, n
		}
	}
	if newest == "" {
		return nil, unfinished("%s holds no checkpoint, and so no loss on held-out rows", dir)
	}
	text, err := readBounded(newest)
	if err != nil {
		return nil, fmt.Errorf("reading the newest checkpoint: %w", err)
	}
	state := &trainerState{}
	if err := json.Unmarshal(plainJSON(text), state); err != nil {
		return nil, unfinished("%s is not as transformers writes it", newest)
	}
	return state, nil
}

// score is that of a task before or after the training.
func score(dir, phase string, t v1alpha1.EvaluationTask) (metric, value string, err error) {
	text, err := readBounded(filepath.Join(dir, phase, t.Name+".json"))
	if errors.Is(err, os.ErrNotExist) {
		return "", "", unfinished("task %s was not measured %s the training", t.Name, phase)
	}
	if err != nil {
		return "", "", fmt.Errorf("reading what task %s gave: %w", t.Name, err)
	}
	metric, v, err := metricOf(text, t)
	return metric, number(v), err
}

// metricOf finds the metric that counts in the results of lm_eval, which are in the
// order of the task: "exact_match,strict-match" is a metric and its filter.
func metricOf(text []byte, t v1alpha1.EvaluationTask) (name string, value float64, err error) {
	var file struct {
		Results map[string]json.RawMessage `json:"results"`
	}
	if err := json.Unmarshal(plainJSON(text), &file); err != nil || file.Results[t.Name] == nil {
		return "", 0, refused("the results of task %s are not as lm_eval writes them", t.Name)
	}
	var has []string
	err = eachNumber(file.Results[t.Name], func(key string, v float64) bool {
		metric, filter, filtered := strings.Cut(key, ",")
		if !filtered || strings.HasSuffix(metric, "_stderr") {
			return true
		}
		if filter == "none" {
			key = metric
		}
		has = append(has, key)
		if !slices.Contains([]string{"", metric, metric + "," + filter}, t.Metric) {
			return true
		}
		name, value = key, v
		return false
	})
	switch {
	case err != nil:
		return "", 0, refused("the results of task %s are not as lm_eval writes them", t.Name)
	case name == "":
		return "", 0, refused("task %s has no metric %s: it has %s; name one of them in evaluation.tasks", t.Name, t.Metric, strings.Join(has, " and "))
	}
	return name, value, nil
}

// eachNumber visits the numbers of an object in its order, until visit says no.
func eachNumber(object []byte, visit func(key string, value float64) bool) error {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errors.New("it is no object")
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		var value *float64
		if json.Unmarshal(raw, &value) != nil || value == nil {
			continue
		}
		if text, ok := key.(string); ok && !visit(text, *value) {
			return nil
		}
	}
	return nil
}

// plainJSON makes null of NaN and Infinity, which Python writes and JSON does not
// have. Within texts they stay.
func plainJSON(text []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(text))
	inText := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '"':
			inText = !inText
		case inText && c == '\\' && i+1 < len(text):
			out.WriteByte(c)
			i++
			c = text[i]
		case !inText:
			if n := noNumber(text[i:]); n > 0 {
				out.WriteString("null")
				i += n - 1
				continue
			}
		}
		out.WriteByte(c)
	}
	return out.Bytes()
}

func noNumber(text []byte) int {
	for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(text, []byte(word)) {
			return len(word)
		}
	}
	return 0
}

// number writes four decimals, which is what is judged and shown.
func number(v float64) string {
	return strconv.FormatFloat(math.Min(v, math.MaxInt32), 'f', 4, 64)
}

func readBounded(path string) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxReportBytes+1))
	if err == nil && len(text) > maxReportBytes {
		err = refused("%s is larger than %d MiB", path, maxReportBytes>>20)
	}
	return text, err
}
