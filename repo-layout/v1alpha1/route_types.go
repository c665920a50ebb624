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
	// InferencePool lets an endpoint picker choose the copy that answers a request:
	// the HTTPRoute names an InferencePool of the name of the Workspace in the place
	// of the Service. Absent: the Gateway spreads requests over the copies, blindly.
	InferencePool *InferencePool `json:"inferencePool,omitempty"`
}

// InferencePool is the copies of a service as the Gateway API Inference Extension
// knows them.
type InferencePool struct {
	// EndpointPickerRef is the endpoint picker that Gateways ask about each request.
	EndpointPickerRef EndpointPickerRef `json:"endpointPickerRef"`
}

// EndpointPickerRef names the Service of an endpoint picker, in the namespace of the
// Workspace. Espalier does not run it.
type EndpointPickerRef struct {
	// Name of the Service.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
	// Port of the Service at which the picker talks gRPC to Gateways. 0 or absent: 9002.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// FailureMode is what Gateways do while the picker does not answer: FailOpen sends
	// the request to any copy, FailClose drops it. Absent: FailOpen, because each copy
	// can answer each request.
	FailureMode FailureMode `json:"failureMode,omitempty"`
}

// FailureMode of an endpoint picker.
//
// +kubebuilder:validation:Enum=FailOpen;FailClose
type FailureMode string

// Failure modes.
const (
	FailOpen  FailureMode = "FailOpen"
	FailClose FailureMode = "FailClose"
)

// PickerPort is the port of endpoint pickers that name none: that of the reference
// implementation and its chart.
const PickerPort = 9002

// At is the port, with the default.
func (p EndpointPickerRef) At() int32 {
	if p.Port == 0 {
		return PickerPort
	}
	return p.Port
}

// Fails is the failure mode, with the default.
func (p EndpointPickerRef) Fails() FailureMode {
	if p.FailureMode == "" {
		return FailOpen
	}
	return p.FailureMode
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
