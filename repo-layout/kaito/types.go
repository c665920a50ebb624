// SPDX-License-Identifier: Apache-2.0

package kaito

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The types below are the kinds of kaito.sh as KAITO's own CRDs have them, both
// versions in one: what only one version has is sorted out by the converter.
// Field meanings: https://github.com/kaito-project/kaito, directory api.

// workspace has no spec: its three parts are at the top level.
type workspace struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Resource        resource          `json:"resource"`
	Inference       *inference        `json:"inference"`
	Tuning          *tuning           `json:"tuning"`
}

type resource struct {
	Count          *int                  `json:"count"`
	InstanceType   string                `json:"instanceType"`
	LabelSelector  *metav1.LabelSelector `json:"labelSelector"`
	PreferredNodes []string              `json:"preferredNodes"`
	Partition      map[string]any        `json:"partition"` // v1beta1
}

type preset struct {
	Name       string        `json:"name"`
	AccessMode string        `json:"accessMode"`
	Options    presetOptions `json:"presetOptions"`
}

type presetOptions struct {
	Image               string   `json:"image"`
	ImagePullSecrets    []string `json:"imagePullSecrets"`
	ModelAccessSecret   string   `json:"modelAccessSecret"` // v1beta1
	ModelWeightsPVC     string   `json:"modelWeightsPVC"`
	ModelWeightsSubPath string   `json:"modelWeightsSubPath"`
}

type inference struct {
	Preset   *preset        `json:"preset"`
	Template map[string]any `json:"template"` // a pod template, schemaless in the CRD
	Config   string         `json:"config"`
	Adapters []adapter      `json:"adapters"`
}

type adapter struct {
	Source   *dataSource `json:"source"`
	Strength *string     `json:"strength"`
}

type dataSource struct {
	Name             string               `json:"name"`
	URLs             []string             `json:"urls"`
	Volume           *corev1.VolumeSource `json:"volumeSource"`
	Image            string               `json:"image"`
	ImagePullSecrets []string             `json:"imagePullSecrets"`
}

type dataDestination struct {
	Volume          *corev1.VolumeSource `json:"volumeSource"`
	Image           string               `json:"image"`
	ImagePushSecret string               `json:"imagePushSecret"`
}

type tuning struct {
	Preset *preset          `json:"preset"`
	Method string           `json:"method"`
	Config string           `json:"config"`
	Input  *dataSource      `json:"input"`
	Output *dataDestination `json:"output"`
}

// inferenceSet makes replicas of a Workspace from a template.
type inferenceSet struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            inferenceSetSpec  `json:"spec"`
}

type inferenceSetSpec struct {
	Replicas       *int32                `json:"replicas"`
	NodeCountLimit int                   `json:"nodeCountLimit"`
	LabelSelector  *metav1.LabelSelector `json:"labelSelector"`
	UpdateStrategy map[string]any        `json:"updateStrategy"`
	AutoUpgrade    *autoUpgrade          `json:"autoUpgrade"` // v1beta1
	Template       setTemplate           `json:"template"`
}

type autoUpgrade struct {
	Enabled           bool   `json:"enabled"`
	Strategy          string `json:"strategy"`
	MaintenanceWindow *struct {
		Schedule string           `json:"schedule"`
		Duration *metav1.Duration `json:"duration"`
	} `json:"maintenanceWindow"`
}

type setTemplate struct {
	Metadata metav1.ObjectMeta `json:"metadata"`
	Resource struct {
		InstanceType string         `json:"instanceType"`
		Partition    map[string]any `json:"partition"` // v1beta1
	} `json:"resource"`
	Inference *inference `json:"inference"`
}
