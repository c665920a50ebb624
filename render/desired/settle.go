// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Substitute moves a Workspace from one instance type to another, and leaves a
// note of it for the reader of its status.
func Substitute(w *v1alpha1.Workspace, table map[string]string) {
	var moved []string
	replace := func(instance *string) {
		if to, ok := table[*instance]; ok {
			moved = append(moved, *instance+"="+to)
			*instance = to
		}
	}
	replace(&w.Spec.Resource.InstanceType)
	for i := range w.Spec.Resource.Candidates {
		replace(&w.Spec.Resource.Candidates[i].InstanceType)
	}
	note(w, repolayout.AnnotationSubstituted, moved)
}

// FillIn gives a Workspace the defaults of its RepoSync where it says nothing
// itself, and leaves a note of it: a message on such a field names the RepoSync.
func FillIn(w *v1alpha1.Workspace, defaults *v1alpha1.SyncDefaults) {
	if defaults == nil {
		return
	}
	var filled []string
	filled = append(filled, fillBudget(w, defaults.Budget)...)
	if r := w.Spec.Runtime; defaults.RegistryMirror != "" && (r == nil || r.Mirror == "" && r.Image == "") && !ownPod(w) {
		if r == nil {
			w.Spec.Runtime = &v1alpha1.RuntimeSpec{}
		}
		w.Spec.Runtime.Mirror = defaults.RegistryMirror
		filled = append(filled, repolayout.DefaultedMirror)
	}
	if t := w.Spec.Tuning; defaults.StorageClass != "" && t != nil && t.Kept().StorageClass == "" {
		if t.Checkpoints == nil {
			t.Checkpoints = &v1alpha1.Checkpoints{}
		}
		t.Checkpoints.StorageClass = defaults.StorageClass
		filled = append(filled, repolayout.DefaultedClass)
	}
	if r := &w.Spec.Resource; defaults.Provider != "" && r.Provider == "" && r.NodePool == "" {
		r.Provider = defaults.Provider
		filled = append(filled, repolayout.DefaultedProvider)
	}
	note(w, repolayout.AnnotationDefaulted, filled)
}

// fillBudget fills in each limit that the Workspace does not say itself; that of a
// whole run belongs to tuning.
func fillBudget(w *v1alpha1.Workspace, defaults *v1alpha1.Budget) (filled []string) {
	own := v1alpha1.Budget{}
	if w.Spec.Budget != nil {
		own = *w.Spec.Budget
	}
	if defaults == nil {
		return nil
	}
	if defaults.MaxUSDPerHour != "" && own.MaxUSDPerHour == "" {
		own.MaxUSDPerHour = defaults.MaxUSDPerHour
		filled = append(filled, repolayout.DefaultedBudget)
	}
	if defaults.MaxUSD != "" && own.MaxUSD == "" && w.Spec.Tuning != nil {
		own.MaxUSD = defaults.MaxUSD
		filled = append(filled, repolayout.DefaultedMaxUSD)
	}
	if len(filled) > 0 {
		w.Spec.Budget = &own
	}
	return filled
}

// ownPod says that a Workspace runs a pod of the user's own, whose images say
// themselves where they are pulled from.
func ownPod(w *v1alpha1.Workspace) bool {
	return w.Spec.Inference != nil && w.Spec.Inference.Template != nil
}

// note leaves a list in an annotation.
func note(w *v1alpha1.Workspace, annotation string, list []string) {
	if len(list) == 0 {
		return
	}
	if w.Annotations == nil {
		w.Annotations = map[string]string{}
	}
	w.Annotations[annotation] = strings.Join(list, ",")
}
