// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// KubeConfig names another cluster; the fields are Flux's.
type KubeConfig struct {
	// SecretRef names a Secret of the namespace with a kubeconfig.
	SecretRef SecretKeyReference `json:"secretRef"`
}

// SecretKeyReference names an entry of a Secret of the same namespace.
type SecretKeyReference struct {
	// Name of the Secret. It is watched: a new token is used without a restart.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// Key of the kubeconfig in it. Empty: value, else value.yaml. The kubeconfig holds
	// all that it needs: files are refused, and so are programs to run and TLS that is
	// not verified, unless the controller allows these (--insecure-kubeconfig-exec,
	// --insecure-kubeconfig-tls).
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}
