// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AKSSpec says what only AKS agent pools have. Nodes that exist keep what they
// were made with.
type AKSSpec struct {
	// OSDiskType Ephemeral puts the system disk, of osDiskSizeGiB, on the machine's
	// own disk, which must be that large; Managed keeps it in the network. Empty: AKS
	// takes the machine's own where it is large enough.
	OSDiskType OSDiskType `json:"osDiskType,omitempty"`
	// GPUDriver None leaves the driver to the NVIDIA GPU operator. Empty: AKS
	// installs it.
	GPUDriver GPUDriver `json:"gpuDriver,omitempty"`
	// MIG cuts every GPU into slices of one profile, for example MIG3g: a slice is
	// a GPU of its own, and no two of them work on one model.
	MIG MIGProfile `json:"mig,omitempty"`
	// CapacityReservationGroup is the resource id of a group of capacity
	// reservations that the machines are taken from.
	// +kubebuilder:validation:Pattern=`^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Compute/capacityReservationGroups/[^/]+$`
	// +kubebuilder:validation:MaxLength=400
	CapacityReservationGroup string `json:"capacityReservationGroup,omitempty"`
	// Autoscale gives the number of nodes to AKS's own cluster autoscaler. Empty: it
	// is replicas.
	Autoscale *AKSAutoscale `json:"autoscale,omitempty"`
	// Upgrade says how nodes are replaced when AKS upgrades them. Empty: one goes
	// before its successor comes, because a surge node of a scarce size often cannot
	// be had and counts against the quota.
	Upgrade *AKSUpgrade `json:"upgrade,omitempty"`
}

// AKSAutoscale bounds the number of nodes, which the cluster autoscaler of AKS
// decides by the pods that wait.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || self.min <= self.max",message="min is more than max"
type AKSAutoscale struct {
	// Min is the fewest nodes. 0 keeps none that no pod needs.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Min int32 `json:"min,omitempty"`
	// Max is the most nodes, which the price and the quota of a plan are of.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Max int32 `json:"max"`
}

// AKSUpgrade is the upgrade settings of an agent pool: numbers of nodes, or shares
// such as 33%. AKS takes only one of the two
// (https://github.com/Azure/AKS/issues/4277); the other is 0.
//
// +kubebuilder:validation:XValidation:rule="has(self.maxSurge) && !(self.maxSurge in ['0', '0%']) || !has(self.maxUnavailable) || !(self.maxUnavailable in ['0', '0%'])",message="with neither maxSurge nor maxUnavailable no node could be upgraded"
// +kubebuilder:validation:XValidation:rule="!has(self.maxSurge) || self.maxSurge in ['0', '0%'] || !has(self.maxUnavailable) || self.maxUnavailable in ['0', '0%']",message="AKS takes only one of maxSurge and maxUnavailable: leave the other out"
type AKSUpgrade struct {
	// MaxSurge is how many nodes may be there beyond those that are wanted. Empty: 0.
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,2})%?$`
	MaxSurge string `json:"maxSurge,omitempty"`
	// MaxUnavailable is how many may be missing. Empty: 1, or 0 with a maxSurge.
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]{0,2})%?$`
	MaxUnavailable string `json:"maxUnavailable,omitempty"`
}

// OSDiskType is where the system disk of a node is.
//
// +kubebuilder:validation:Enum=Ephemeral;Managed
type OSDiskType string

// Values of OSDiskType.
const (
	DiskEphemeral OSDiskType = "Ephemeral"
	DiskManaged   OSDiskType = "Managed"
)

// GPUDriver is who installs the driver.
//
// +kubebuilder:validation:Enum=Install;None
type GPUDriver string

// Values of GPUDriver.
const (
	DriverInstall GPUDriver = "Install" // AKS
	DriverNone    GPUDriver = "None"    // the NVIDIA GPU operator, or nobody
)

// MIGProfile is the slice that a GPU is cut into.
//
// +kubebuilder:validation:Enum=MIG1g;MIG2g;MIG3g;MIG4g;MIG7g
type MIGProfile string

// MIGProfiles are the values of MIGProfile: those that AKS knows.
var MIGProfiles = []MIGProfile{"MIG1g", "MIG2g", "MIG3g", "MIG4g", "MIG7g"}

// KarpenterSpec says of what provider karpenter makes the nodes.
//
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'NodePools') == has(self.maxNodes)",message="maxNodes and mode NodePools belong together: it is the most nodes that are paid for"
// +kubebuilder:validation:XValidation:rule="!has(self.consolidateAfter) || has(self.mode) && self.mode == 'NodePools'",message="consolidateAfter belongs to mode NodePools: with NodeClaims nodes go when their work is done"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'NodePools' || !has(self.nodeClassRef) || self.nodeClassRef.group != 'kaito.sh'",message="gpu-provisioner knows no NodePools: remove mode, or name a node class of Karpenter"
type KarpenterSpec struct {
	// Mode NodePools makes a NodePool of Karpenter for each candidate, and leaves it
	// to Karpenter to make nodes as pods wait for them, up to maxNodes, and to take
	// away those that are empty. Empty: NodeClaims, with which Espalier orders as many
	// nodes as replicas says and Karpenter moves none.
	Mode KarpenterMode `json:"mode,omitempty"`
	// MaxNodes is the most nodes over all candidates, which the price of a plan is
	// of; required with mode NodePools.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxNodes int32 `json:"maxNodes,omitempty"`
	// ConsolidateAfter is how long a node of mode NodePools stands empty before
	// Karpenter takes it away. Empty: 5m.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(s|m|h))+$`
	ConsolidateAfter *metav1.Duration `json:"consolidateAfter,omitempty"`
	// NodeClassRef names the node class: image, disk, network and identity of the
	// nodes. It must be one that the controller allows. Empty: the controller's
	// default, or an AKSNodeClass of the pool's own where it has none.
	NodeClassRef *NodeClassReference `json:"nodeClassRef,omitempty"`
}

// KarpenterMode is who orders the nodes of provider karpenter.
//
// +kubebuilder:validation:Enum=NodeClaims;NodePools
type KarpenterMode string

// Values of KarpenterMode.
const (
	KarpenterNodeClaims KarpenterMode = "NodeClaims" // Espalier, one by one
	KarpenterNodePools  KarpenterMode = "NodePools"  // Karpenter, as pods wait for them
)

// NodeClassReference names a node class, for example an AKSNodeClass
// (karpenter.azure.com), an EC2NodeClass (karpenter.k8s.aws) or a KaitoNodeClass
// (kaito.sh, of gpu-provisioner).
type NodeClassReference struct {
	// Group of the kind, for example karpenter.azure.com.
	// +kubebuilder:validation:MinLength=1
	Group string `json:"group"`
	// Kind, for example AKSNodeClass.
	// +kubebuilder:validation:MinLength=1
	Kind string `json:"kind"`
	// Name of the node class, which has no namespace.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// String is GROUP/KIND/NAME, as the controller's flag takes it.
func (r NodeClassReference) String() string { return r.Group + "/" + r.Kind + "/" + r.Name }
