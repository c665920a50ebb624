// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GPUNodePool is GPU nodes of one kind, provisioned for a Workspace or declared
// in Git and shared.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gnp,categories={all,espalier}
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.provider`
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.status.candidate.instanceType`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.status.readyNodes`
// +kubebuilder:printcolumn:name="GPUs",type=string,JSONPath=`.status.gpus.allocatable`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.status.usdPerHour`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
type GPUNodePool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec GPUNodePoolSpec `json:"spec"`
	// +kubebuilder:default={observedGeneration:-1}
	Status GPUNodePoolStatus `json:"status,omitempty"`
}

// GPUNodePoolList is a list of GPUNodePools.
//
// +kubebuilder:object:root=true
type GPUNodePoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []GPUNodePool `json:"items"`
}

// Provider is where the nodes of a pool come from.
//
// +kubebuilder:validation:Enum=aks;karpenter;existing
type Provider string

// Values of Provider.
const (
	ProviderAKS       Provider = "aks"       // AKS agent pools
	ProviderKarpenter Provider = "karpenter" // NodeClaims, of which Karpenter or gpu-provisioner makes nodes
	ProviderExisting  Provider = "existing"  // nodes that exist: never created, never deleted
)

// Providers are the values of Provider, as a message lists them.
const Providers = "aks, karpenter or existing"

// GPUNodePoolSpec says which nodes are wanted.
//
// +kubebuilder:validation:XValidation:rule="self.provider == oldSelf.provider",message="provider is immutable: delete the pool and declare another"
// +kubebuilder:validation:XValidation:rule="self.provider == 'karpenter' || !has(self.karpenter)",message="karpenter belongs to provider karpenter"
// +kubebuilder:validation:XValidation:rule="(has(self.karpenter) && has(self.karpenter.mode) ? self.karpenter.mode : 'NodeClaims') == (has(oldSelf.karpenter) && has(oldSelf.karpenter.mode) ? oldSelf.karpenter.mode : 'NodeClaims')",message="karpenter.mode is immutable: declare a pool of another name, and move the Workspaces to it"
// +kubebuilder:validation:XValidation:rule="!has(self.karpenter) || !has(self.karpenter.mode) || self.karpenter.mode != 'NodePools' || !has(self.replicas) || self.replicas == 1",message="with karpenter.mode NodePools Karpenter decides the number of nodes: remove replicas, and bound it by karpenter.maxNodes"
// +kubebuilder:validation:XValidation:rule="self.provider == 'aks' || !has(self.aks)",message="aks belongs to provider aks"
// +kubebuilder:validation:XValidation:rule="self.provider == 'existing' || !has(self.existing)",message="existing belongs to provider existing"
// +kubebuilder:validation:XValidation:rule="!has(self.driver) || self.provider == 'existing' || (has(self.aks) && has(self.aks.gpuDriver) && self.aks.gpuDriver == 'None')",message="driver is of nodes whose driver no cloud installs: with provider existing, or aks.gpuDriver None"
// +kubebuilder:validation:XValidation:rule="!has(self.aks) || !has(self.aks.capacityReservationGroup) || !self.candidates.exists(c, has(c.priority) && c.priority == 'Spot')",message="a capacity reservation holds no spot machines: remove the spot candidates, or aks.capacityReservationGroup"
// +kubebuilder:validation:XValidation:rule="self.provider != 'existing' || (has(self.nodeLabels) && self.nodeLabels.size() > 0)",message="provider existing selects nodes by nodeLabels: name at least one"
// +kubebuilder:validation:XValidation:rule="!has(self.aks) || !has(self.aks.autoscale) || !has(self.replicas) || self.replicas == 1",message="aks.autoscale decides the number of nodes: remove replicas, or aks.autoscale"
// +kubebuilder:validation:XValidation:rule="!has(self.aks) || !has(self.aks.autoscale) || !has(self.idle)",message="the autoscaler takes nodes away that no pod needs: remove idle, or aks.autoscale"
// +kubebuilder:validation:XValidation:rule="self.provider != 'existing' || !has(self.idle)",message="idle does not belong to provider existing: nodes that exist are never given back"
type GPUNodePoolSpec struct {
	// Provider is aks, karpenter or existing.
	Provider Provider `json:"provider"`
	// Karpenter says of what provider karpenter makes the nodes.
	Karpenter *KarpenterSpec `json:"karpenter,omitempty"`
	// AKS says what only AKS agent pools have.
	AKS *AKSSpec `json:"aks,omitempty"`
	// Existing says what of nodes that exist is used.
	Existing *ExistingSpec `json:"existing,omitempty"`
	// Driver is the oldest NVIDIA driver of the nodes, as a branch (580) or a version
	// (580.95.05), where no cloud installs it: with provider existing, or aks.gpuDriver
	// None. The images of the Workspaces on it are chosen by it, and a node with an older
	// one is not used. Empty: nobody knows it.
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{2}(\.[0-9]{1,3}){0,2}$`
	Driver string `json:"driver,omitempty"`
	// Candidates in order of preference: the first that can be had wins.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Candidates []Candidate `json:"candidates"`
	// Replicas is the number of nodes. It is not read beside aks.autoscale, nor with
	// karpenter.mode NodePools.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// NodeLabels are put on the nodes; with provider existing they select them.
	NodeLabels map[string]string `json:"nodeLabels,omitempty"`
	// OSDiskSizeGiB is the size of the system disk, which also holds images. With
	// provider karpenter and a node class of your own, that class has the size.
	// +kubebuilder:default=256
	// +kubebuilder:validation:Minimum=64
	// +kubebuilder:validation:Maximum=2048
	OSDiskSizeGiB int32 `json:"osDiskSizeGiB,omitempty"`
	// Timeouts after which a candidate is given up.
	// +kubebuilder:default={provision:"20m",gpuReady:"15m"}
	Timeouts PoolTimeouts `json:"timeouts,omitempty"`
	// Idle lets the nodes go while no Workspace uses them. Empty: they stay.
	Idle *PoolIdle `json:"idle,omitempty"`
	// DeletionPolicy Orphan leaves the nodes in the cloud when the pool goes.
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// PoolTimeouts bound the phases of provisioning.
type PoolTimeouts struct {
	// Provision bounds the cloud's part, until the nodes have joined.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="20m"
	Provision metav1.Duration `json:"provision,omitempty"`
	// GPUReady bounds the time from joined to allocatable GPUs.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="15m"
	GPUReady metav1.Duration `json:"gpuReady,omitempty"`
}

// PoolIdle says when and how a pool that Git declares lets go of nodes that no
// Workspace uses. A Workspace uses a pool that it names by spec.resource.nodePool,
// unless it is suspended, done, or no pod of it can run as it stands.
type PoolIdle struct {
	// After is how long nobody must have used the nodes, at least 1m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="after is at least 1m"
	After metav1.Duration `json:"after"`
	// Action is ScaleToZero, which keeps an empty node pool in the cloud, or Delete,
	// which leaves nothing there: a cluster of AKS holds 100 node pools.
	// +kubebuilder:default=ScaleToZero
	Action IdleAction `json:"action,omitempty"`
}

// IdleAction is what becomes of a pool that nobody uses.
//
// +kubebuilder:validation:Enum=ScaleToZero;Delete
type IdleAction string

// Values of IdleAction.
const (
	IdleScaleToZero IdleAction = "ScaleToZero" // the cloud's node pool stays, without nodes
	IdleDelete      IdleAction = "Delete"      // the cloud's node pool goes
)

// PoolPhase is where a pool stands on its way.
type PoolPhase string

// Values of PoolPhase.
const (
	PhasePending      PoolPhase = "Pending"      // nothing was decided yet
	PhaseClaiming     PoolPhase = "Claiming"     // the attempt is recorded, the cloud not yet asked
	PhaseCreating     PoolPhase = "Creating"     // the cloud is creating
	PhaseNodesJoining PoolPhase = "NodesJoining" // waiting for nodes to register and be Ready
	PhaseGPUWaiting   PoolPhase = "GPUWaiting"   // waiting for allocatable GPUs
	PhaseReady        PoolPhase = "Ready"        // every node's GPUs can be used
	PhaseIdle         PoolPhase = "Idle"         // nobody uses the pool, and it has no nodes
	PhaseCleaning     PoolPhase = "Cleaning"     // our failed attempt is being deleted
	PhaseExhausted    PoolPhase = "Exhausted"    // no candidate can be had now
	PhaseDeleting     PoolPhase = "Deleting"     // being deleted
	PhaseLost         PoolPhase = "OwnershipLost"
)

// GPUNodePoolStatus is how far a pool is.
type GPUNodePoolStatus struct {
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions; see the Condition constants.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Phase is where the pool stands.
	Phase PoolPhase `json:"phase,omitempty"`
	// Candidate is the one being tried or used. It is written before the cloud
	// is asked, so that a crash in between creates nothing twice. With
	// karpenter.mode NodePools it is the first that has nodes, or may be given some.
	Candidate *CandidateStatus `json:"candidate,omitempty"`
	// Skipped candidates and until when.
	Skipped []SkippedCandidate `json:"skipped,omitempty"`
	// PoolName is the name in the cloud, computed from the object's UID and the
	// attempt.
	PoolName string `json:"poolName,omitempty"`
	// Removing names the nodes that are being removed of a pool that stays. It is
	// written before the cloud is asked.
	// +listType=atomic
	Removing []string `json:"removing,omitempty"`
	// ReadyNodes counts nodes that are Ready with all their GPUs.
	// +optional
	ReadyNodes int32 `json:"readyNodes"`
	// GPUs expected, allocatable, held by others and missing, over all nodes.
	GPUs *GPUCount `json:"gpus,omitempty"`
	// USDPerHour is the list price of what is provisioned now.
	USDPerHour string `json:"usdPerHour,omitempty"`
	// Tuned is when settings of nodes that stay were last sent to the cloud.
	Tuned *metav1.Time `json:"tuned,omitempty"`
	// IdleSince is since when nobody has used the pool, where spec.idle is set.
	IdleSince *metav1.Time `json:"idleSince,omitempty"`
	// Since is when the pool entered its phase, or when another node was ordered in it for
	// one that was taken away.
	Since *metav1.Time `json:"since,omitempty"`
	// Phases are those that the attempt went through, from when it was recorded, or
	// an idle pool was asked for nodes again, until it was Ready or given up: where
	// the time of a cold start went.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	Phases []PhaseTime `json:"phases,omitempty"`
}

// PhaseTime is when a pool entered a phase.
type PhaseTime struct {
	// Phase that was entered.
	Phase PoolPhase `json:"phase"`
	// At is when.
	At metav1.Time `json:"at"`
}

// CandidateStatus is the candidate being tried or used.
type CandidateStatus struct {
	// Index in spec.candidates at the time of the attempt.
	Index int32 `json:"index"`
	// InstanceType of the candidate.
	InstanceType string `json:"instanceType"`
	// Priority of the candidate.
	Priority Priority `json:"priority,omitempty"`
	// Zones of the candidate.
	Zones []string `json:"zones,omitempty"`
	// OfferedZones are those of Zones that the attempt was made in, where the cloud
	// does not offer the size in all of them.
	OfferedZones []string `json:"offeredZones,omitempty"`
	// Attempt counts attempts of the pool, from 1; it is part of the name.
	Attempt int32 `json:"attempt"`
	// Since is when the attempt was recorded.
	Since metav1.Time `json:"since"`
	// Accepted is when the cloud took the order: timeouts.provision counts from
	// here, not from the wait for a busy cluster before it.
	Accepted *metav1.Time `json:"accepted,omitempty"`
}

// SkippedCandidate is a candidate that could not be had.
type SkippedCandidate struct {
	// InstanceType of the candidate.
	InstanceType string `json:"instanceType"`
	// Priority of the candidate.
	Priority Priority `json:"priority,omitempty"`
	// Zones of the candidate.
	Zones []string `json:"zones,omitempty"`
	// Class of the failure, for example FamilyQuota.
	Class string `json:"class"`
	// Until is when it is worth another try.
	Until metav1.Time `json:"until"`
	// Message is the cloud's own text, cut to a line.
	Message string `json:"message,omitempty"`
}

// GPUCount counts GPUs.
type GPUCount struct {
	// Expected by the instance type.
	Expected int32 `json:"expected"`
	// Allocatable on the nodes that are Ready; on nodes that exist, without those that are held.
	Allocatable int32 `json:"allocatable"`
	// Held by pods that the pool is not for, on nodes that exist.
	// +optional
	Held int32 `json:"held,omitempty"`
	// Missing are those of the expected ones that are on no node, or do not work. What a
	// node has beyond what is wanted of it makes up for none of another.
	// +optional
	Missing int32 `json:"missing,omitempty"`
}

// GetConditions returns the conditions of the pool.
func (p *GPUNodePool) GetConditions() []metav1.Condition { return p.Status.Conditions }

// SetConditions replaces the conditions of the pool.
func (p *GPUNodePool) SetConditions(c []metav1.Condition) { p.Status.Conditions = c }

// Settings are both settings with what is left out filled in; of none, the nil
// AKSUpgrade, likewise.
func (u *AKSUpgrade) Settings() AKSUpgrade {
	out := AKSUpgrade{MaxSurge: "0", MaxUnavailable: "1"}
	if u == nil {
		return out
	}
	if u.MaxSurge != "" {
		out.MaxSurge = u.MaxSurge
	}
	switch {
	case u.MaxUnavailable != "":
		out.MaxUnavailable = u.MaxUnavailable
	case out.Surges():
		out.MaxUnavailable = "0"
	}
	return out
}

// Surges says that nodes may be there beyond those that are wanted.
func (u *AKSUpgrade) Surges() bool {
	return u.MaxSurge != "" && u.MaxSurge != "0" && u.MaxSurge != "0%"
}

// Reserved says that the machines are taken from capacity reservations.
func (s *GPUNodePoolSpec) Reserved() bool {
	return s.AKS != nil && s.AKS.CapacityReservationGroup != ""
}

// OwnDriver says that nobody of the cloud's installs the driver of the nodes.
func (s *GPUNodePoolSpec) OwnDriver() bool { return s.AKS != nil && s.AKS.GPUDriver == DriverNone }

// Autoscale is how far an autoscaler of the cloud's, or Karpenter, may go in making
// nodes for pods that wait; nil: none decides anything.
func (s *GPUNodePoolSpec) Autoscale() *AKSAutoscale {
	switch {
	case s.ByKarpenter():
		return &AKSAutoscale{Max: s.Karpenter.MaxNodes}
	case s.AKS == nil:
		return nil
	}
	return s.AKS.Autoscale
}

// ByKarpenter says that Karpenter decides on the number of nodes.
func (s *GPUNodePoolSpec) ByKarpenter() bool {
	return s.Provider == ProviderKarpenter && s.Karpenter != nil && s.Karpenter.Mode == KarpenterNodePools
}

// Autoscaler names whoever decides on the number of nodes where Autoscale says that
// somebody does.
func (s *GPUNodePoolSpec) Autoscaler() string {
	if s.ByKarpenter() {
		return "Karpenter"
	}
	return "the cluster autoscaler of AKS"
}

// MostField is the field that bounds the number of nodes.
func (s *GPUNodePoolSpec) MostField() string {
	switch {
	case s.ByKarpenter():
		return "spec.karpenter.maxNodes"
	case s.Autoscale() != nil:
		return "spec.aks.autoscale.max"
	}
	return "spec.replicas"
}

// Nodes are the fewest and the most nodes that a spec asks for, 1 where it is
// silent.
func (s *GPUNodePoolSpec) Nodes() (least, most int32) {
	if a := s.Autoscale(); a != nil {
		return a.Min, a.Max
	}
	if s.Replicas == nil {
		return 1, 1
	}
	return *s.Replicas, *s.Replicas
}

// DesiredReplicas is the number of nodes wanted: the fewest, where the cloud's
// autoscaler decides.
func (p *GPUNodePool) DesiredReplicas() int32 {
	least, _ := p.Spec.Nodes()
	return least
}
