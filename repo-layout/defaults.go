// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Defaults that the CRDs set as well; a test compares them.
const (
	defaultReplicas  = 1
	defaultOSDiskGiB = 256
	defaultProvision = 20 * time.Minute
	defaultGPUReady  = 15 * time.Minute
)

// Fields that the defaults of a RepoSync fill in, as AnnotationDefaulted lists them.
const (
	DefaultedBudget   = "budget"
	DefaultedMaxUSD   = "budget.maxUSD"
	DefaultedMirror   = "runtime.mirror"
	DefaultedClass    = "tuning.checkpoints.storageClass"
	DefaultedCache    = "inference.cache.storageClass"
	DefaultedProvider = "resource.provider"
	DefaultedInstance = "resource.instanceType"
	DefaultedDriver   = "resource.driver"
	DefaultedImages   = "runtime.imageVolumes"
	DefaultedKaito    = "runtime.image"
	DefaultedAccount  = "inference.weights.serviceAccountName"
)

// Defaulted says that a field of a Workspace comes from its RepoSync's defaults.
func Defaulted(w *v1alpha1.Workspace, field string) bool {
	return slices.Contains(strings.Split(w.Annotations[AnnotationDefaulted], ","), field)
}

// Default fills in what the API server would: the defaults of the CRD.
func Default(w *v1alpha1.Workspace) {
	defaultCandidates(w.Spec.Resource.Candidates)
	i := w.Spec.Inference
	if i == nil {
		return
	}
	if i.Replicas == nil {
		i.Replicas = new(int32(defaultReplicas))
	}
	if a := i.Autoscale; a != nil {
		a.MinReplicas, a.WaitingRequests, a.CooldownSeconds = new(a.Least()), new(a.Waiting()), new(a.Cooldown())
	}
}

// DefaultPool is Default for a GPUNodePool.
func DefaultPool(p *v1alpha1.GPUNodePool) {
	s := &p.Spec
	defaultCandidates(s.Candidates)
	if s.Replicas == nil {
		s.Replicas = new(int32(defaultReplicas))
	}
	if s.Idle != nil && s.Idle.Action == "" {
		s.Idle.Action = v1alpha1.IdleScaleToZero
	}
	if s.AKS != nil && s.AKS.Upgrade != nil {
		*s.AKS.Upgrade = s.AKS.Upgrade.Settings() // one follows from the other: the API server leaves them empty
	}
	if s.OSDiskSizeGiB == 0 {
		s.OSDiskSizeGiB = defaultOSDiskGiB
	}
	if s.Timeouts.Provision.Duration == 0 {
		s.Timeouts.Provision = metav1.Duration{Duration: defaultProvision}
	}
	if s.Timeouts.GPUReady.Duration == 0 {
		s.Timeouts.GPUReady = metav1.Duration{Duration: defaultGPUReady}
	}
	if s.DeletionPolicy == "" {
		s.DeletionPolicy = v1alpha1.Delete
	}
}

func defaultCandidates(list []v1alpha1.Candidate) {
	for i := range list {
		if list[i].Priority == "" {
			list[i].Priority = v1alpha1.OnDemand
		}
	}
}
