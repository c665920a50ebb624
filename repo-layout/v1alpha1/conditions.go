// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow kstatus, so that
// `kubectl wait` and Flux understand every kind here without a script; Argo CD has
// one in deploy/argocd.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"

	// Workspace.
	ConditionResourceReady   = "ResourceReady"         // the GPU nodes are there (or were, and are Released)
	ConditionInferenceReady  = "InferenceReady"        // the model answers
	ConditionJobStarted      = "JobStarted"            // the tuning Job runs or ran
	ConditionTuningSucceeded = "TuningSucceeded"       // the tuning Job completed
	ConditionRouteAccepted   = "RouteAccepted"         // every Gateway of spec.inference.route takes the service
	ConditionPoolAccepted    = "InferencePoolAccepted" // every Gateway of the route takes its InferencePool
	ConditionWorkspaceReady  = "WorkspaceReady"        // the task is done or served

	// RepoSync.
	ConditionSourceReady   = "SourceReady"    // the commit was read
	ConditionVerified      = "SourceVerified" // it carries the signature that spec.source.git.verify demands
	ConditionBuilt         = "Built"          // every unit builds and every document decodes
	ConditionApplied       = "Applied"        // everything that was built is applied
	ConditionPruneHeld     = "PruneHeld"      // True = bad: deleting waits for approval
	ConditionFieldConflict = "FieldConflict"  // True = bad: another manager owns a field that Git sets
	ConditionReported      = "Reported"       // readiness is written back

	// GPUNodePool.
	ConditionProvisioned      = "Provisioned"      // the cloud has created the nodes
	ConditionNodesRegistered  = "NodesRegistered"  // the nodes have joined and are Ready
	ConditionGPUReady         = "GPUReady"         // every node's GPUs are allocatable
	ConditionOwnershipLost    = "OwnershipLost"    // True = bad: a cloud pool of our name is not ours
	ConditionDeletionBlocked  = "DeletionBlocked"  // True = bad: foreign pods run on the nodes
	ConditionClusterBusy      = "ClusterBusy"      // True = bad: the cloud runs another operation
	ConditionCapacityNotFound = "CapacityNotFound" // True = bad: no candidate can be had now
	ConditionDegraded         = "Degraded"         // True = bad: it was Ready, and nodes or GPUs are missing since
	ConditionDrifted          = "Drifted"          // True = bad: what runs differs from the spec and cannot be changed in place
)

// Reasons that are shared by several conditions. A reason names a state of the
// world; the message beside it says what to do.
const (
	ReasonSucceeded                 = "Succeeded"
	ReasonProgressing               = "Progressing"
	ReasonSuspended                 = "Suspended"
	ReasonReleased                  = "Released"
	ReasonRefused                   = "Refused"
	ReasonWaitingForNodes           = "WaitingForNodes"
	ReasonWaitingForQueue           = "WaitingForQueue"
	ReasonWaitingForAdapter         = "WaitingForAdapter"
	ReasonWaitingForPods            = "WaitingForPods"
	ReasonJobRunning                = "JobRunning"
	ReasonJobFailed                 = "JobFailed"
	ReasonEvaluationFailed          = "EvaluationFailed"
	ReasonInputMissing              = "InputMissing"
	ReasonFieldConflict             = "FieldConflict"
	ReasonNameTaken                 = "NameTaken"
	ReasonClaimTooSmall             = "ClaimTooSmall"
	ReasonClaimClassDiffers         = "ClaimClassDiffers"
	ReasonClaimNotShared            = "ClaimNotShared"
	ReasonWaitingForGateway         = "WaitingForGateway"
	ReasonRouteNotAccepted          = "RouteNotAccepted"
	ReasonPoolNotAccepted           = "InferencePoolNotAccepted"
	ReasonAlreadyPublished          = "AlreadyPublished"
	ReasonRegistryUnreachable       = "RegistryUnreachable"
	ReasonBudgetSpent               = "BudgetSpent"
	ReasonPodsCannotStart           = "PodsCannotStart"
	ReasonPodsNeverStarted          = "PodsNeverStarted"
	ReasonDeleting                  = "Deleting"
	ReasonSourceUnreachable         = "SourceUnreachable"
	ReasonAuthFailed                = "AuthenticationFailed"
	ReasonRefNotFound               = "RefNotFound"
	ReasonVerificationError         = "VerificationError"
	ReasonInvalidCommitSignature    = "InvalidCommitSignature"
	ReasonInvalidTagSignature       = "InvalidTagSignature"
	ReasonBuildFailed               = "BuildFailed"
	ReasonDecryptionFailed          = "DecryptionFailed"
	ReasonApplyFailed               = "ApplyFailed"
	ReasonInventoryTooLarge         = "InventoryTooLarge"
	ReasonInventoryUnreadable       = "InventoryUnreadable"
	ReasonTooMuchToPrune            = "TooMuchToPrune"
	ReasonNothingBuilt              = "NothingBuilt"
	ReasonTargetNamespaceNotAllowed = "TargetNamespaceNotAllowed"
	ReasonAccessDenied              = "AccessDenied"
	ReasonServiceAccountNotFound    = "ServiceAccountNotFound"
	ReasonKubeConfigInvalid         = "KubeConfigInvalid"
	ReasonClusterUnreachable        = "ClusterUnreachable"
	ReasonClusterChanged            = "ClusterChanged"
	ReasonDependencyNotReady        = "DependencyNotReady"
	ReasonDependencyCycle           = "DependencyCycle"
	ReasonReportConflict            = "ReportConflict"
	ReasonWaitingForBranch          = "WaitingForBranch"
	ReasonNothingSelected           = "NothingSelected"
	ReasonWaitingForWorkspaces      = "WaitingForWorkspaces"
	ReasonWaitingForFlux            = "WaitingForFlux"
	ReasonWorkspacesFailed          = "WorkspacesFailed"
	ReasonSigningFailed             = "SigningFailed"
	ReasonReportFailed              = "ReportFailed"
	ReasonClusterNameMissing        = "ClusterNameMissing"
)
