// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime"
)

// InferenceSpec serves a model over HTTP: with an OpenAI-compatible API by vLLM, or
// with a pod of the user's own.
//
// +kubebuilder:validation:XValidation:rule="[has(self.preset), has(self.model), has(self.template)].filter(x, x).size() == 1",message="exactly one of preset, model and template is required"
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || !(has(self.cache) || has(self.revision) || has(self.accessSecret))",message="cache, revision and accessSecret are about a download, and nothing is downloaded beside weights: remove them"
// +kubebuilder:validation:XValidation:rule="!has(self.weights) || !has(self.trustRemoteCode) || !self.trustRemoteCode",message="trustRemoteCode runs code of a pinned commit, and what lies at weights is pinned by nothing: remove one of them"
// +kubebuilder:validation:XValidation:rule="!has(self.autoscale) || !has(self.replicas) || self.replicas == 1",message="autoscale decides the number of copies: remove replicas, or autoscale"
type InferenceSpec struct {
	ModelRef `json:",inline"`
	// Template is the template of a pod of the user's own, in the place of a model
	// that vLLM serves: whether it fits its GPUs is not known then. Its fields are
	// those of a PodTemplateSpec of Kubernetes.
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Template *runtime.RawExtension `json:"template,omitempty"`
	// Config names a ConfigMap whose key inference_config.yaml holds vLLM
	// engine arguments under the key vllm.
	Config string `json:"config,omitempty"`
	// Adapters are LoRA adapters served beside the model.
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Adapters []Adapter `json:"adapters,omitempty"`
	// Replicas is the number of copies, each on GPUs of its own.
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`
	// Autoscale lets the number of copies follow the load, in the place of
	// replicas; the nodes follow the copies.
	Autoscale *Autoscale `json:"autoscale,omitempty"`
	// ContextLength is the longest request in tokens, prompt and answer
	// together. 0 or absent: the longest that fits, at most the model's own.
	// +kubebuilder:validation:Minimum=0
	ContextLength int32 `json:"contextLength,omitempty"`
	// TrustRemoteCode lets Python code of the model repository run in the pod,
	// where the model's architecture is no part of vLLM. It needs a pinned
	// revision, so that what was reviewed is what runs.
	TrustRemoteCode bool `json:"trustRemoteCode,omitempty"`
	// Cache keeps the downloaded weights on a volume. Absent: on the disk of the
	// node, for as long as the pod lives.
	Cache *WeightCache `json:"cache,omitempty"`
	// Weights says where the weights are, where that is not the repository that the
	// model is named after. Absent: they are downloaded from it.
	Weights *Weights `json:"weights,omitempty"`
	// PerformanceMode is vLLM's own setting of that name, which balances the number
	// of requests against the time of each. Empty: vLLM's default.
	PerformanceMode PerformanceMode `json:"performanceMode,omitempty"`
	// Route publishes the service through a Gateway of Gateway API. Absent: it is
	// reached within the cluster.
	Route *Route `json:"route,omitempty"`
}

// WeightCache is where the weights of a model are kept.
//
// +kubebuilder:validation:XValidation:rule="has(self.claim) != has(self.size)",message="a cache is a claim, or a volume of its own for each pod: exactly one of claim and size is required"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || has(self.claim)",message="path is a folder of a claim: the volume of each pod has none"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || self.path == '.' || !self.path.split('/').exists(s, s == '..' || s == '.')",message="path stays within the claim: no . or .. in it"
// +kubebuilder:validation:XValidation:rule="!has(self.storageClass) || has(self.size)",message="storageClass is of the volume of each pod, which has a size: a claim has a class of its own"
type WeightCache struct {
	// Claim names a PersistentVolumeClaim of the namespace. Pods find there what
	// an earlier one has downloaded; pods on several nodes need a claim that can
	// be written from all of them (ReadWriteMany).
	Claim string `json:"claim,omitempty"`
	// Path is the folder of the claim that holds models as `hf download --cache-dir`
	// and vLLM's --download-dir write them, models--OWNER--NAME; . is its root. What
	// is missing there is downloaded into it. Empty: hub.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`
	Path string `json:"path,omitempty"`
	// StorageClass of the volume of each pod, of a disk of the node that is faster
	// or larger than the kubelet's, for example. Empty: spec.defaults.storageClass of
	// the RepoSync, else the cluster's default.
	StorageClass string `json:"storageClass,omitempty"`
	// Size gives each pod a volume of its own, which goes with it, with room for the
	// weights.
	// +kubebuilder:validation:Pattern=`^[0-9]+(Gi|Ti)$`
	Size string `json:"size,omitempty"`
}

// Adapter is a LoRA adapter served beside the base model: adapter_config.json and
// adapter_model.safetensors from an image, a claim or a list of addresses.
//
// +kubebuilder:validation:XValidation:rule="[has(self.image), has(self.claim), has(self.urls)].filter(x, x).size() == 1",message="exactly one of image, claim and urls is required"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !has(self.urls)",message="path is a folder of the image or the claim: remove path"
// +kubebuilder:validation:XValidation:rule="!has(self.pullSecrets) || has(self.image)",message="pullSecrets are for the registry of image"
type Adapter struct {
	// Name is the model name that requests use. With runtime kaito-transformers all
	// adapters are merged into the model, and requests name that.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// Image is the OCI image that holds adapter_config.json and
	// adapter_model.safetensors, by digest where Git should say what runs.
	// +kubebuilder:validation:MinLength=1
	Image string `json:"image,omitempty"`
	// PullSecrets are Secrets of the namespace for the image's registry.
	PullSecrets []string `json:"pullSecrets,omitempty"`
	// Claim names a PersistentVolumeClaim of the namespace that holds the adapter. It
	// is mounted for reading; pods on several nodes need one that can be mounted from
	// all of them (ReadOnlyMany or ReadWriteMany). What is on it is no part of what
	// Git says: a pod reads it when it starts.
	Claim string `json:"claim,omitempty"`
	// Path is the folder of the image or the claim that holds the adapter. Empty: its
	// root. An image that KAITO has pushed holds it in data.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`
	Path string `json:"path,omitempty"`
	// URLs are the files of the adapter, downloaded over HTTP(S) before the model
	// starts; #sha256= and 64 hex digits at the end demand the content of the file.
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=2048
	URLs []string `json:"urls,omitempty"`
	// Strength is the weight, 0 to 1 in quotes, that the adapter has among those that
	// runtime kaito-transformers merges into the model. Absent: 1.
	// +kubebuilder:validation:Pattern=`^(0(\.[0-9]{1,6})?|1(\.0{1,6})?)$`
	Strength string `json:"strength,omitempty"`
}
