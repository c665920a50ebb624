// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Codes of findings on a change. They are stable: scripts and forges match on them.
const (
	ModelChanged     = "ModelChanged"     // warning: a live service gets another model
	NodesReplaced    = "NodesReplaced"    // warning: on other nodes; the old ones go first
	Rerun            = "Rerun"            // warning: a tuning run begins anew, and is paid again
	OutputTagReused  = "OutputTagReused"  // warning: a run overwrites the tag that another has pushed
	ImmutableChanged = "ImmutableChanged" // the API server refuses the change
	WorkspaceDeleted = "WorkspaceDeleted" // warning: what is lost with it
	PoolDeleted      = "PoolDeleted"      // warning: shared nodes go
	RepoSyncDeleted  = "RepoSyncDeleted"  // warning: what goes, or is left, with the RepoSync
	InputDeleted     = "InputDeleted"     // warning: a claim and what is on it, or what a Workspace still names; else a note
	PruneHeld        = "PruneHeld"        // warning: deleting waits for a person
	ClaimGrows       = "ClaimGrows"       // warning: not every storage class lets a claim grow
	ProviderKept     = "ProviderKept"     // warning: nodes that are there stay with their provider
	QuotaShort       = "QuotaShort"       // warning: the cloud allows fewer machines than are needed
	RollStuck        = "RollStuck"        // warning: a rolling update needs GPUs that the pool does not have
)

// Codes of notes on what a plan does not know.
const (
	QuotaNotChecked = "QuotaNotChecked"
	// CapacityNotChecked: a quota is no machine.
	CapacityNotChecked = "CapacityNotChecked"
	ClusterNotAsked    = "ClusterNotAsked"     // Git is compared with Git
	PricesAreList      = "PricesAreList"       // what a price leaves out
	PoolNotBudgeted    = "PoolNotBudgeted"     // a default budget is not for what pools buy
	RunLengthUnknown   = "RunLengthUnknown"    // how long a tuning run takes
	InputNotInGit      = desired.InputNotInGit // a Secret, claim or ConfigMap that Git does not hold
	InputKept          = "InputKept"           // it is dropped, and stays in the cluster
	NotDecrypted       = finding.NotDecrypted  // a Secret that SOPS encrypted
	BaseBroken         = "BaseBroken"          // what base wants is known in part only
	HeadBroken         = "HeadBroken"          // what head wants is known in part only
	RepoSyncChanged    = "RepoSyncChanged"     // takes effect when somebody applies it
	AppliedByOthers    = "AppliedByOthers"     // the RepoSync only reports
	RepoSyncMissing    = "RepoSyncMissing"     // no path, substitutions or namespace
	TooManyChanges     = "TooManyChanges"      // more than are rendered
	CandidateNotKnown  = "CandidateNotKnown"   // which of several instance types was obtained
)
