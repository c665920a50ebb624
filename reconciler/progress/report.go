// SPDX-License-Identifier: Apache-2.0

// Package progress takes what trainers say of themselves while they train: how
// much is done, the loss, how long it still takes. It speaks the status protocol
// of Kubeflow Trainer, which Hugging Face transformers posts without any code
// where three variables are set (KubeflowCallback, transformers 5), and believes
// a caller only what its own pod's token says it is.
//
// It decides nothing about a run, and writes nothing to the cluster but the
// certificate it serves with.
package progress

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Audience is whom the token of a tuning pod is for: the API server of Kubernetes
// takes such a token for nothing else.
const Audience = "espalier.dev/progress"

// Bounds of one report. transformers sends some ten metrics in one kilobyte.
const (
	bodyLimit   = 64 << 10
	metricLimit = 256
	// Ten years, in which any number of seconds is a time.Duration.
	remainingLimit = 10 * 365 * 24 * 3600
)

// Report is what a trainer says once. A nil field was not said.
type Report struct {
	Percent   *int32 // 0 to 100
	Step      *int64 // of the optimizer, from 0
	Steps     *int64 // in all, at least 1
	Loss      string // of the training, a decimal number, NaN or Inf; "" was not said
	Remaining *time.Duration
}

// wire is the body of a call. Fields that are not read may be there: the protocol
// may grow.
type wire struct {
	Status *trainerStatus `json:"trainerStatus"`
}

type trainerStatus struct {
	Percent   *int32   `json:"progressPercentage"`
	Remaining *int64   `json:"estimatedRemainingSeconds"`
	Metrics   []metric `json:"metrics"`
}

type metric struct{ Name, Value string }

// Decode reads the body of a call. Its errors are for whoever wrote the trainer.
func Decode(body []byte) (Report, error) {
	var w wire
	if err := json.Unmarshal(body, &w); err != nil {
		return Report{}, fmt.Errorf("reading the body as JSON: %w", err)
	}
	if w.Status == nil {
		return Report{}, errors.New("trainerStatus is missing")
	}
	if err := w.Status.check(); err != nil {
		return Report{}, err
	}
	r := Report{Percent: w.Status.Percent}
	if s := w.Status.Remaining; s != nil {
		d := time.Duration(*s) * time.Second
		r.Remaining = &d
	}
	for _, m := range w.Status.Metrics {
		r.take(m)
	}
	if r.Percent == nil && r.Step != nil && r.Steps != nil {
		percent := int32(min(99, 100*float64(*r.Step)/float64(*r.Steps))) // as KubeflowCallback: 100 only when it has ended
		r.Percent = &percent
	}
	return r, nil
}

// check refuses what no trainer can mean.
func (s *trainerStatus) check() error {
	switch {
	case s.Percent != nil && (*s.Percent < 0 || *s.Percent > 100):
		return fmt.Errorf("trainerStatus.progressPercentage is %d: from 0 to 100", *s.Percent)
	case s.Remaining != nil && (*s.Remaining < 0 || *s.Remaining > remainingLimit):
		return fmt.Errorf("trainerStatus.estimatedRemainingSeconds is %d: from 0 to %d", *s.Remaining, remainingLimit)
	case len(s.Metrics) > metricLimit:
		return fmt.Errorf("trainerStatus.metrics has %d entries: at most %d", len(s.Metrics), metricLimit)
	}
	return nil
}

// take reads a metric by the names that KubeflowCallback gives. One that is no
// number is left out: progress must not fail over it.
func (r *Report) take(m metric) {
	switch m.Name {
	case "current_step":
		if n, err := strconv.ParseInt(m.Value, 10, 32); err == nil && n >= 0 {
			r.Step = &n
		}
	case "total_steps":
		if n, err := strconv.ParseInt(m.Value, 10, 32); err == nil && n > 0 {
			r.Steps = &n
		}
	case "loss":
		r.Loss = number(m.Value)
	}
}

// number is a number as people read it, with four digits, "" for what is none.
func number(text string) string {
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	switch {
	case err != nil:
		return ""
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 0):
		return "Inf"
	}
	return strconv.FormatFloat(f, 'g', 4, 64)
}
