// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The types below are the kinds of kaito.sh as KAITO's own CRDs have them, both
// versions in one: what only v1beta1 has is marked since. Their comments are the
// descriptions of the JSON schemas in repo-layout/schema.
// Field meanings: https://github.com/kaito-project/kaito, directory api.

// Workspace serves or tunes one model. It has no spec: its parts are at the top
// level.
type Workspace struct {
	metav1.TypeMeta `json:",inline"`
	// Metadata: name, namespace, labels and annotations.
	Metadata metav1.ObjectMeta `json:"metadata" jsonschema:"required"`
	// Resource is the GPU need.
	Resource Resource `json:"resource" jsonschema:"required"`
	// Inference serves a model. Exactly one of inference and tuning.
	Inference *Inference `json:"inference"`
	// Tuning trains an adapter. Exactly one of inference and tuning.
	Tuning *Tuning `json:"tuning"`
}

// Resource is the GPU need of a Workspace.
type Resource struct {
	// Count is the number of nodes. KAITO computes it for inference with vLLM, as
	// Espalier does; tuning runs on one.
	Count *int `json:"count" jsonschema:"minimum=1"`
	// InstanceType is the instance type to provision, for example
	// Standard_NC24ads_A100_v4, which v1alpha1 has as its default. v1beta1 names none
	// where the nodes exist.
	InstanceType string `json:"instanceType"`
	// LabelSelector's matchLabels become labels of the nodes.
	LabelSelector *metav1.LabelSelector `json:"labelSelector"`
	// PreferredNodes is never read, by KAITO or by Espalier.
	PreferredNodes []string `json:"preferredNodes" jsonschema_extras:"deprecated=true"`
	// Partition asks for a part of the GPUs of nodes that exist.
	Partition *Partition `json:"partition" since:"v1beta1"`
}

// Partition is a part of the GPUs of nodes that exist: a MIG slice, or some of the whole
// GPUs of a node.
type Partition struct {
	// Mode is mig or accelerator.
	Mode string `json:"mode" jsonschema:"required,enum=mig,enum=accelerator"`
	// Profile of the slice, of mode mig: 2g.24gb.
	Profile string `json:"profile"`
	// Count of whole GPUs, of mode accelerator.
	Count *int `json:"count" jsonschema:"minimum=1"`
}

// Preset names a model.
type Preset struct {
	// Name is a short name or repository id of a model; espalier presets lists
	// them.
	Name string `json:"name" jsonschema:"required,minLength=1"`
	// AccessMode is never read, by KAITO or by Espalier.
	AccessMode string `json:"accessMode" jsonschema:"enum=public,enum=private" jsonschema_extras:"deprecated=true"`
	// Options of the preset.
	Options PresetOptions `json:"presetOptions"`
}

// PresetOptions are the options of a preset.
type PresetOptions struct {
	// Image is never read, by KAITO or by Espalier.
	Image string `json:"image" jsonschema_extras:"deprecated=true"`
	// ImagePullSecrets are never read, by KAITO or by Espalier.
	ImagePullSecrets []string `json:"imagePullSecrets" jsonschema_extras:"deprecated=true"`
	// ModelAccessSecret names a Secret whose key HF_TOKEN is used to download
	// the weights.
	ModelAccessSecret string `json:"modelAccessSecret" since:"v1beta1"`
	// ModelWeightsPVC is the claim that weights are downloaded into, and found in by
	// the next pod; it may be filled before.
	ModelWeightsPVC string `json:"modelWeightsPVC"`
	// ModelWeightsSubPath is the folder within the claim of the weights.
	ModelWeightsSubPath string `json:"modelWeightsSubPath"`
}

// Inference serves a model.
type Inference struct {
	// Preset names the model.
	Preset *Preset `json:"preset"`
	// Template is a pod template in the place of a preset: a pod of your own.
	Template map[string]any `json:"template"`
	// Config names a ConfigMap whose key inference_config.yaml holds vLLM engine
	// arguments under the key vllm.
	Config string `json:"config"`
	// Adapters are LoRA adapters served beside the model.
	Adapters []Adapter `json:"adapters" jsonschema:"maxItems=32"`
}

// Adapter is a LoRA adapter.
type Adapter struct {
	// Source is where the adapter comes from: source.name, and source.image or
	// source.volumeSource.
	Source *DataSource `json:"source" jsonschema:"required"`
	// Strength is a weight, 0 to 1, for KAITO's transformers engine; vLLM has none.
	Strength *string `json:"strength"`
}

// DataSource is where data or an adapter comes from: one of urls, volumeSource
// and image.
type DataSource struct {
	// Name of an adapter, which requests use as the model.
	Name string `json:"name"`
	// URLs are downloaded over HTTP(S). KAITO accepts those of an adapter and
	// downloads none; Espalier does.
	URLs []string `json:"urls" jsonschema:"minItems=1,maxItems=64"`
	// Volume with the data or the adapter: Espalier takes a persistentVolumeClaim
	// and an image, and for data a configMap, a secret and a projected volume of
	// those.
	Volume *corev1.VolumeSource `json:"volumeSource"`
	// Image holds the data or the adapter.
	Image string `json:"image"`
	// ImagePullSecrets are Secrets of the namespace for the image's registry.
	ImagePullSecrets []string `json:"imagePullSecrets"`
}

// DataDestination is where a trained adapter goes: volumeSource, or image with
// imagePushSecret.
type DataDestination struct {
	// Volume that the adapter is written to; Espalier takes a
	// persistentVolumeClaim.
	Volume *corev1.VolumeSource `json:"volumeSource"`
	// Image that the adapter is pushed as.
	Image string `json:"image"`
	// ImagePushSecret is a Secret of type kubernetes.io/dockerconfigjson.
	ImagePushSecret string `json:"imagePushSecret"`
}

// Tuning trains a LoRA adapter.
type Tuning struct {
	// Preset names the model.
	Preset *Preset `json:"preset" jsonschema:"required"`
	// Method is qlora or lora.
	Method string `json:"method" jsonschema:"required,enum=qlora,enum=lora"`
	// Config names a ConfigMap whose key training_config.yaml holds the training
	// configuration.
	Config string `json:"config"`
	// Input is the training data.
	Input *DataSource `json:"input" jsonschema:"required"`
	// Output is where the adapter goes.
	Output *DataDestination `json:"output" jsonschema:"required"`
}

// InferenceSet makes replicas of a Workspace from a template.
type InferenceSet struct {
	metav1.TypeMeta `json:",inline"`
	// Metadata: name, namespace, labels and annotations.
	Metadata metav1.ObjectMeta `json:"metadata" jsonschema:"required"`
	// Spec says what is served.
	Spec InferenceSetSpec `json:"spec" jsonschema:"required"`
}

// InferenceSetSpec says what an InferenceSet serves.
type InferenceSetSpec struct {
	// Replicas is the number of copies; 1 when absent.
	Replicas *int32 `json:"replicas" jsonschema:"minimum=0,maximum=1000"`
	// NodeCountLimit is never read, by KAITO or by Espalier.
	NodeCountLimit int `json:"nodeCountLimit" jsonschema_extras:"deprecated=true"`
	// LabelSelector's matchLabels become labels of the nodes.
	LabelSelector *metav1.LabelSelector `json:"labelSelector"`
	// UpdateStrategy is never read, by KAITO or by Espalier.
	UpdateStrategy map[string]any `json:"updateStrategy" jsonschema_extras:"deprecated=true"`
	// AutoUpgrade is without effect in Espalier: an upgrade of it moves no
	// running model.
	AutoUpgrade *AutoUpgrade `json:"autoUpgrade" since:"v1beta1"`
	// Template is the Workspace that is copied.
	Template SetTemplate `json:"template" jsonschema:"required"`
}

// AutoUpgrade moves the Workspaces of a set to a newer base image.
type AutoUpgrade struct {
	// Enabled turns it on.
	Enabled bool `json:"enabled"`
	// Strategy is InPlace or Surge.
	Strategy string `json:"strategy" jsonschema:"enum=InPlace,enum=Surge"`
	// MaintenanceWindow bounds when.
	MaintenanceWindow *MaintenanceWindow `json:"maintenanceWindow"`
}

// MaintenanceWindow bounds when an upgrade happens.
type MaintenanceWindow struct {
	// Schedule is a cron expression in UTC.
	Schedule string `json:"schedule"`
	// Duration of the window; 4h when absent.
	Duration *metav1.Duration `json:"duration"`
}

// SetTemplate is the Workspace that an InferenceSet copies.
type SetTemplate struct {
	// Metadata: labels and annotations of the Workspaces.
	Metadata metav1.ObjectMeta `json:"metadata"`
	// Resource is the GPU need of a copy.
	Resource SetResource `json:"resource" jsonschema:"required"`
	// Inference serves a model.
	Inference *Inference `json:"inference" jsonschema:"required"`
}

// SetResource is the GPU need of a copy.
type SetResource struct {
	// InstanceType is the instance type to provision. Without one the nodes exist.
	InstanceType string `json:"instanceType"`
	// Partition asks for a part of the GPUs of nodes that exist.
	Partition *Partition `json:"partition" since:"v1beta1"`
}
