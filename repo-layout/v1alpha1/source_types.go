// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Source is where the desired state comes from.
//
// +kubebuilder:validation:XValidation:rule="has(self.git) != has(self.ref)",message="exactly one of source.git and source.ref is required"
type Source struct {
	// Git is a repository that Espalier clones itself.
	Git *GitSource `json:"git,omitempty"`
	// Ref is a Flux source of the namespace, whose artifact is used as it stands.
	Ref *SourceRef `json:"ref,omitempty"`
}

// SourceKind is a kind of source.toolkit.fluxcd.io.
//
// +kubebuilder:validation:Enum=GitRepository;OCIRepository;Bucket;ExternalArtifact
type SourceKind string

// Values of SourceKind.
const (
	GitRepositoryKind    SourceKind = "GitRepository"
	OCIRepositoryKind    SourceKind = "OCIRepository"
	BucketKind           SourceKind = "Bucket"
	ExternalArtifactKind SourceKind = "ExternalArtifact"
)

// SourceRef names a Flux source of the same namespace.
type SourceRef struct {
	// Kind of the source.
	Kind SourceKind `json:"kind"`
	// Name of the source.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}

// GitSource is a Git repository.
//
// +kubebuilder:validation:XValidation:rule="!has(self.verify) || !has(self.verify.mode) || self.verify.mode == 'HEAD' || (has(self.ref.tag) && !has(self.ref.commit))",message="verify.mode Tag and TagAndHEAD need ref.tag, without ref.commit"
type GitSource struct {
	// URL is the clone address: https, http or ssh.
	// +kubebuilder:validation:Pattern=`^(https?|ssh)://[^\s]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="url: no credentials in the address; put them into a Secret and name it in secretRef"
	URL string `json:"url"`
	// Ref is the branch, tag or commit to follow.
	// +kubebuilder:default={branch:main}
	Ref GitRef `json:"ref,omitempty"`
	// SecretRef names a Secret of the namespace in Flux's form: username and
	// password, or bearerToken, or identity and known_hosts; ca.crt, tls.crt and
	// tls.key where needed.
	SecretRef *LocalObjectReference `json:"secretRef,omitempty"`
	// Verify demands a signature. Nothing is applied that does not carry it.
	Verify *GitVerification `json:"verify,omitempty"`
}

// VerificationMode says what must be signed.
//
// +kubebuilder:validation:Enum=HEAD;Tag;TagAndHEAD
type VerificationMode string

// Values of VerificationMode, as Flux has them.
const (
	VerifyHEAD       VerificationMode = "HEAD"       // the commit that is synced
	VerifyTag        VerificationMode = "Tag"        // the tag that names it
	VerifyTagAndHEAD VerificationMode = "TagAndHEAD" // both
)

// GitVerification says whose signature a commit or tag must carry.
type GitVerification struct {
	// Mode says what must be signed: the commit, the tag that ref.tag names, or both.
	// +kubebuilder:default=HEAD
	Mode VerificationMode `json:"mode,omitempty"`
	// SecretRef names a Secret of the namespace with the public keys of those who may
	// sign: entries NAME.asc are OpenPGP keys, armored, and NAME.sshpub SSH keys, one a
	// line.
	SecretRef LocalObjectReference `json:"secretRef"`
}

// GitRef is a branch, tag or commit.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.branch) && has(self.tag))",message="ref: branch or tag, not both"
type GitRef struct {
	// Branch to follow.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`
	Branch string `json:"branch,omitempty"`
	// Tag to follow.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._][A-Za-z0-9._/-]*$`
	Tag string `json:"tag,omitempty"`
	// Commit stays at one commit; with Branch it must be on that branch.
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{40}$`
	Commit string `json:"commit,omitempty"`
}

// LocalObjectReference names an object of the same namespace.
type LocalObjectReference struct {
	// Name of the object.
	// +kubebuilder:validation:MinLength=1
	Name string `json:"name"`
}
