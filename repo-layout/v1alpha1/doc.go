// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 holds the API types of the espalier.dev group: Workspace,
// RepoSync and GPUNodePool. The file that a user commits is the API, so the
// types live with the contract of the repository.
//
// It decides nothing: defaults that the API server can set and rules that it
// can check are markers here; everything that needs a catalogue, a cluster or a
// clock lives elsewhere. It imports Kubernetes API types only.
//
// +kubebuilder:object:generate=true
// +groupName=espalier.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of every kind in this package.
const Group = "espalier.dev"

var (
	// GroupVersion is the group and version of the kinds in this package.
	GroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

	builder = runtime.NewSchemeBuilder(addKinds)

	// AddToScheme registers the kinds of this package.
	AddToScheme = builder.AddToScheme
)

func addKinds(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion,
		&Workspace{}, &WorkspaceList{},
		&RepoSync{}, &RepoSyncList{},
		&GPUNodePool{}, &GPUNodePoolList{},
	)
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}

// Kinds of the group.
const (
	WorkspaceKind   = "Workspace"
	RepoSyncKind    = "RepoSync"
	GPUNodePoolKind = "GPUNodePool"
)
