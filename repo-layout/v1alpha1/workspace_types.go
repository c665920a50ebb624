// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Workspace is one model task, serving or tuning, with its GPU need: the unit
// a user writes, reviews and reads back.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ews,categories={all,espalier}
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="Instance",type=string,JSONPath=`.status.instance`
// +kubebuilder:printcolumn:name="ResourceReady",type=string,JSONPath=`.status.conditions[?(@.type=="ResourceReady")].status`
// +kubebuilder:printcolumn:name="InferenceReady",type=string,JSONPath=`.status.conditions[?(@.type=="InferenceReady")].status`
// +kubebuilder:printcolumn:name="JobStarted",type=string,JSONPath=`.status.conditions[?(@.type=="JobStarted")].status`,priority=1
// +kubebuilder:printcolumn:name="Tuned",type=string,JSONPath=`.status.conditions[?(@.type=="TuningSucceeded")].status`,priority=1
// +kubebuilder:printcolumn:name="WorkspaceReady",type=string,JSONPath=`.status.conditions[?(@.type=="WorkspaceReady")].status`
// +kubebuilder:printcolumn:name="Progress",type=integer,JSONPath=`.status.tuning.progress.percent`,priority=1
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.status.sizing.usdPerHour`,priority=1
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 48",message="metadata.name: at most 48 lower-case letters, digits and dashes, because Service and Job names are made from it"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.inference) || !has(self.spec.inference.route) || !has(self.spec.inference.route.inferencePool) || self.spec.inference.route.inferencePool.endpointPickerRef.name != self.metadata.name",message="spec.inference.route.inferencePool.endpointPickerRef.name is the Service of the model itself, which picks nothing: name that of the endpoint picker"
type Workspace struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec WorkspaceSpec `json:"spec"`
	// +kubebuilder:default={observedGeneration:-1}
	Status WorkspaceStatus `json:"status,omitempty"`
}

// WorkspaceList is a list of Workspaces.
//
// +kubebuilder:object:root=true
type WorkspaceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Workspace `json:"items"`
}

// WorkspaceSpec is what Git says of a Workspace.
//
// +kubebuilder:validation:XValidation:rule="has(self.inference) != has(self.tuning)",message="exactly one of spec.inference and spec.tuning is required: a Workspace either serves a model or tunes one"
// +kubebuilder:validation:XValidation:rule="!has(self.queue) || has(self.tuning)",message="queue is for tuning runs: a service is not queued"
// +kubebuilder:validation:XValidation:rule="!(has(self.resource.gpus) || has(self.resource.mig)) || (has(self.inference) && !has(self.inference.template))",message="resource.gpus and resource.mig are of a served model: a tuning run takes whole nodes, and a pod of your own says itself what it takes"
// +kubebuilder:validation:XValidation:rule="!has(self.budget) || !has(self.budget.maxUSD) || has(self.tuning)",message="budget.maxUSD is for tuning runs, which end: bound a service by budget.maxUSDPerHour"
// +kubebuilder:validation:XValidation:rule="!has(self.inference) || !has(self.inference.adapters) || (has(self.runtime) && has(self.runtime.name) && self.runtime.name == 'kaito-transformers') || !self.inference.adapters.exists(a, has(a.strength))",message="strength is of runtime kaito-transformers: vLLM applies an adapter in full"
// +kubebuilder:validation:XValidation:rule="!has(self.runtime) || !has(self.runtime.name) || self.runtime.name != 'kaito-transformers' || !has(self.inference) || !(has(self.inference.config) || has(self.inference.weights) || has(self.inference.autoscale) || has(self.inference.performanceMode) || has(self.inference.template) || has(self.inference.model))",message="runtime kaito-transformers serves a preset, and has no config, weights, autoscale and performanceMode, which are vLLM's: remove them, or the runtime"
// +kubebuilder:validation:XValidation:rule="!has(self.tuning) || !has(self.tuning.output.image) || has(self.tuning.output.pushSecret) || has(self.serviceAccountName)",message="output.image needs output.pushSecret, a Secret of type kubernetes.io/dockerconfigjson that may push there, or for a registry of a cloud spec.serviceAccountName"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || (has(self.tuning) && (has(self.tuning.output.image) && !has(self.tuning.output.pushSecret) || has(self.tuning.input.image) && !has(self.tuning.input.pullSecrets))) || (has(self.inference) && has(self.inference.adapters) && self.inference.adapters.exists(a, has(a.image) && !has(a.pullSecrets)))",message="serviceAccountName signs in to registries of images without a Secret, and there is none: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || !has(self.tuning) || !has(self.tuning.output.image) || has(self.tuning.output.pushSecret) || self.tuning.output.image.matches('^([a-z0-9]{5,50}(-[a-z0-9]+)?[.]azurecr[.](io|cn|us)|[0-9]{12}[.]dkr[.]ecr(-fips)?[.][a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}[.]amazonaws[.]com([.]cn)?|[a-z0-9-]+-docker[.]pkg[.]dev|((us|eu|asia)[.])?gcr[.]io)/')",message="no identity signs in to the registry of output.image, which is none of Azure's, Amazon's or Google's own: name output.pushSecret"
// +kubebuilder:validation:XValidation:rule="!has(self.serviceAccountName) || !has(self.inference) || !has(self.inference.weights) || !has(self.inference.weights.serviceAccountName) || self.inference.weights.serviceAccountName == self.serviceAccountName",message="a pod has one account: serviceAccountName and inference.weights.serviceAccountName must be the same"
// +kubebuilder:validation:XValidation:rule="!has(self.runtime) || !has(self.runtime.name) || self.runtime.name != 'kaito-transformers' || !has(self.inference) || !has(self.inference.route) || !has(self.inference.route.inferencePool)",message="inference.route.inferencePool is for endpoint pickers, which read vLLM's metrics, and runtime kaito-transformers has none: remove it, or the runtime"
// +kubebuilder:validation:XValidation:rule="!has(self.tuning) || !has(self.runtime) || !has(self.runtime.name) || self.runtime.name != 'kaito' || !(has(self.tuning.evaluation) || has(self.tuning.input.format) || (has(self.resource.count) && self.resource.count > 1))",message="runtime kaito tunes on one node, measures nothing and takes columns from its configuration: remove count, evaluation and format, or write axolotl"
// +kubebuilder:validation:XValidation:rule="has(self.inference) == has(oldSelf.inference)",message="a Workspace cannot turn from inference into tuning or back: give the new task a Workspace of its own"
type WorkspaceSpec struct {
	// Resource says which GPU nodes the task runs on.
	Resource ResourceSpec `json:"resource"`
	// Inference serves a model.
	Inference *InferenceSpec `json:"inference,omitempty"`
	// Tuning trains a LoRA adapter for a model.
	Tuning *TuningSpec `json:"tuning,omitempty"`
	// Runtime pins the software that runs the task. Empty: as resolved at first render.
	Runtime *RuntimeSpec `json:"runtime,omitempty"`
	// Budget refuses what would cost more.
	Budget *Budget `json:"budget,omitempty"`
	// Queue names a LocalQueue of Kueue, of the same namespace, that a tuning run
	// waits in: no node is bought before Kueue admits it, and the nodes are given
	// back when it takes the run out again. Another queue makes no other run.
	// +kubebuilder:validation:MaxLength=63
	Queue string `json:"queue,omitempty"`
	// ServiceAccountName is the ServiceAccount of the namespace whose workload identity
	// signs in to registries of Azure, Amazon and Google, for images that no Secret is
	// named for: to push tuning.output.image, and to copy training data and adapters
	// where nodes mount no images (runtime.imageVolumes). The pods run as it; its token
	// for the cluster is not mounted. The controller must allow the name
	// (--registry-service-account).
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Patches are Kustomize patches over the rendered children. They may not
	// change identity (apiVersion, kind, name, namespace, owner references, our
	// labels), add objects, or ask for host access.
	// +kubebuilder:validation:MaxItems=16
	Patches []Patch `json:"patches,omitempty"`
	// Suspend stops the work and the spending: pods are removed and the node
	// pool is released. What is published stays.
	Suspend bool `json:"suspend,omitempty"`
}

// ResourceSpec is the GPU need of a Workspace.
//
// +kubebuilder:validation:XValidation:rule="[has(self.instanceType), has(self.candidates), has(self.nodePool)].filter(x, x).size() == 1",message="exactly one of instanceType, candidates and nodePool is required"
// +kubebuilder:validation:XValidation:rule="!has(self.provider) || !has(self.nodePool)",message="provider is for nodes of the Workspace's own: a shared pool has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.mig) || (has(self.provider) && self.provider == 'existing')",message="mig is for nodes that exist, with provider existing: slices of nodes that are bought belong to a GPUNodePool (aks.mig)"
// +kubebuilder:validation:XValidation:rule="!has(self.mig) || !has(self.gpus)",message="no two slices work on one model: remove gpus, or mig"
// +kubebuilder:validation:XValidation:rule="!has(self.driver) || (!has(self.nodePool) && (!has(self.provider) || self.provider == 'existing'))",message="driver is for nodes that exist: a cloud installs that of the nodes that it makes, and a shared pool says its own"
// +kubebuilder:validation:XValidation:rule="!has(self.provider) || self.provider != 'existing' || (has(self.labelSelector) && has(self.labelSelector.matchLabels) && self.labelSelector.matchLabels.size() > 0)",message="provider existing takes the nodes that labelSelector.matchLabels selects: name at least one label"
type ResourceSpec struct {
	// InstanceType is the instance type to provision, on demand: shorthand for
	// a single candidate.
	// +kubebuilder:validation:MinLength=1
	InstanceType string `json:"instanceType,omitempty"`
	// Candidates lists instance types in order of preference; the first that
	// fits the model and can be had wins.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Candidates []Candidate `json:"candidates,omitempty"`
	// Count is the number of nodes. 0 or absent: computed by the memory fit, and 1
	// for tuning. A tuning run with more trains on all of them together, each GPU
	// with the whole model.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Count int32 `json:"count,omitempty"`
	// GPUs is how many whole GPUs of a node each copy of a served model is spread
	// over. 0 or absent: as few as it fits.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	GPUs int32 `json:"gpus,omitempty"`
	// MIG is the slice of a GPU that each copy of a served model has on nodes that
	// exist: 2g.24gb where they offer nvidia.com/mig-2g.24gb, MIG2g where every slice is
	// an nvidia.com/gpu.
	// +kubebuilder:validation:Pattern=`^(MIG[1-7]g|[1-7]g\.[1-9][0-9]{0,2}gb)$`
	MIG string `json:"mig,omitempty"`
	// Driver is the oldest NVIDIA driver of nodes that exist, as a branch (580) or a
	// version (580.95.05): the image of the runtime is chosen by it, and in the cluster a
	// node with an older one is not used. Empty: nobody knows it.
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{2}(\.[0-9]{1,3}){0,2}$`
	Driver string `json:"driver,omitempty"`
	// LabelSelector's matchLabels become labels of the provisioned nodes, and
	// select the nodes the pods run on.
	LabelSelector *metav1.LabelSelector `json:"labelSelector,omitempty"`
	// NodePool names a GPUNodePool of the same namespace to share instead of
	// provisioning one for this Workspace.
	NodePool string `json:"nodePool,omitempty"`
	// Provider is where the nodes of the Workspace come from: aks, karpenter or
	// existing, which takes the nodes that labelSelector selects. Empty: the
	// controller's (--provider). Nodes that are there stay with the provider that
	// they come from: another one makes those that are asked for next.
	Provider Provider `json:"provider,omitempty"`
}

// Priority is how an instance is bought.
//
// +kubebuilder:validation:Enum=OnDemand;Spot
type Priority string

// Values of Priority.
const (
	OnDemand Priority = "OnDemand"
	Spot     Priority = "Spot"
)

// Candidate is one way to get the GPU nodes.
type Candidate struct {
	// InstanceType is the cloud's name of the machine size, for example
	// Standard_NC24ads_A100_v4.
	// +kubebuilder:validation:MinLength=1
	InstanceType string `json:"instanceType"`
	// Priority is OnDemand or Spot.
	// +kubebuilder:default=OnDemand
	Priority Priority `json:"priority,omitempty"`
	// Zones restricts the availability zones.
	Zones []string `json:"zones,omitempty"`
}

// ModelRef names the model of a task: one of the catalogue, or one that a lock
// file describes.
type ModelRef struct {
	// Preset is a short name (phi-4-mini-instruct) or repository id
	// (microsoft/Phi-4-mini-instruct) of the catalogue; `espalier presets` lists them.
	// +kubebuilder:validation:MinLength=1
	Preset string `json:"preset,omitempty"`
	// Model is a model outside the catalogue, described by a lock file.
	Model *LockedModel `json:"model,omitempty"`
	// Revision pins the commit of the model repository. Empty: the catalogue's,
	// or the lock file's.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	Revision string `json:"revision,omitempty"`
	// AccessSecret names a Secret of the namespace whose key HF_TOKEN is used
	// to download the weights.
	AccessSecret string `json:"accessSecret,omitempty"`
}

// LockedModel is a model whose shape and size Git holds in a lock file, so that
// nothing asks a model hub before a node is paid for.
type LockedModel struct {
	// ID is the id of the model's repository, owner/name: what is downloaded.
	// The lock file must be of the same model.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`
	// +kubebuilder:validation:MaxLength=96
	ID string `json:"id"`
	// Lock names a ConfigMap of the namespace whose key model.lock.yaml holds
	// the lock file as `espalier presets lock` writes it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Lock string `json:"lock"`
}

// ImageVolumes is whether image volumes are used: Enabled, or Disabled. Empty is
// Enabled.
type ImageVolumes string

// Values of ImageVolumes.
const (
	ImageVolumesEnabled  ImageVolumes = "Enabled"
	ImageVolumesDisabled ImageVolumes = "Disabled"
)

// RuntimeSpec pins the software that runs a task.
//
// +kubebuilder:validation:XValidation:rule="has(self.image) == has(self.cuda)",message="image and cuda belong together: which drivers run an image follows from the CUDA that it was built with"
// +kubebuilder:validation:XValidation:rule="!has(self.image) || has(self.version)",message="image needs version: what it is started with is written for one version"
// +kubebuilder:validation:XValidation:rule="!has(self.name) || !self.name.startsWith('kaito') || has(self.image)",message="no digest of KAITO's base image is known: name it in image"
type RuntimeSpec struct {
	// Name is vllm (serves), axolotl (tunes), or, of KAITO's base image, which image
	// or spec.defaults.kaitoImage of the RepoSync names then: kaito, which serves with
	// the vLLM in it and tunes with KAITO's trainer, and kaito-transformers, which serves
	// with its transformers engine.
	// +kubebuilder:validation:Enum=vllm;axolotl;kaito;kaito-transformers
	Name string `json:"name,omitempty"`
	// Version is one of the runtime's known versions; `espalier presets` lists
	// them. Empty: the one that was resolved first, so that an upgrade of
	// Espalier moves nothing.
	Version string `json:"version,omitempty"`
	// Mirror is a registry, with a path where it has one, that the image is pulled
	// from instead of its own: registry.example.com/mirror. The image keeps its
	// repository and its digest, so that what runs is the same. A service rolls
	// when it changes; a tuning run that was begun is left alone, and one that is
	// done is not repeated.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`
	Mirror string `json:"mirror,omitempty"`
	// Image runs in the place of the one that Espalier pins for this version, by
	// digest: the same version from a registry of your own, or built with another
	// CUDA.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^\s@]+@sha256:[0-9a-f]{64}$`
	Image string `json:"image,omitempty"`
	// ImageVolumes says how pods come to what images of adapters and of training data
	// hold. Enabled: the kubelet mounts the image, as Kubernetes does from 1.35 on.
	// Disabled: an init container copies it to the disk of the node first.
	// +kubebuilder:validation:Enum=Enabled;Disabled
	ImageVolumes ImageVolumes `json:"imageVolumes,omitempty"`
	// CUDA is the version that the image was built with, such as 12.9.
	// +kubebuilder:validation:Pattern=`^1[23]\.[0-9]$`
	CUDA string `json:"cuda,omitempty"`
}

// Budget refuses what would cost more.
type Budget struct {
	// MaxUSDPerHour bounds the list price of the Workspace's own nodes. It is not for those
	// of a shared pool, whose own number of nodes bounds what they cost.
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]{1,4})?$`
	MaxUSDPerHour string `json:"maxUSDPerHour,omitempty"`
	// MaxUSD bounds what a tuning run may cost in all, over all of its pods: the list
	// price of its nodes for as long as they are there, of a shared pool the share of
	// the GPUs that the run holds. When it is spent the run is stopped after a
	// checkpoint and its nodes are given back; a larger amount lets it go on. Other
	// inputs are another run, whose money is counted anew.
	// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]{1,4})?$`
	MaxUSD string `json:"maxUSD,omitempty"`
}

// Patch is a Kustomize patch over the rendered children.
type Patch struct {
	// Patch is a strategic merge patch or a JSON 6902 patch, as YAML.
	// +kubebuilder:validation:MinLength=1
	Patch string `json:"patch"`
	// Target selects the children the patch applies to; required for JSON 6902.
	Target *PatchTarget `json:"target,omitempty"`
}

// PatchTarget selects rendered children.
type PatchTarget struct {
	// Kind of the child, for example Deployment.
	Kind string `json:"kind,omitempty"`
	// Name of the child, a regular expression.
	Name string `json:"name,omitempty"`
}
