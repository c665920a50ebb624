// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RepoSync keeps a cluster as a path of a Git repository says.
//
// +kubebuilder:validation:XValidation:rule="!has(self.spec.dependsOn) || !self.spec.dependsOn.exists(d, d.name == self.metadata.name && !has(d.namespace))",message="spec.dependsOn: a RepoSync cannot wait for itself"
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:categories={all,espalier}
// +kubebuilder:metadata:annotations="kustomize.toolkit.fluxcd.io/substitute=disabled"
// +kubebuilder:printcolumn:name="URL",type=string,JSONPath=`.spec.source.git.url`,priority=1
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.lastAppliedRevision`
// +kubebuilder:printcolumn:name="Workspaces",type=string,JSONPath=`.status.workspaces`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type RepoSync struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec RepoSyncSpec `json:"spec"`
	// +kubebuilder:default={observedGeneration:-1}
	Status RepoSyncStatus `json:"status,omitempty"`
}

// RepoSyncList is a list of RepoSyncs.
//
// +kubebuilder:object:root=true
type RepoSyncList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []RepoSync `json:"items"`
}

// DeletionPolicy says what becomes of applied objects when their RepoSync goes.
//
// +kubebuilder:validation:Enum=Delete;Orphan
type DeletionPolicy string

// Values of DeletionPolicy.
const (
	Delete DeletionPolicy = "Delete"
	Orphan DeletionPolicy = "Orphan"
)

// SyncMode says whether a RepoSync applies what it reads.
//
// +kubebuilder:validation:Enum=Sync;ReportOnly
type SyncMode string

// Values of SyncMode.
const (
	ModeSync       SyncMode = "Sync"
	ModeReportOnly SyncMode = "ReportOnly"
)

// RepoSyncSpec says what to sync and where to report.
//
// +kubebuilder:validation:XValidation:rule="!has(self.review) || (has(self.source.git) && has(self.source.git.ref.branch))",message="review needs source.git with a branch: pull requests go to one"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.statuses) || !self.report.statuses || has(self.review)",message="report.statuses needs review, which says what forge to tell and with what token"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.pullRequest) || !self.report.pullRequest || !has(self.mode) || self.mode != 'ReportOnly'",message="report.pullRequest follows what the RepoSync applies, and mode ReportOnly applies nothing: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.pullRequest) || !self.report.pullRequest || has(self.review)",message="report.pullRequest needs review, whose comment it continues"
// +kubebuilder:validation:XValidation:rule="has(self.source.git) || !has(self.report) || !has(self.report.commit) || has(self.report.commit.url)",message="report.commit.url is required with source.ref: an artifact says no clone address"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'ReportOnly') == has(self.workspaceSelector)",message="mode ReportOnly and workspaceSelector belong together: the selector says which Workspaces are reported on"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'ReportOnly' || !has(self.serviceAccountName)",message="serviceAccountName is as whom a RepoSync applies, and mode ReportOnly applies nothing: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'ReportOnly' || !has(self.kubeConfig)",message="kubeConfig is where a RepoSync applies, and mode ReportOnly applies nothing: remove it, and report from the cluster where the Workspaces are"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'ReportOnly' || !has(self.dependsOn)",message="dependsOn orders what is applied, and mode ReportOnly applies nothing: remove it"
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || self.mode != 'ReportOnly' || !(has(self.substitutions) || has(self.defaults) || has(self.postBuild) || has(self.decryption))",message="substitutions, decryption, postBuild and defaults change what is applied, and mode ReportOnly applies nothing: remove them"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.commit) || !has(self.report.commit.path) || (has(self.source.git) && has(self.source.git.ref.branch) && has(self.report.commit.branch) && self.report.commit.branch == self.source.git.ref.branch && (!has(self.report.commit.url) || self.report.commit.url == self.source.git.url))",message="report.commit.path is a folder of the branch that is synced: set report.commit.branch to source.git.ref.branch, of the same repository; a branch of its own needs no path"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.commit) || !has(self.report.commit.path) || (has(self.path) && size(self.path) > 0 && self.path != '.' && !(self.path + '/').startsWith(self.report.commit.path + '/') && !(self.report.commit.path + '/').startsWith(self.path + '/'))",message="report.commit.path and path must lie beside each other, neither in the other: what is reported is not to be synced"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.commit) || !has(self.report.commit.path) || !has(self.source.git) || !has(self.source.git.verify) || has(self.report.commit.signing)",message="report.commit.path with source.git.verify needs report.commit.signing: a report would be an unsigned commit on the branch whose commits must be signed"
// +kubebuilder:validation:XValidation:rule="!has(self.report) || !has(self.report.commit) || !has(self.report.commit.path) || !has(self.mode) || self.mode != 'ReportOnly'",message="report.commit.path is not for mode ReportOnly: each report would wake Flux; let it have a branch of its own"
type RepoSyncSpec struct {
	// Mode is Sync, which applies what the path holds, or ReportOnly, which applies
	// and deletes nothing: something else, mostly Flux, applies the Workspaces, and
	// the RepoSync reports on those that workspaceSelector selects.
	// +kubebuilder:default=Sync
	Mode SyncMode `json:"mode,omitempty"`
	// WorkspaceSelector selects by their labels the Workspaces to report on, of
	// targetNamespace, with mode ReportOnly.
	WorkspaceSelector *metav1.LabelSelector `json:"workspaceSelector,omitempty"`
	// Source is where the desired state comes from.
	Source Source `json:"source"`
	// Path is the folder of the root kustomization, relative to the root of
	// the repository. Empty: the root itself.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('/') && !self.split('/').exists(p, p == '..')",message="path: a folder within the repository, relative to its root and without '..'"
	Path string `json:"path,omitempty"`
	// Interval is how often to look for a new commit when nothing else says so, at
	// least 1s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s')",message="interval: at least 1s"
	// +kubebuilder:default="1m"
	Interval metav1.Duration `json:"interval,omitempty"`
	// Timeout bounds one look at the source, and each look at and push to a branch that is written.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="60s"
	Timeout metav1.Duration `json:"timeout,omitempty"`
	// Prune deletes what an earlier revision held and this one does not,
	// behind a guard against deleting much at once.
	// +kubebuilder:default=true
	Prune *bool `json:"prune,omitempty"`
	// DeletionPolicy says what becomes of the Workspaces when the RepoSync goes.
	// +kubebuilder:default=Delete
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
	// Suspend stops syncing. What runs, runs on.
	Suspend bool `json:"suspend,omitempty"`
	// DependsOn names RepoSyncs that must be Ready before this one applies anything:
	// as they are, and where they follow the same source, at the revision that this
	// one is about to apply, reports in it left out. Until then what runs, runs on.
	// +kubebuilder:validation:MaxItems=16
	DependsOn []Dependency `json:"dependsOn,omitempty"`
	// ServiceAccountName is the ServiceAccount of the RepoSync's namespace with whose
	// rights everything is applied and pruned, the children of its Workspaces too.
	// Empty: the controller's --default-service-account, else the controller itself.
	// With kubeConfig it is an account of that cluster, in the namespace of this name
	// there, and empty is whoever the kubeconfig signs in as, unless there is a default.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	// KubeConfig names another cluster: everything is applied and pruned there, and read
	// back from there, where a controller of that cluster runs the Workspaces. Absent:
	// this cluster.
	KubeConfig *KubeConfig `json:"kubeConfig,omitempty"`
	// TargetNamespace is where Workspaces without a namespace go, and the only
	// namespace they may name. Empty: the namespace of the RepoSync.
	TargetNamespace string `json:"targetNamespace,omitempty"`
	// Substitutions replaces instance types, key by value, in every Workspace:
	// a retired size is moved fleet-wide in one reviewed line.
	// +kubebuilder:validation:MaxProperties=64
	Substitutions map[string]string `json:"substitutions,omitempty"`
	// Decryption opens the Secrets of the repository that SOPS has encrypted, between
	// reading them from Git and building. Absent: such a Secret is refused.
	Decryption *Decryption `json:"decryption,omitempty"`
	// PostBuild changes what the kustomizations have built, before it is read.
	PostBuild *PostBuild `json:"postBuild,omitempty"`
	// Defaults fill in what a Workspace leaves open.
	Defaults *SyncDefaults `json:"defaults,omitempty"`
	// Hook lets the forge say that something was pushed, so that nobody waits for
	// the interval. Absent: the hook address answers 404 for this RepoSync.
	Hook *Hook `json:"hook,omitempty"`
	// Report says where readiness is written back to. Absent: nowhere.
	Report *Report `json:"report,omitempty"`
	// Review answers the pull requests to the branch that is synced with a plan.
	// Absent: nobody looks at them. It is done by `espalier controller
	// --controllers=review`, a Deployment of its own.
	Review *Review `json:"review,omitempty"`
}

// PostBuild changes what the kustomizations have built, before it is read.
type PostBuild struct {
	// Substitute has the values of variables, ${NAME} in the documents, by name: as
	// Flux has them, functions and defaults included, but a variable that is not set
	// and has no default is an error. Objects with the label or annotation
	// kustomize.toolkit.fluxcd.io/substitute: disabled keep their text.
	// +required
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(name, name.matches('^[_a-zA-Z][_a-zA-Z0-9]{0,62}$'))",message="names of variables have letters, digits and underscores, 63 at most, and begin with no digit"
	Substitute map[string]VariableValue `json:"substitute,omitempty"`
}

// VariableValue is what stands in the place of a variable.
//
// +kubebuilder:validation:MaxLength=1024
type VariableValue string

// Dependency names a RepoSync that another waits for.
type Dependency struct {
	// Name of the RepoSync.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
	// Namespace of the RepoSync; empty: that of the one that waits. Another is
	// refused where the controller runs with --no-cross-namespace-refs.
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
}

// SyncDefaults fill in what a Workspace leaves open; what it says itself counts.
type SyncDefaults struct {
	// Budget of each Workspace without one; maxUSD of tuning Workspaces whose
	// provider is not existing. It bounds no GPUNodePool that Git declares.
	Budget *Budget `json:"budget,omitempty"`
	// RegistryMirror is spec.runtime.mirror of each Workspace without one: where
	// the images of the runtimes are pulled from.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`
	RegistryMirror string `json:"registryMirror,omitempty"`
	// ImageVolumes is spec.runtime.imageVolumes of each Workspace without one:
	// Disabled for a cluster whose nodes mount no image.
	// +kubebuilder:validation:Enum=Enabled;Disabled
	ImageVolumes ImageVolumes `json:"imageVolumes,omitempty"`
	// StorageClass is spec.tuning.checkpoints.storageClass of each tuning Workspace
	// without one, and spec.inference.cache.storageClass of each service that keeps
	// weights on a volume of each pod and says none. A claim that is there keeps its
	// class; a service whose class changes rolls.
	// +kubebuilder:validation:MaxLength=253
	StorageClass string `json:"storageClass,omitempty"`
	// Provider is spec.resource.provider of each Workspace without one that has
	// nodes of its own: aks, karpenter or existing. Nodes that are there stay with
	// the provider that they come from.
	Provider Provider `json:"provider,omitempty"`
	// InstanceType is spec.resource.instanceType of each Workspace without one whose
	// spec.resource.provider is existing: what the nodes of the cluster are like. A
	// Workspace of kaito.sh on nodes that exist names none.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._-]*$`
	InstanceType string `json:"instanceType,omitempty"`
	// Driver is spec.resource.driver of each Workspace without one whose nodes exist, by
	// its provider, that of these defaults or the controller's: the oldest NVIDIA driver of
	// the nodes of the cluster. It is not for those whose driver a cloud installs, nor for
	// shared pools, which say their own.
	// +kubebuilder:validation:Pattern=`^[1-9][0-9]{2}(\.[0-9]{1,3}){0,2}$`
	Driver string `json:"driver,omitempty"`
	// KaitoImage is spec.runtime.image, version and cuda of each Workspace whose runtime
	// is kaito or kaito-transformers and that names no image: no document of kaito.sh
	// has a place for one.
	KaitoImage *KaitoImage `json:"kaitoImage,omitempty"`
	// WeightsServiceAccount is spec.inference.weights.serviceAccountName of each
	// Workspace whose weights are in a registry and that names none, as KAITO's
	// controller has --default-streaming-service-account. This controller must allow
	// the name as well (--weights-service-account).
	// +kubebuilder:validation:MaxLength=253
	WeightsServiceAccount string `json:"weightsServiceAccount,omitempty"`
}

// KaitoImage is KAITO's base image, of which no digest is known here.
type KaitoImage struct {
	// Image by digest.
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^\s@]+@sha256:[0-9a-f]{64}$`
	Image string `json:"image"`
	// Version that it holds; `espalier presets` lists those that are known.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version"`
	// CUDA that it was built with, such as 12.9.
	// +kubebuilder:validation:Pattern=`^1[23]\.[0-9]$`
	CUDA string `json:"cuda"`
}

// Hook is a push webhook at /hook/<namespace>/<name> of the controller's hook
// address. It carries no content: a verified call makes the controller look at
// the source now.
type Hook struct {
	// SecretRef names a Secret of the namespace whose key token is the secret of
	// the webhook: the HMAC-SHA256 key with GitHub, Gitea and Bitbucket, the token
	// itself with GitLab and in an Authorization: Bearer header, and the password, of
	// any user, with Azure DevOps.
	SecretRef LocalObjectReference `json:"secretRef"`
}

// RepoSyncStatus is what became of the last looks at the source.
type RepoSyncStatus struct {
	// ObservedGeneration is the generation the status speaks of.
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Conditions; see the Condition constants.
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// LastAttemptedRevision is the newest commit that was looked at.
	LastAttemptedRevision string `json:"lastAttemptedRevision,omitempty"`
	// LastAppliedRevision is the newest that was applied whole; with mode ReportOnly,
	// that Flux has applied as far as its Kustomizations say.
	LastAppliedRevision string `json:"lastAppliedRevision,omitempty"`
	// Content is Git's hash of the files of LastAttemptedRevision without the reports
	// among them: where report.commit.path is set, a commit of the same content is no
	// new revision, and for dependsOn it is the same one. Empty where neither is used.
	Content string `json:"content,omitempty"`
	// LastHandledReconcileAt echoes the annotation reconcile.fluxcd.io/requestedAt.
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`
	// Cluster is where the inventory is, with spec.kubeConfig: the UID of the namespace
	// kube-system there. Empty: in this cluster.
	Cluster string `json:"cluster,omitempty"`
	// Inventory lists what was applied, and so may be pruned; empty where that is more
	// than 500 objects, which packedInventory has.
	Inventory []InventoryEntry `json:"inventory,omitempty"`
	// PackedInventory is the inventory when it is long.
	PackedInventory *PackedInventory `json:"packedInventory,omitempty"`
	// Findings are the errors and warnings of the last attempted revision, the
	// first 50.
	Findings []Finding `json:"findings,omitempty"`
	// Workspaces counts them as "ready/all".
	Workspaces string `json:"workspaces,omitempty"`
	// Spoke is how the Workspaces in the cluster of spec.kubeConfig are, for the process
	// that answers pull requests, which may not look there; with spec.review.
	Spoke *SpokeStatus `json:"spoke,omitempty"`
	// Report is the last write to Git.
	Report *ReportStatus `json:"report,omitempty"`
}

// SpokeStatus is what pull requests are told of Workspaces in another cluster.
type SpokeStatus struct {
	// Workspaces is how many there are to tell of.
	Workspaces int `json:"workspaces"`
	// All is that the list has all of them, for report.pullRequest; else it has those
	// between which adapters are promoted.
	All bool `json:"all,omitempty"`
	// List is the little of each that is told, as JSON and compressed with gzip; in
	// base64, as every list of bytes. Empty where all together is more than a status
	// takes: then nothing is told of them.
	List []byte `json:"list,omitempty"`
}

// PackedInventory is a long inventory in a form that etcd takes.
type PackedInventory struct {
	// Objects is how many it lists.
	Objects int `json:"objects"`
	// List is what status.inventory would be, as JSON and compressed with gzip; in
	// base64, as every list of bytes.
	List []byte `json:"list"`
}

// InventoryEntry identifies an applied object as namespace_name_group_kind,
// the form Flux uses.
type InventoryEntry struct {
	// ID is namespace_name_group_kind.
	ID string `json:"id"`
	// Version is the API version it was applied with.
	Version string `json:"v"`
	// Unit is the folder it came from.
	Unit string `json:"unit,omitempty"`
}

// Finding is one error or warning on a file of the repository.
type Finding struct {
	// Severity is error or warning.
	Severity string `json:"severity"`
	// Code is stable and CamelCase, for example UnknownInstanceType.
	Code string `json:"code"`
	// File, relative to the root of the repository.
	File string `json:"file,omitempty"`
	// Line in the file, from 1; 0 when not known.
	Line int `json:"line,omitempty"`
	// Object is kind/namespace/name where the finding is about one.
	Object string `json:"object,omitempty"`
	// Message says what is wrong and what to do.
	Message string `json:"message"`
	// Fix mends it by one line. It is no part of the status: a command and the plan
	// write it beside the finding.
	Fix Fix `json:"-"`
}

// ReportStatus is the last write to Git.
type ReportStatus struct {
	// Branch that was written to.
	Branch string `json:"branch,omitempty"`
	// Commit that was written.
	Commit string `json:"commit,omitempty"`
	// WrittenAt is when.
	WrittenAt *metav1.Time `json:"writtenAt,omitempty"`
}

// ReportsOnly says that the RepoSync applies and deletes nothing.
func (r *RepoSync) ReportsOnly() bool { return r.Spec.Mode == ModeReportOnly }

// ReportsIntoSource says that the report is a folder of the branch that is synced.
func (r *RepoSync) ReportsIntoSource() bool {
	return r.Spec.Report != nil && r.Spec.Report.Commit != nil && r.Spec.Report.Commit.Path != ""
}

// GetConditions returns the conditions of the RepoSync.
func (r *RepoSync) GetConditions() []metav1.Condition { return r.Status.Conditions }

// SetConditions replaces the conditions of the RepoSync.
func (r *RepoSync) SetConditions(c []metav1.Condition) { r.Status.Conditions = c }
