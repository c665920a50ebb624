// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WorkspaceStatus is what became of a Workspace.
type WorkspaceStatus struct {
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Revision is the commit that last changed this Workspace, as
	// branch@sha1:commit.
	Revision string `json:"revision,omitempty"`
	// Conditions say how far the Workspace is; see the Condition constants.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Instance is the instance type that was obtained.
	Instance string `json:"instance,omitempty"`
	// NodePool is the GPUNodePool the Workspace runs on.
	NodePool string `json:"nodePool,omitempty"`
	// Sizing is the verdict before anything was paid.
	Sizing *SizingStatus `json:"sizing,omitempty"`
	// Resolved is what the Workspace was resolved to. It is kept until its own
	// spec or an input changes, so that an upgrade of Espalier moves nothing.
	Resolved *Resolved `json:"resolved,omitempty"`
	// Inference is how to reach a served model.
	Inference *InferenceStatus `json:"inference,omitempty"`
	// Tuning is the state of a tuning run.
	Tuning *TuningStatus `json:"tuning,omitempty"`
	// Spending is the money of the tuning run; nil where none was spent.
	Spending *SpendingStatus `json:"spending,omitempty"`
	// Start follows work that does not start on the nodes it has; nil while
	// nothing is wrong.
	Start *StartStatus `json:"start,omitempty"`
}

// SpendingStatus is what a tuning run has spent. It changes when the hourly price
// does: what is spent now is spentUSD, and usdPerHour for the time since at.
type SpendingStatus struct {
	// Run is the name of the Job that the money was spent for.
	Run string `json:"run"`
	// SpentUSD in US dollars up to At, by list prices.
	SpentUSD string `json:"spentUSD,omitempty"`
	// At is up to when SpentUSD counts.
	At metav1.Time `json:"at"`
	// USDPerHour is what is spent since then, in US dollars; empty: nothing.
	USDPerHour string `json:"usdPerHour,omitempty"`
}

// StartStatus follows work that does not start on nodes that are paid for.
type StartStatus struct {
	// FailingSince is when the nodes were first seen to wait for it.
	FailingSince metav1.Time `json:"failingSince"`
	// Message says what is in the way, as far as the pods tell.
	Message string `json:"message,omitempty"`
	// Inputs identifies the spec and the inputs that were tried.
	Inputs string `json:"inputs,omitempty"`
	// UID of the Job, Deployment or first StatefulSet; the annotation espalier.dev/retry names it.
	UID string `json:"uid,omitempty"`
	// StoppedAt is when the controller's limit was reached: the work is removed
	// and the nodes are given back.
	StoppedAt *metav1.Time `json:"stoppedAt,omitempty"`
}

// Verdict says whether a task fits its GPUs.
type Verdict string

// Values of Verdict.
const (
	Fits    Verdict = "fits"    // with the stated margin
	Tight   Verdict = "tight"   // within the margin of the estimate
	No      Verdict = "no"      // it cannot work
	Unknown Verdict = "unknown" // the model's shape is not known
)

// SizingStatus is the verdict on a Workspace and its sum.
type SizingStatus struct {
	// Verdict is fits, tight, no or unknown.
	Verdict Verdict `json:"verdict"`
	// Message shows the sum in one line.
	Message string `json:"message,omitempty"`
	// InstanceType is the one that was judged.
	InstanceType string `json:"instanceType,omitempty"`
	// Nodes is the number of nodes needed; of a service that scales by itself, for
	// the copies that are wanted now.
	Nodes int32 `json:"nodes,omitempty"`
	// USDPerHour is the list price of those nodes while they run; 0 for nodes that exist.
	USDPerHour string `json:"usdPerHour,omitempty"`
	// MaxNodes is the number of nodes for the most copies of a service that scales
	// by itself.
	MaxNodes int32 `json:"maxNodes,omitempty"`
	// MaxUSDPerHour is the list price of those.
	MaxUSDPerHour string `json:"maxUSDPerHour,omitempty"`
	// PriceDate is the day the list price was read.
	PriceDate string `json:"priceDate,omitempty"`
}

// Resolved is what the names in a spec stood for when they were resolved.
type Resolved struct {
	// Digest is the digest of the spec and the inputs that this was resolved for.
	Digest string `json:"digest"`
	// Generation of the Workspace that was last rendered from this. What was
	// rendered once is left alone even where a newer catalogue would refuse it.
	Generation int64 `json:"generation,omitempty"`
	// Runtime is what runs the task: vllm, axolotl, kaito or kaito-transformers.
	Runtime string `json:"runtime"`
	// Version of the runtime.
	Version string `json:"version"`
	// Image is the runtime's image by digest.
	Image string `json:"image"`
	// Driver that Git says the nodes have, which the image was chosen for; empty: it says
	// none.
	Driver string `json:"driver,omitempty"`
	// HelperImage is the image of Espalier that pods over several nodes take a
	// program from.
	HelperImage string `json:"helperImage,omitempty"`
	// ModelRevision is the commit of the model repository; empty where the
	// catalogue knows none and the spec pins none.
	ModelRevision string `json:"modelRevision,omitempty"`
	// Preset is the repository id of the model.
	Preset string `json:"preset"`
	// InstanceType that the pods were rendered for. A later release with other
	// estimates leaves it, and the two numbers below, while spec.resource is the same.
	InstanceType string `json:"instanceType,omitempty"`
	// GPUsPerPod is how many GPUs a pod takes.
	GPUsPerPod int32 `json:"gpusPerPod,omitempty"`
	// NodesPerCopy is how many nodes a copy of the model takes.
	NodesPerCopy int32 `json:"nodesPerCopy,omitempty"`
	// Resource is the digest of the spec.resource that these are for.
	Resource string `json:"resource,omitempty"`
}

// InferenceStatus is how to reach a served model.
type InferenceStatus struct {
	// Endpoint is the URL of the service within the cluster.
	Endpoint string `json:"endpoint,omitempty"`
	// Models are the names that requests may use: the model and its adapters.
	Models []string `json:"models,omitempty"`
}
