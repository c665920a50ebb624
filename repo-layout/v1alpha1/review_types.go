// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// ForgeProvider is a kind of forge.
//
// +kubebuilder:validation:Enum=Gitea;GitHub;GitLab;AzureDevOps;Bitbucket;BitbucketServer
type ForgeProvider string

// Values of ForgeProvider. Gitea is for Forgejo too, Bitbucket is the Cloud, and
// BitbucketServer Bitbucket Data Center too.
const (
	Gitea           ForgeProvider = "Gitea"
	GitHub          ForgeProvider = "GitHub"
	GitLab          ForgeProvider = "GitLab"
	AzureDevOps     ForgeProvider = "AzureDevOps"
	Bitbucket       ForgeProvider = "Bitbucket"
	BitbucketServer ForgeProvider = "BitbucketServer"
)

// ForkPolicy says what becomes of pull requests from other repositories.
//
// +kubebuilder:validation:Enum=Ignore;Plan
type ForkPolicy string

// Values of ForkPolicy.
const (
	IgnoreForks ForkPolicy = "Ignore"
	PlanForks   ForkPolicy = "Plan"
)

// LineComments says which findings are comments on their lines too.
//
// +kubebuilder:validation:Enum=None;Fixes;Findings
type LineComments string

// Values of LineComments.
const (
	NoLineComments      LineComments = "None"
	FixLineComments     LineComments = "Fixes"
	FindingLineComments LineComments = "Findings"
)

// Review says how pull requests are answered.
type Review struct {
	// Provider is the kind of forge: Gitea, which is for Forgejo too, GitHub, GitLab,
	// AzureDevOps, Bitbucket, which is Bitbucket Cloud, or BitbucketServer, which is
	// Bitbucket Data Center too.
	Provider ForgeProvider `json:"provider"`
	// URL is the address of the repository for people, such as
	// https://gitea.example.com/owner/repository. Empty: the source's clone address,
	// over https where that is ssh.
	// +kubebuilder:validation:Pattern=`^https?://[^\s]+$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^https?://[^/]*@')",message="url: no credentials in the address; put them into a Secret and name it in secretRef"
	URL string `json:"url,omitempty"`
	// SecretRef names a Secret of the namespace with the token of an account that
	// may comment and set commit statuses, under the key token, or password as in a
	// Secret for Git, or with githubAppID, githubAppInstallationID and
	// githubAppPrivateKey; ca.crt where the forge has a certificate of its own authority.
	SecretRef LocalObjectReference `json:"secretRef"`
	// Forks says whether pull requests from other repositories are planned. Ignore
	// leaves them alone: whoever may fork could otherwise make the cluster work.
	// +kubebuilder:default=Ignore
	Forks ForkPolicy `json:"forks,omitempty"`
	// Commands answers the comments /espalier plan and /espalier help of people who
	// may write to the repository. On Gitea the account must be an administrator of
	// the repository, because nobody else is told who may.
	Commands bool `json:"commands,omitempty"`
	// LineComments says which findings are comments on their lines too, where the
	// diff of the pull request shows these: Fixes, those that one line mends, with that
	// line as a suggestion that a button takes; Findings, all; None. The comment with
	// the plan has them all, whatever is said here.
	// +kubebuilder:default=None
	LineComments LineComments `json:"lineComments,omitempty"`
	// StatusPrefix is the beginning of the names of the commit statuses, which end in
	// /plan, /fit and /cost. Several RepoSyncs of one repository need one each.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:default=espalier
	StatusPrefix string `json:"statusPrefix,omitempty"`
}
