// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"strings"
)

// Weights say where the weights of a served model are, in the place of the
// repository that the model is named after: nothing is downloaded from it, no token
// is needed, and what lies there is what is served.
//
// +kubebuilder:validation:XValidation:rule="[has(self.claim), has(self.url), has(self.local), has(self.registry)].filter(x, x).size() == 1",message="exactly one of claim, url, local and registry is required"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || has(self.claim)",message="path is a folder of a claim: a url has its own"
// +kubebuilder:validation:XValidation:rule="!has(self.path) || !self.path.split('/').exists(s, s == '..' || s == '.')",message="path stays within the claim: no . or .. in it"
// +kubebuilder:validation:XValidation:rule="(has(self.url) && self.url.startsWith('az://')) == has(self.storageAccount)",message="storageAccount is the account of an az:// url, which needs one"
// +kubebuilder:validation:XValidation:rule="!has(self.endpoint) || (has(self.url) && self.url.startsWith('s3://'))",message="endpoint is where an s3:// url is answered that is not Amazon's"
// +kubebuilder:validation:XValidation:rule="(!has(self.secret) || has(self.url)) && (!has(self.serviceAccountName) || has(self.url) || has(self.registry))",message="secret and serviceAccountName sign in to an object store: a claim and a folder of the node ask for nothing"
// +kubebuilder:validation:XValidation:rule="!has(self.secret) || !has(self.serviceAccountName)",message="one of secret and serviceAccountName signs in: remove the other"
// +kubebuilder:validation:XValidation:rule="!has(self.registry) || has(self.serviceAccountName)",message="registry needs serviceAccountName: the account whose workload identity may read it"
// +kubebuilder:validation:XValidation:rule="!has(self.stream) || !has(self.url)",message="weights at a url are always streamed: remove stream"
type Weights struct {
	// Claim names a PersistentVolumeClaim of the namespace that holds the files of
	// the model as its repository has them: config.json, the tokenizer and the
	// safetensors. It is mounted read-only.
	// +kubebuilder:validation:MaxLength=253
	Claim string `json:"claim,omitempty"`
	// Path is the folder of the claim that the files are in, best named after the
	// commit that they are of. Empty: its root.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`
	Path string `json:"path,omitempty"`
	// URL is the folder of an object store that the files are in, which vLLM streams
	// to the GPU without a copy on the node: az://CONTAINER/PATH, s3://BUCKET/PATH or
	// gs://BUCKET/PATH.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^(az|s3|gs)://[a-z0-9][a-z0-9._-]*(/[A-Za-z0-9._-]+)*$`
	URL string `json:"url,omitempty"`
	// StorageAccount is the Azure storage account that has the container of an az://
	// url.
	// +kubebuilder:validation:Pattern=`^[a-z0-9]{3,24}$`
	StorageAccount string `json:"storageAccount,omitempty"`
	// Endpoint is the address of a store that speaks S3 and is not Amazon's.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^\s/?#@]+$`
	Endpoint string `json:"endpoint,omitempty"`
	// ServiceAccountName is the ServiceAccount whose workload identity may read the
	// url. The controller must allow the name (--weights-service-account). Its token
	// for the cluster is not mounted.
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// Secret names a Secret of the namespace with what signs in to the store, in
	// keys that are called as the store's own environment variables are.
	// +kubebuilder:validation:MaxLength=253
	Secret string `json:"secret,omitempty"`
	// Local is a folder of the directory that the controller says holds weights on
	// the nodes (--local-weights). It is mounted read-only.
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9._-]*$`
	Local string `json:"local,omitempty"`
	// Stream reads the files of a claim or of a folder of the node with several
	// threads, past the page cache (Run:ai Model Streamer).
	Stream bool `json:"stream,omitempty"`
	// Registry is a version of a model in a registry of Azure, which says where its
	// files are and signs them for a while. An init container downloads them to the disk
	// of the node, as the ServiceAccount that serviceAccountName names.
	Registry *ModelRegistry `json:"registry,omitempty"`
}

// ModelRegistry is a version of a model in a registry of Azure Machine Learning, or in a
// project of Azure AI Foundry.
type ModelRegistry struct {
	// URL of the version: …/models/NAME/versions/VERSION of a project, or
	// …/registries/REGISTRY/datarefs/NAME/versions/VERSION of a public registry.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^https://[a-z0-9.-]+\.(api\.azureml\.ms|api\.ml\.azure\.us|api\.ml\.azure\.cn|services\.ai\.azure\.(com|us|cn))(/[A-Za-z0-9._-]+)+(\?[A-Za-z0-9=&._-]+)?$`
	URL string `json:"url"`
	// ClientID of the identity that may read it, which trusts the ServiceAccount.
	// +kubebuilder:validation:Pattern=`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`
	ClientID string `json:"clientID"`
}

// Public says that the version is of a public registry, whose addresses and tokens are
// others than those of a project.
func (r ModelRegistry) Public() bool { return strings.Contains(r.URL, "/datarefs/") }

// Shown is the address without its query.
func (r ModelRegistry) Shown() string {
	shown, _, _ := strings.Cut(r.URL, "?")
	return shown
}

// Streams says that the files are read by the streamer.
func (w *Weights) Streams() bool { return w.Stream || w.URL != "" }

// Store is the scheme of the object store, "" where the weights are in none.
func (w *Weights) Store() string {
	scheme, _, found := strings.Cut(w.URL, "://")
	if !found {
		return ""
	}
	return scheme
}

// Place is where the weights are, for people.
func (w *Weights) Place() string {
	switch {
	case w.Registry != nil:
		return w.Registry.Shown()
	case w.Claim != "" && w.Path != "":
		return "folder " + w.Path + " of claim " + w.Claim
	case w.Claim != "":
		return "claim " + w.Claim
	case w.Local != "":
		return "folder " + w.Local + " of the nodes"
	case w.StorageAccount != "":
		return w.URL + " of " + w.StorageAccount
	case w.Endpoint != "":
		return w.URL + " at " + w.Endpoint
	}
	return w.URL
}

// PerformanceMode is what vLLM is tuned for.
//
// +kubebuilder:validation:Enum=balanced;interactivity;throughput
type PerformanceMode string

// Values of PerformanceMode.
const (
	ModeBalanced      PerformanceMode = "balanced"      // vLLM's own default
	ModeInteractivity PerformanceMode = "interactivity" // few requests, each answered soon
	ModeThroughput    PerformanceMode = "throughput"    // many requests: twice as much in a batch
)
