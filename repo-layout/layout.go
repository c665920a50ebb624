// SPDX-License-Identifier: Apache-2.0

// Package repolayout is the contract of the watched repository: every path,
// branch, label and annotation name once, and the decoder that turns a YAML
// document into one of our kinds with findings by file and line.
//
// It never looks at a catalogue, a cluster or the network: what needs those is
// found by render/check.
package repolayout

import (
	"path"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// Labels and annotations. They are part of the contract: people select by them.
const (
	// LabelQueue is Kueue's: the LocalQueue that a Job waits in.
	LabelQueue = "kueue.x-k8s.io/queue-name"

	// LabelWorkspace is on every child of a Workspace: the Workspace's name.
	LabelWorkspace = "espalier.dev/workspace"
	// LabelCopy is on the pods of one copy of a model that takes several nodes: the
	// name of its StatefulSet.
	LabelCopy = "espalier.dev/copy"
	// LabelMonitored is on the one Service of a Workspace that Prometheus asks for
	// metrics, where the installation has it asked.
	LabelMonitored = "espalier.dev/monitored"
	// LabelPool is the label and the taint key of a pool's nodes; see PoolLabelValue.
	LabelPool = "espalier.dev/pool"
	// LabelSyncName and LabelSyncNamespace are on everything a RepoSync applied.
	LabelSyncName      = "espalier.dev/reposync-name"
	LabelSyncNamespace = "espalier.dev/reposync-namespace"
	// LabelSyncHub is beside them where the RepoSync is of another cluster: the UID of
	// that one's namespace kube-system.
	LabelSyncHub = "espalier.dev/reposync-hub"

	// AnnotationRevision is the commit that last changed the object.
	AnnotationRevision = "espalier.dev/revision"
	// AnnotationDigest is the digest of the object as Git last said it.
	AnnotationDigest = "espalier.dev/digest"
	// AnnotationInputDigest, on pod templates, is the digest of every input, so
	// that a change of any of them reaches the pods.
	AnnotationInputDigest = "espalier.dev/input-digest"
	// AnnotationAutoscaler, on a Deployment, is the kind of the autoscaler that was
	// given its spec.replicas: what was given is taken back without force.
	AnnotationAutoscaler = "espalier.dev/autoscaler"
	// AnnotationSource is file:line of the object in the repository.
	AnnotationSource = "espalier.dev/source"
	// AnnotationSubstituted lists old=new instance types that the RepoSync replaced.
	AnnotationSubstituted = "espalier.dev/substituted"
	// AnnotationDefaulted lists the fields of the spec that the defaults of the
	// RepoSync have filled in.
	AnnotationDefaulted = "espalier.dev/defaulted"
	// AnnotationApprovePrune on a RepoSync approves one prune that was held. Its
	// value is the token of the condition PruneHeld, which names the commit and
	// what is deleted.
	AnnotationApprovePrune = "espalier.dev/approve-prune"
	// AnnotationLeaveCluster on a RepoSync whose spec.kubeConfig leads elsewhere than
	// before leaves what is in the old cluster there: its status.cluster, or
	// LeaveThisCluster.
	AnnotationLeaveCluster = "espalier.dev/leave-cluster"
	// AnnotationForceConflicts on an object takes over fields that another
	// manager owns.
	AnnotationForceConflicts = "espalier.dev/force-conflicts"
	// AnnotationRetry on a Workspace, set to the UID of a Job that gave up, or
	// of a Job or Deployment that never started, runs the same inputs once more; a copied manifest repeats nothing.
	AnnotationRetry = "espalier.dev/retry"
	// AnnotationForceDelete on a GPUNodePool that is being deleted, set to its UID,
	// deletes nodes although pods run on them. A copied manifest forces nothing.
	AnnotationForceDelete = "espalier.dev/force-delete"
	// AnnotationApproveDeletion on a GPUNodePool approves its deletion among many,
	// if it was asked for no later than the value says (RFC 3339).
	AnnotationApproveDeletion = "espalier.dev/approve-deletion"
	// AnnotationGivenBack on a GPUNodePool that is being deleted, set to its UID by the
	// controller of the Workspace that owns it, says that the Workspace has let its
	// nodes go, whatever it wants since: the deletion is no mistake.
	AnnotationGivenBack = "espalier.dev/given-back"
	// AnnotationCordonedFor and AnnotationCordonedAt are on nodes that are cordoned
	// before they go: the UID of their GPUNodePool, and when (RFC 3339).
	AnnotationCordonedFor = "espalier.dev/cordoned-for"
	AnnotationCordonedAt  = "espalier.dev/cordoned-at"
	// AnnotationPrune, set to "disabled", keeps an object that Git dropped.
	AnnotationPrune = "espalier.dev/prune"
	// AnnotationReconcileAt asks for a reconcile now, as with every Flux kind.
	AnnotationReconcileAt = "reconcile.fluxcd.io/requestedAt"

	// Finalizer is on every kind of ours that has something to take down in order.
	Finalizer = "espalier.dev/finalizer"
)

// LeaveThisCluster is the AnnotationLeaveCluster for the cluster of the RepoSync itself.
const LeaveThisCluster = "this"

// FieldManager is the server-side apply field manager of the controllers.
const FieldManager = "espalier"

// LockFile is the key, in the ConfigMap that spec.*.model.lock names, of the
// lock file of a model outside the catalogue, and the name that the file has in
// Git: a configMapGenerator then needs no key.
const LockFile = "model.lock.yaml"

// Paths of a repository in the recommended layout, relative to its folder, which
// is the root of the repository or a folder of a larger one. Espalier itself
// goes by spec.path of a RepoSync alone: these are what `espalier init` writes
// and the documentation speaks of. docs/layouts.md has them as a table.
const (
	// PathModels holds a folder a model: what is true of it on every cluster.
	PathModels = "models"
	// PathComponents holds what several Workspaces share.
	PathComponents = "components"
	// PathClusters holds a folder a cluster.
	PathClusters = "clusters"
	// PathFlux holds, with Flux, one file a cluster for the folder that Flux reads.
	PathFlux = "flux"
	// PathCI holds what runs on a pull request.
	PathCI = "ci"

	// PathNames is the component that tells Kustomize where a Workspace names
	// other objects.
	PathNames = PathComponents + "/names"
	// PathCIScript judges a pull request, on any forge and by hand.
	PathCIScript = PathCI + "/espalier.sh"
	// PathCIGet builds espalier for that.
	PathCIGet = PathCI + "/get-espalier.sh"
)

// Names of files in the folders above.
const (
	// FileWorkspace holds a Workspace in its folder below PathModels.
	FileWorkspace = "workspace.yaml"
	// FileKustomization says what of a folder is built.
	FileKustomization = "kustomization.yaml"
	// FileNames holds the name references in PathNames.
	FileNames = kustomize.NamesFile
	// FileMergeKeys holds the merge keys, beside the root kustomization.
	FileMergeKeys = kustomize.SchemaFile
)

// Files that forges look for, in the root of the repository. Azure DevOps has no
// code owners in a file, and the default reviewers of Bitbucket are settings.
const (
	PathGitHubOwners   = ".github/CODEOWNERS"
	PathGitHubWorkflow = ".github/workflows/espalier.yaml"
	PathGitLabOwners   = ".gitlab/CODEOWNERS"
	PathGitLabWorkflow = ".gitlab-ci.yml"
	PathGiteaOwners    = ".gitea/CODEOWNERS"
	PathGiteaWorkflow  = ".gitea/workflows/espalier.yaml"
	PathAzureWorkflow  = "azure-pipelines.yml"

	PathBitbucketWorkflow = "bitbucket-pipelines.yml"
)

// PathSync is the RepoSync of a cluster, applied there once. It lies outside of
// what it follows.
func PathSync(cluster string) string {
	return path.Join(PathClusters, cluster, "reposync.yaml")
}

// PathRoot is what a cluster runs: spec.path of its RepoSync, the folder of the
// root kustomization, which lists a folder a Workspace.
func PathRoot(cluster string) string {
	return path.Join(PathClusters, cluster, "workspaces")
}

// PathFluxFile is what the Flux of a cluster is given.
func PathFluxFile(cluster string) string {
	return path.Join(PathFlux, cluster+".yaml")
}

// BranchDefault is the branch that a RepoSync follows when it names none.
const BranchDefault = "main"

// Files of a status branch.
const (
	StatusReadme    = "README.md"
	StatusOwnerFile = ".espalier.yaml"
	statusFolder    = "workspaces"
	badgeFolder     = "badges"
)

// StatusBranch is the default branch readiness is written to.
func StatusBranch(cluster, namespace, sync string) string {
	return path.Join("espalier/status", cluster, namespace, sync)
}

// StatusFile is the path, on a status branch, of one Workspace's state.
func StatusFile(namespace, name string) string {
	return path.Join(statusFolder, namespace, name+".yaml")
}

// StatusBadge is the path, on a status branch, of the badge of one Workspace: an SVG
// with its name and state.
func StatusBadge(namespace, name string) string {
	return path.Join(badgeFolder, namespace, name+".svg")
}

// PromotionBranch is the branch that proposes an adapter which a tuning Workspace
// has published: one for each adapter, so that nothing is ever forced.
func PromotionBranch(cluster, namespace, tuning, digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	return PromotionBranches(cluster, namespace, tuning) + digest[:min(12, len(digest))]
}

// PromotionBranches begins the names of all branches of one tuning Workspace.
func PromotionBranches(cluster, namespace, tuning string) string {
	return "espalier/promote/" + cluster + "/" + namespace + "/" + tuning + "/"
}

// PromotingElsewhere takes the place of the namespace in these names where a RepoSync
// applies to another cluster: two of them may lead to namesakes. No namespace has a "_".
func PromotingElsewhere(syncNamespace, sync, namespace string) string {
	return syncNamespace + "_" + sync + "_" + namespace
}

// IsStatusPath says whether a path belongs to a status branch: a status commit
// touches no other.
func IsStatusPath(p string) bool {
	return p == StatusReadme || p == StatusOwnerFile || strings.HasPrefix(p, statusFolder+"/") || strings.HasPrefix(p, badgeFolder+"/")
}

// PoolLabelValue is the value of LabelPool on the nodes of a pool:
// namespace.name, cut to a label's 63 characters with a hash where it is longer.
func PoolLabelValue(namespace, name string) string {
	return ShortName(63, namespace+"."+name)
}
