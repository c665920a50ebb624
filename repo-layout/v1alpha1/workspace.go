// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"slices"

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

// Labels are those of the nodes; nil where the spec names none.
func (r *ResourceSpec) Labels() map[string]string {
	if r.LabelSelector == nil {
		return nil
	}
	return r.LabelSelector.MatchLabels
}

// MaxUSD is what a tuning run may cost in all, "" where nothing is said.
func (s *WorkspaceSpec) MaxUSD() string {
	if s.Budget == nil || s.Tuning == nil {
		return ""
	}
	return s.Budget.MaxUSD
}

// NamesImages says that there is an image of an adapter or of training data.
func (s *WorkspaceSpec) NamesImages() bool {
	if s.Tuning != nil {
		return s.Tuning.Input.Image != ""
	}
	return s.Inference != nil && slices.ContainsFunc(s.Inference.Adapters, func(a Adapter) bool { return a.Image != "" })
}

// CopiesImages says that pods copy what images hold, and mount none.
func (s *WorkspaceSpec) CopiesImages() bool {
	return s.Runtime != nil && s.Runtime.ImageVolumes == ImageVolumesDisabled
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
		if w := s.Inference.Weights; w != nil {
			add(w.Secret)
		}
		add(s.Inference.named().secrets...)
	}
	if s.Tuning != nil {
		for _, f := range s.Tuning.Input.Files {
			add(f.Secret)
		}
		add(s.Tuning.Input.PullSecrets...)
		add(s.Tuning.Output.PushSecret, s.Tuning.Output.SigningSecret)
	}
	return names
}

// ModelName returns the model as the spec names it, "" when it names none.
func (m *ModelRef) ModelName() string {
	if m.Model != nil {
		return m.Model.ID
	}
	return m.Preset
}

// CacheClaim returns the name of the claim that keeps a model's weights, "" when
// there is none.
func (s *WorkspaceSpec) CacheClaim() string {
	if s.Inference == nil || s.Inference.Cache == nil {
		return ""
	}
	return s.Inference.Cache.Claim
}

// WeightsClaim returns the name of the claim that holds a model's weights, "" when
// they are elsewhere.
func (s *WorkspaceSpec) WeightsClaim() string {
	if s.Inference == nil || s.Inference.Weights == nil {
		return ""
	}
	return s.Inference.Weights.Claim
}

// AdapterClaims returns the names of the claims that adapters come from.
func (s *WorkspaceSpec) AdapterClaims() []string {
	if s.Inference == nil {
		return nil
	}
	var names []string
	for _, a := range s.Inference.Adapters {
		if a.Claim != "" && !slices.Contains(names, a.Claim) {
			names = append(names, a.Claim)
		}
	}
	return names
}

// SharedClaims returns the names of the claims of the user's that pods on several
// nodes mount, where the work takes several, each once.
func (s *WorkspaceSpec) SharedClaims() []string {
	all := append([]string{s.CacheClaim(), s.WeightsClaim()}, s.AdapterClaims()...)
	if t := s.Tuning; t != nil {
		all = append(all, t.Input.Claim, t.Output.Claim)
	}
	var names []string
	for _, name := range all {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// TrainsOn says whether a ConfigMap holds training data.
func (s *WorkspaceSpec) TrainsOn(configMap string) bool {
	return s.Tuning != nil && slices.ContainsFunc(s.Tuning.Input.Files, func(f FileSource) bool { return f.ConfigMap == configMap })
}

// ConfigMaps returns the names of the ConfigMaps the spec refers to, each once:
// that of the configuration, that of the model's lock file, those that hold
// training data, and those that a pod template cannot do without.
func (s *WorkspaceSpec) ConfigMaps() []string {
	all := []string{s.ConfigName(), s.LockName()}
	if s.Tuning != nil {
		for _, f := range s.Tuning.Input.Files {
			all = append(all, f.ConfigMap)
		}
	}
	if s.Inference != nil {
		all = append(all, s.Inference.named().configMaps...)
	}
	var names []string
	for _, name := range all {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// LockName returns the name of the ConfigMap with the model's lock file, ""
// when the model is one of the catalogue.
func (s *WorkspaceSpec) LockName() string {
	if m := s.Model(); m != nil && m.Model != nil {
		return m.Model.Lock
	}
	return ""
}

// ConfigName returns the name of the ConfigMap with the configuration of the
// task, "" when there is none.
func (s *WorkspaceSpec) ConfigName() string {
	switch {
	case s.Inference != nil:
		return s.Inference.Config
	case s.Tuning != nil:
		return s.Tuning.Config
	}
	return ""
}

// RuntimeKAITO is the name of KAITO's base image among the runtimes.
const RuntimeKAITO = "kaito"

// Resumes says that a pod of the tuning run goes on from the checkpoint of the one before.
// KAITO's trainer keeps none.
func (s *WorkspaceSpec) Resumes() bool {
	return s.Tuning != nil && (s.Runtime == nil || s.Runtime.Name != RuntimeKAITO)
}
