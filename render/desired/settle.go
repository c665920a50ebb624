// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"cmp"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
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
	filled := fillBudget(w, defaults.Budget, defaults.Provider)
	for _, f := range []struct {
		name string
		fill func(*v1alpha1.WorkspaceSpec, v1alpha1.SyncDefaults) bool
	}{
		{repolayout.DefaultedKaito, fillKaito}, // an image says itself where it is pulled from
		{repolayout.DefaultedMirror, fillMirror},
		{repolayout.DefaultedClass, fillClass},
		{repolayout.DefaultedCache, fillCache},
		{repolayout.DefaultedInstance, fillInstance}, // of those that say themselves that the nodes exist
		{repolayout.DefaultedProvider, fillProvider},
		{repolayout.DefaultedDriver, fillDriver}, // of those whose nodes exist by whoever's word
		{repolayout.DefaultedImages, fillImages},
		{repolayout.DefaultedAccount, fillAccount},
	} {
		if f.fill(&w.Spec, *defaults) {
			filled = append(filled, f.name)
		}
	}
	note(w, repolayout.AnnotationDefaulted, filled)
}

// fillKaito names KAITO's base image. A version of one's own is another image.
func fillKaito(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	r, image := spec.Runtime, defaults.KaitoImage
	if image == nil || r == nil || !runtimes.Unpinned(r.Name) || r.Image != "" || r.Version != "" && r.Version != image.Version {
		return false
	}
	r.Image, r.Version, r.CUDA = image.Image, image.Version, image.CUDA
	return true
}

// fillAccount says who reads a registry: only there does a document of kaito.sh leave it
// to the controller.
func fillAccount(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	s := spec.Inference
	if defaults.WeightsServiceAccount == "" || s == nil || s.Weights == nil || s.Weights.Registry == nil || s.Weights.ServiceAccountName != "" {
		return false
	}
	s.Weights.ServiceAccountName = defaults.WeightsServiceAccount
	return true
}

func fillMirror(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	r := spec.Runtime
	if defaults.RegistryMirror == "" || r != nil && (r.Mirror != "" || r.Image != "") || ownPod(spec) {
		return false
	}
	if r == nil {
		spec.Runtime = &v1alpha1.RuntimeSpec{}
	}
	spec.Runtime.Mirror = defaults.RegistryMirror
	return true
}

// fillImages is for Workspaces that name an image which nodes would mount.
func fillImages(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	if defaults.ImageVolumes == "" || spec.Runtime != nil && spec.Runtime.ImageVolumes != "" || !spec.NamesImages() {
		return false
	}
	if spec.Runtime == nil {
		spec.Runtime = &v1alpha1.RuntimeSpec{}
	}
	spec.Runtime.ImageVolumes = defaults.ImageVolumes
	return true
}

func fillClass(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	t := spec.Tuning
	if defaults.StorageClass == "" || t == nil || t.Kept().StorageClass != "" {
		return false
	}
	if t.Checkpoints == nil {
		t.Checkpoints = &v1alpha1.Checkpoints{}
	}
	t.Checkpoints.StorageClass = defaults.StorageClass
	return true
}

// fillCache gives the volumes that pods have for weights a class, where each pod has
// one of its own.
func fillCache(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	s := spec.Inference
	if defaults.StorageClass == "" || s == nil || s.Cache == nil || s.Cache.Size == "" || s.Cache.StorageClass != "" {
		return false
	}
	s.Cache.StorageClass = defaults.StorageClass
	return true
}

func fillProvider(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	r := &spec.Resource
	if defaults.Provider == "" || r.Provider != "" || r.NodePool != "" {
		return false
	}
	r.Provider = defaults.Provider
	return true
}

// fillInstance says what nodes that exist are like.
func fillInstance(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	r := &spec.Resource
	if defaults.InstanceType == "" || r.Provider != v1alpha1.ProviderExisting || r.NodePool != "" || len(r.CandidateList()) > 0 {
		return false
	}
	r.InstanceType = defaults.InstanceType
	return true
}

// fillDriver says which driver nodes have that exist, or that do where the controller's
// provider says so: package check knows.
func fillDriver(spec *v1alpha1.WorkspaceSpec, defaults v1alpha1.SyncDefaults) bool {
	r := &spec.Resource
	if defaults.Driver == "" || r.Driver != "" || r.NodePool != "" || r.Provider != "" && r.Provider != v1alpha1.ProviderExisting {
		return false
	}
	r.Driver = defaults.Driver
	return true
}

// fillBudget fills in each limit that the Workspace does not say itself; that of a
// whole run belongs to tuning on nodes that have a price. provider is the default of
// the RepoSync.
func fillBudget(w *v1alpha1.Workspace, defaults *v1alpha1.Budget, provider v1alpha1.Provider) (filled []string) {
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
	if limit := defaults.MaxUSD; limit != "" && own.MaxUSD == "" && w.Spec.Tuning != nil && !onExisting(w, provider) {
		own.MaxUSD = limit
		filled = append(filled, repolayout.DefaultedMaxUSD)
	}
	if len(filled) > 0 {
		w.Spec.Budget = &own
	}
	return filled
}

// onExisting says that the Workspace, or the default for its own nodes, asks for nodes
// that exist, which have no price. Of a shared pool nothing is known here.
func onExisting(w *v1alpha1.Workspace, provider v1alpha1.Provider) bool {
	r := w.Spec.Resource
	return r.NodePool == "" && cmp.Or(r.Provider, provider) == v1alpha1.ProviderExisting
}

// ownPod says that a Workspace runs a pod of the user's own, whose images say
// themselves where they are pulled from.
func ownPod(spec *v1alpha1.WorkspaceSpec) bool {
	return spec.Inference != nil && spec.Inference.Template != nil
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
