// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "slices"

// HoldsOut says whether a loss is measured on rows that are held out.
func (e *Evaluation) HoldsOut() bool { return e != nil && (e.Split != "" || len(e.URLs) > 0) }

// Benchmarks are the tasks that are measured.
func (e *Evaluation) Benchmarks() []EvaluationTask {
	if e == nil {
		return nil
	}
	return e.Tasks
}

// WithoutThresholds is what is measured, whatever is demanded of it; nil for nothing.
func (e *Evaluation) WithoutThresholds() *Evaluation {
	if e == nil {
		return nil
	}
	m := e.DeepCopy()
	m.MaxLoss, m.MinImprovement = "", ""
	m.Tasks = slices.Clone(m.Tasks)
	for i := range m.Tasks {
		m.Tasks[i].Minimum, m.Tasks[i].MaxRegression = "", ""
	}
	return m
}
