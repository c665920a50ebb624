// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Class says what kind of failure it was, and so what helps.
type Class string

// Values of Class. They are reasons of conditions, so they are API.
const (
	ClassBusy             Class = "ClusterBusy"          // another operation is under way
	ClassPrecondition     Class = "PreconditionFailed"   // the pool changed under us: look again
	ClassThrottled        Class = "Throttled"            // too many requests
	ClassFamilyQuota      Class = "FamilyQuota"          // quota of the size's family
	ClassRegionQuota      Class = "RegionQuota"          // quota of the region
	ClassSpotQuota        Class = "SpotQuota"            // quota of spot cores
	ClassSKU              Class = "SKUNotAvailable"      // the size is not offered now
	ClassSKUSubscription  Class = "SKUNotAllowed"        // the size is not offered to this subscription
	ClassZonalCapacity    Class = "ZonalCapacity"        // no machines in the zone
	ClassCapacity         Class = "Capacity"             // no machines in the region
	ClassSubnet           Class = "SubnetFull"           // no addresses
	ClassAuth             Class = "NotAuthorized"        // permission or policy
	ClassSignIn           Class = "SignInFailed"         // no credential, or one that the cloud refuses
	ClassPoolLimit        Class = "NodePoolLimit"        // the cluster has as many node pools as it can
	ClassSpec             Class = "InvalidSpec"          // the cloud refuses what is asked
	ClassTransient        Class = "Transient"            // the cloud's own trouble, or the network's
	ClassUnknown          Class = "Unknown"              // not in the table: kept with its text
	ClassOwnership        Class = "OwnershipLost"        // the pool is not ours
	ClassProvisionTimeout Class = "ProvisionTimeout"     // nodes did not join in time
	ClassGPUTimeout       Class = "GPUTimeout"           // GPUs did not become allocatable in time
	ClassFailed           Class = "ProvisioningFailed"   // the cloud failed on the way, for no reason in the table
	ClassUnsupported      Class = "ProviderNotSupported" // this controller has no such provider
	ClassCandidate        Class = "CandidateRefused"     // the provider cannot make nodes of this candidate
	ClassPrerequisite     Class = "PrerequisiteMissing"  // something of the cluster that the provider needs is not there
	ClassConflict         Class = "FieldConflict"        // another manager has set a field of what is ours
)

// Failure is an error of the cloud, understood. Text is the cloud's own words in
// one line; it holds no credential and no signed URL.
type Failure struct {
	Class      Class
	Code       string        // the cloud's error code
	Text       string        // the cloud's text, one line, at most MaxText bytes
	RetryAfter time.Duration // as the cloud asked; 0: it did not say
	Quota      *Quota        // the numbers of a quota failure, where the text has them
}

// MaxText bounds the text of a failure in a status or condition, in bytes.
const MaxText = 400

// Quota is the numbers of a quota failure, in vCPUs.
type Quota struct {
	Family, Region string
	Limit, Used    int // both 0 and Partial where the cloud said only what is left
	Left, Needed   int
	Partial        bool
	Link           string // where to ask for more
}

// Error makes a Failure an error.
func (f *Failure) Error() string {
	if f.Code == "" {
		return fmt.Sprintf("%s: %s", f.Class, f.Text)
	}
	return fmt.Sprintf("%s: %s: %s", f.Class, f.Code, f.Text)
}

// scope is which candidates a failure rules out.
type scope int

const (
	scopeNone        scope = iota // the candidate is kept
	scopePool                     // every candidate: another size does not help
	scopeCandidate                // this size at this priority
	scopeSize                     // this size at any priority
	scopeCapacity                 // this size; a spot failure says nothing of on demand
	scopeZones                    // as scopeCapacity, in these zones
	scopeFamily                   // sizes of this family at this priority
	scopeAllPriority              // every size at this priority
)

// rule is one row of the error table: how far and how long a failure rules
// candidates out, whether a person has to act, what they can do, and, of a
// quota, what they can do instead of asking for more of it.
type rule struct {
	scope   scope
	skip    time.Duration
	action  bool
	next    string
	instead string
}

// specSkip is how long a refused spec rests if its generation stays: a new
// generation clears it at once.
const specSkip = 24 * time.Hour

// rules is the error map. Times are those of the Karpenter provider for Azure;
// where it skips both priorities after a spot allocation failure, on demand is
// still tried here, because falling back to it is what ordered candidates are for.
var rules = map[Class]rule{
	ClassBusy:             {next: "it is tried again when that operation is over"},
	ClassPrecondition:     {next: "the pool is read again"},
	ClassThrottled:        {next: "it is tried again when the cloud allows"},
	ClassFamilyQuota:      {scope: scopeFamily, skip: 10 * time.Minute, action: true, next: "ask for more quota of the family", instead: "add a candidate of another family"},
	ClassRegionQuota:      {scope: scopeAllPriority, skip: 10 * time.Minute, action: true, next: "ask for more regional vCPU quota", instead: "add a spot candidate"},
	ClassSpotQuota:        {scope: scopeAllPriority, skip: time.Hour, action: true, next: "ask for more spot vCPU quota", instead: "add an on-demand candidate"},
	ClassSKU:              {scope: scopeCandidate, skip: 23 * time.Hour, next: "add a candidate of another size"},
	ClassSKUSubscription:  {scope: scopeSize, skip: 23 * time.Hour, action: true, next: "ask for the size to be enabled for the subscription, or add a candidate of another size"},
	ClassZonalCapacity:    {scope: scopeZones, skip: time.Hour, next: "add a candidate in other zones or of another size"},
	ClassCapacity:         {scope: scopeCapacity, skip: time.Hour, next: "add a candidate of another size"},
	ClassSubnet:           {scope: scopePool, skip: 10 * time.Minute, action: true, next: "free addresses of the subnet or enlarge it: another size does not help"},
	ClassAuth:             {scope: scopePool, skip: 10 * time.Minute, action: true, next: "give the controller's identity the permission, or change the policy"},
	ClassSignIn:           {scope: scopePool, skip: 2 * time.Minute, action: true, next: "it is tried again"},
	ClassPoolLimit:        {scope: scopePool, skip: 10 * time.Minute, action: true, next: "delete a node pool that nothing needs, or let Workspaces share one by spec.resource.nodePool"},
	ClassSpec:             {scope: scopePool, skip: specSkip, action: true, next: "change the spec"},
	ClassTransient:        {next: "it is tried again"},
	ClassUnknown:          {next: "it is tried again"},
	ClassOwnership:        {action: true, next: "nothing is written until a person decides"},
	ClassProvisionTimeout: {scope: scopeCandidate, skip: time.Hour, next: "add a candidate of another size, or raise timeouts.provision"},
	ClassGPUTimeout:       {scope: scopeCandidate, skip: time.Hour, next: "check that the GPU device plugin runs on the nodes and tolerates their taints"},
	ClassFailed:           {scope: scopeCandidate, skip: 10 * time.Minute, next: "it is tried again after a pause"},
	ClassPrerequisite:     {scope: scopePool, skip: 2 * time.Minute, action: true, next: "it is looked for again"},
	ClassCandidate:        {scope: scopeZones, skip: specSkip, action: true, next: "change the candidate, or add another"},
	ClassConflict:         {skip: 2 * time.Minute, action: true, next: "take the change back there: nothing is taken over by force"},
	ClassUnsupported:      {scope: scopePool, skip: specSkip, action: true, next: "start the controller with the provider's settings"},
}

// NeedsAction says whether waiting cannot help, so that a person has to act.
func (c Class) NeedsAction() bool { return rules[c].action }

// KeepsCandidate says whether the candidate is tried again after a failure.
func (c Class) KeepsCandidate() bool { return rules[c].scope == scopeNone }

// Rest is how long a failure of candidate c rules it out.
func (f *Failure) Rest(c v1alpha1.Candidate) time.Duration {
	switch {
	case f.Class == ClassSKU && priority(c) == v1alpha1.Spot:
		return time.Hour // spot offers come and go
	case f.Class == ClassFamilyQuota && f.Quota != nil && f.Quota.Limit == 0 && !f.Quota.Partial:
		return time.Hour // no quota at all: somebody has to ask for it first
	}
	return rules[f.Class].skip
}

// Sentence says what happened and what helps, without a full stop.
func (f *Failure) Sentence() string {
	what, next := f.Text, rules[f.Class].next
	if f.Quota != nil {
		what = f.Quota.String()
		if f.Quota.Link != "" {
			next = "ask for more at " + f.Quota.Link
		}
	}
	if instead := rules[f.Class].instead; instead != "" {
		next += ", or " + instead
	}
	switch {
	case what == "" && f.Code == "":
		return next
	case what == "":
		what = f.Code
	}
	if next == "" {
		return what
	}
	return what + "; " + next
}

// String says the numbers of a quota.
func (q *Quota) String() string {
	where := ""
	if q.Region != "" {
		where = " in " + q.Region
	}
	if q.Partial {
		return fmt.Sprintf("Quota of %s%s has %d vCPUs left and %d are needed", q.Family, where, q.Left, q.Needed)
	}
	return fmt.Sprintf("Quota of %s%s is %d vCPUs, %d are used and %d more are needed", q.Family, where, q.Limit, q.Used, q.Needed)
}
