// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Route publishes a service through Gateways of Gateway API, by an HTTPRoute of
// the name of the Workspace. Who may attach routes to a Gateway, and for which
// hostnames, is said by the Gateway (allowedRoutes of its listeners) and by
// nothing here.
type Route struct {
	// ParentRefs are the Gateways that the service is reached through.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	ParentRefs []RouteParent `json:"parentRefs"`
	// Hostnames that requests are for, such as chat.example.com or *.example.com.
	// None: every one that a listener of the Gateway has.
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Hostnames []string `json:"hostnames,omitempty"`
	// Path is the beginning of the paths that are for this service, such as
	// /phi-4-mini: it is taken away before the request reaches the pods, so that
	// /phi-4-mini/v1/models asks for /v1/models. Absent: every path is.
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^/[-A-Za-z0-9._~]+(/[-A-Za-z0-9._~]+)*$`
	Path string `json:"path,omitempty"`
}

// RouteParent names a Gateway.
type RouteParent struct {
	// Name of the Gateway.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Namespace of the Gateway. Absent: that of the Workspace.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
	// SectionName is one listener of the Gateway. Absent: each that allows it.
	// +kubebuilder:validation:MaxLength=253
	SectionName string `json:"sectionName,omitempty"`
}
