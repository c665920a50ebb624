// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Report says where readiness is written back to.
type Report struct {
	// Commit writes readiness as commits on a status branch.
	Commit *CommitReport `json:"commit,omitempty"`
	// Statuses sets a commit status on the commit that is synced, by the name
	// <review.statusPrefix>/<name of the RepoSync>/ready, on the forge of review.
	Statuses bool `json:"statuses,omitempty"`
	// PullRequest makes the comment on a merged pull request say what becomes of its
	// Workspaces, until each is ready or needs somebody. It is the comment of review.
	PullRequest bool `json:"pullRequest,omitempty"`
}

// CommitReport writes readiness as commits on a status branch.
type CommitReport struct {
	// URL of the repository to write to. Empty: the source's.
	// +kubebuilder:validation:Pattern=`^(https?|ssh)://[^\s]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="url: no credentials in the address; put them into a Secret and name it in secretRef"
	URL string `json:"url,omitempty"`
	// SecretRef names the write credential. Empty: the source's.
	SecretRef *LocalObjectReference `json:"secretRef,omitempty"`
	// Branch to write to. Empty: espalier/status/<cluster>/<namespace>/<name>.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`
	Branch string `json:"branch,omitempty"`
	// Path is a folder of the branch that is synced, to write to in place of a branch
	// of its own: branch must then be source.git.ref.branch, and the folder must lie
	// beside spec.path. The commits of reports are no new revision. Empty: the report
	// has its branch alone.
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._][A-Za-z0-9._-]*)*$`
	// +kubebuilder:validation:XValidation:rule="!self.split('/').exists(p, p == '.' || p == '..' || p == '.git')",message="path: a folder of the branch, relative to its root, without '.', '..' and '.git'"
	Path string `json:"path,omitempty"`
	// Author of the commits.
	// +kubebuilder:default={name:"Espalier",email:"espalier@localhost"}
	Author Author `json:"author,omitempty"`
	// Signing signs the commits. Absent: they carry no signature.
	Signing *CommitSigning `json:"signing,omitempty"`
	// MinInterval is the shortest time between two commits: what happens within
	// it is folded into one.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:default="10s"
	MinInterval metav1.Duration `json:"minInterval,omitempty"`
}

// CommitSigning signs commits.
type CommitSigning struct {
	// SecretRef names a Secret of the namespace with a private key: git.asc, an
	// OpenPGP key, armored, or identity, an SSH key. passphrase unlocks it where it is
	// locked.
	SecretRef LocalObjectReference `json:"secretRef"`
}

// Author of a commit.
type Author struct {
	// Name of the author.
	// +kubebuilder:default=Espalier
	Name string `json:"name,omitempty"`
	// Email of the author.
	// +kubebuilder:default="espalier@localhost"
	Email string `json:"email,omitempty"`
}
