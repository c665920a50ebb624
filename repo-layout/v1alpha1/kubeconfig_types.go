// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// KubeConfig names another cluster; the fields are Flux's.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.configMapRef)",message="exactly one of kubeConfig.secretRef, a kubeconfig, and kubeConfig.configMapRef, an account that signs in, is required"
type KubeConfig struct {
	// SecretRef names a Secret of the namespace with a kubeconfig.
	SecretRef *SecretKeyReference `json:"secretRef,omitempty"`
	// ConfigMapRef names a ConfigMap of the namespace that says which cluster it is and
	// which ServiceAccount of the namespace signs in there, without a kubeconfig: provider
	// (generic or azure), address, ca.crt, cluster, audiences and serviceAccountName, as
	// Flux has them. It is watched.
	ConfigMapRef *LocalObjectReference `json:"configMapRef,omitempty"`
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
