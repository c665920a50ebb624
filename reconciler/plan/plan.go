// SPDX-License-Identifier: Apache-2.0

// Package plan says what becomes of a cluster when it goes from one revision of a
// repository to another: which Workspaces change and how, whether they fit, what
// they cost, what restarts, and what is lost.
//
// Effects are read off the objects that both revisions render to, not guessed
// from fields. The package is pure and deterministic: it imports no controller and
// no Git, and asks no cluster, cloud or clock. What it cannot know it says.
package plan

import (
	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Version is the apiVersion of the JSON and YAML form; docs/plan.md describes it.
// Fields are added to it and never change their meaning.
const Version = "plan.espalier.dev/v1alpha1"

// HoursPerMonth is what clouds bill an average month as.
const HoursPerMonth = 730

// Side is one of the two revisions, built and judged.
type Side struct {
	// Name is what was asked for: a branch, a tag, HEAD, worktree.
	Name string
	// Commit is the hash; empty for files that are in no commit.
	Commit string
	// Sync is the RepoSync that applies; nil where none is known.
	Sync *v1alpha1.RepoSync
	// SyncGone says, of head, that it no longer holds the RepoSync that base holds.
	SyncGone bool
	// SyncUnlisted says, of head, where in base kustomizations list the RepoSync, as
	// file:line, when none of head does any more.
	SyncUnlisted []string
	// SyncElse names, of head, the fields of the RepoSync that it changes and that
	// Sync has not taken over.
	SyncElse []string
	// State is what the revision wants.
	State desired.State
	// Quota is what the cloud listed, of head alone; nil: nobody asked it.
	Quota *quota.Snapshot
}

// Plan is the difference of two revisions.
type Plan struct {
	// APIVersion is Version; Kind is Plan.
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	// Base and Head are the revisions that were compared.
	Base Revision `json:"base"`
	Head Revision `json:"head"`
	// RepoSync is namespace/name of the one whose path and substitutions apply.
	RepoSync string `json:"repoSync,omitempty"`
	// Path is the folder of the repository that it syncs.
	Path string `json:"path,omitempty"`
	// Summary counts and adds up; Summary.Line is the sentence for people.
	Summary Summary `json:"summary"`
	// Changes are the Workspaces and GPUNodePools that change, the gravest first.
	Changes []Change `json:"changes"`
	// Findings on head, errors first, and what the change is about to do.
	Findings []Finding `json:"findings"`
	// NotChecked says what the plan does not know.
	NotChecked []Note `json:"notChecked"`
	// Refused says that head has an error, old or new.
	Refused bool `json:"refused"`
	// Partial says that Git does not hold everything that decides.
	Partial bool `json:"partial"`
}

// Revision names a revision.
type Revision struct {
	Name   string `json:"name"`
	Commit string `json:"commit,omitempty"`
}

// Summary is the plan in numbers.
type Summary struct {
	// Line is the one sentence.
	Line string `json:"line"`
	// New, Changed, Deleted and Unchanged count Workspaces, Deleted also those whose
	// deleting is held or which are kept; Moved those whose file
	// alone changed, which are among the unchanged.
	New       int `json:"new"`
	Changed   int `json:"changed"`
	Deleted   int `json:"deleted"`
	Unchanged int `json:"unchanged"`
	Moved     int `json:"moved"`
	// InputsDropped counts the Secrets, ConfigMaps and claims that head no longer
	// has, also those whose deleting is held or which are kept.
	InputsDropped int `json:"inputsDropped,omitempty"`
	// Restarts count services that go down for a while, Rolls those that roll
	// without downtime, Reruns tuning runs that begin anew.
	Restarts int `json:"restarts"`
	Rolls    int `json:"rolls"`
	Reruns   int `json:"reruns"`
	// Runs counts the tuning runs that begin, new and again, and RunsUSDPerHour adds
	// up the list price of their nodes while they run.
	Runs           int     `json:"runs"`
	RunsUSDPerHour float64 `json:"runsUSDPerHour"`
	// Verdict is the worst fit among what is new or changed; empty for none.
	Verdict v1alpha1.Verdict `json:"verdict,omitempty"`
	// Monthly is the list price of everything that runs on, services and declared
	// node pools; tuning runs end and are not in it.
	Monthly Monthly `json:"monthly"`
	// Errors and Warnings count the findings on head, KnownErrors those errors that
	// base has too; Fixed counts findings of base that head no longer has.
	Errors      int `json:"errors"`
	KnownErrors int `json:"knownErrors"`
	Warnings    int `json:"warnings"`
	Fixed       int `json:"fixed"`
}

// Monthly is money per month of HoursPerMonth hours, in USD.
type Monthly struct {
	Before float64 `json:"beforeUSD"`
	After  float64 `json:"afterUSD"`
	Delta  float64 `json:"deltaUSD"`
	// MostCopies says that something that changes scales by itself: the amounts are
	// those of its most copies.
	MostCopies bool `json:"mostCopies,omitempty"`
	// Unknown counts what changes and has no known price.
	Unknown int `json:"unknown"`
	// Dates (YYYY-MM-DD) that the prices were read on, in order.
	Dates []string `json:"dates,omitempty"`
}

// Change is what becomes of one Workspace or GPUNodePool.
type Change struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// Task is inference or tuning; empty for a pool.
	Task string `json:"task,omitempty"`
	// File and Line of the document, of head where it is there.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Words say what changes, in the order of the spec.
	Words []string `json:"changes"`
	// Fit is the verdict on head; nil where nothing is left to fit.
	Fit *Fit `json:"fit,omitempty"`
	// Price before and after.
	Price Price `json:"price"`
	// Quota of the cloud.
	Quota Quota `json:"quota"`
	// Driver says whether the driver of the nodes runs the image.
	Driver string `json:"driver,omitempty"`
	// Effect is what happens.
	Effect Effect `json:"effect"`
	// Diff of the rendered objects, in the unified form.
	Diff string `json:"diff,omitempty"`
}

// Fit is a verdict and its sum.
type Fit struct {
	Verdict v1alpha1.Verdict `json:"verdict"`
	// Sum shows the arithmetic, or why there is none.
	Sum string `json:"sum"`
	// InstanceType and Nodes that were judged; of a service that scales by itself
	// Nodes are for the fewest copies, MaxNodes for the most.
	InstanceType string `json:"instanceType,omitempty"`
	Nodes        int    `json:"nodes,omitempty"`
	MaxNodes     int    `json:"maxNodes,omitempty"`
	// Candidates is the number of instance types that would do, in order.
	Candidates int `json:"candidates,omitempty"`
}

// Price is money before and after; nil: nothing runs.
type Price struct {
	Before *Amount `json:"before,omitempty"`
	After  *Amount `json:"after,omitempty"`
	// Run is what a tuning run takes, in words.
	Run string `json:"run,omitempty"`
}

// Amount is a list price.
type Amount struct {
	USDPerHour float64 `json:"usdPerHour"`
	// USDPerMonth is for what runs on; zero for a tuning run, which ends.
	USDPerMonth float64 `json:"usdPerMonth,omitempty"`
	Known       bool    `json:"known"`
	// Text is the price for people, with its date and region.
	Text string `json:"text"`
	Date string `json:"date,omitempty"`
	// AtMost says that it costs less: a spot node, or a pool that lets unused nodes go.
	AtMost bool `json:"atMost,omitempty"`
	// Scales says that the number of copies follows the load: the amounts are those
	// of the most copies, LeastUSDPerHour and LeastUSDPerMonth those of the fewest.
	Scales           bool    `json:"scales,omitempty"`
	LeastUSDPerHour  float64 `json:"leastUSDPerHour,omitempty"`
	LeastUSDPerMonth float64 `json:"leastUSDPerMonth,omitempty"`
}

// Effect is what happens to what runs.
type Effect struct {
	Kind EffectKind `json:"kind"`
	// Downtime says that requests fail for a while.
	Downtime bool `json:"downtime"`
	// Message says it to people.
	Message string `json:"message"`
}

// EffectKind is a stable name of an effect.
type EffectKind string

// Effects, the gravest first; changes are listed in this order.
const (
	Refused    EffectKind = "refused"    // nothing of the change is applied; what runs, runs on
	Deleted    EffectKind = "deleted"    // it goes, with what is lost
	Held       EffectKind = "held"       // Git drops it, and a person must approve
	Waits      EffectKind = "waits"      // for an input that is not there; what runs, runs on
	Kept       EffectKind = "kept"       // Git drops it, and it stays all the same
	Replaced   EffectKind = "replaced"   // on other nodes, the old ones go first
	Restarted  EffectKind = "restarted"  // pods go before new ones come
	Reruns     EffectKind = "reruns"     // a tuning run begins anew
	Resumes    EffectKind = "resumes"    // a tuning run goes on from its last checkpoint
	Stops      EffectKind = "stops"      // suspended: pods go, nodes are given back
	Starts     EffectKind = "starts"     // no longer suspended
	Rolls      EffectKind = "rolls"      // pods are replaced one by one, without downtime
	Created    EffectKind = "created"    // it is new
	Scales     EffectKind = "scales"     // copies or nodes come or go
	Configured EffectKind = "configured" // updated in place, nothing restarts
	None       EffectKind = "none"       // nothing that runs changes
	// NotRendered says that too much changes at once to say what happens to each.
	NotRendered EffectKind = "notRendered"
)

var gravity = []EffectKind{
	Refused, Deleted, Held, NotRendered, Replaced, Restarted, Reruns, Resumes, Stops, Waits, Kept, Starts, Rolls, Created, Scales, Configured, None,
}

// Finding is a finding on head, or on what the change does.
type Finding struct {
	v1alpha1.Finding `json:",inline"`
	// InBase says that base has it too.
	InBase bool `json:"inBase"`
	// Fix is the line that mends it, where one alone does, for certain.
	Fix *v1alpha1.Fix `json:"fix,omitempty"`
}

// Note is something the plan does not know.
type Note struct {
	// Code is stable; Message says what is not known and why.
	Code    string `json:"code"`
	Message string `json:"message"`
}
