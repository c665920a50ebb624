// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GetConditions returns the conditions of the Workspace.
func (w *Workspace) GetConditions() []metav1.Condition { return w.Status.Conditions }

// SetConditions replaces the conditions of the Workspace.
func (w *Workspace) SetConditions(c []metav1.Condition) { w.Status.Conditions = c }

// Model returns the model reference of the task, nil when the spec has none.
func (s *WorkspaceSpec) Model() *ModelRef {
	switch {
	case s.Inference != nil:
		return &s.Inference.ModelRef
	case s.Tuning != nil:
		return &s.Tuning.ModelRef
	}
	return nil
}

// CandidateList returns the candidates in order, with instanceType as the
// single on-demand candidate it stands for and priorities filled in.
func (r *ResourceSpec) CandidateList() []Candidate {
	if r.InstanceType != "" {
		return []Candidate{{InstanceType: r.InstanceType, Priority: OnDemand}}
	}
	list := make([]Candidate, len(r.Candidates))
	for i, c := range r.Candidates {
		if c.Priority == "" {
			c.Priority = OnDemand
		}
		list[i] = c
	}
	return list
}

// Secrets returns the names of the Secrets the spec refers to.
func (s *WorkspaceSpec) Secrets() []string {
	var names []string
	add := func(n ...string) {
		for _, name := range n {
			if name != "" {
				names = append(names, name)
			}
		}
	}
	if m := s.Model(); m != nil {
		add(m.AccessSecret)
	}
	if s.Inference != nil {
		for _, a := range s.Inference.Adapters {
			add(a.PullSecrets...)
		}
	}
	if s.Tuning != nil {
		add(s.Tuning.Input.PullSecrets...)
		add(s.Tuning.Output.PushSecret)
	}
	return names
}

// ConfigMap returns the name of the ConfigMap the spec refers to, "" when none.
func (s *WorkspaceSpec) ConfigMap() string {
	switch {
	case s.Inference != nil:
		return s.Inference.Config
	case s.Tuning != nil:
		return s.Tuning.Config
	}
	return ""
}
