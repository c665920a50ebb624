// SPDX-License-Identifier: Apache-2.0

// Package pool decides what happens next to a GPUNodePool: which candidate is
// tried, when it is given up, when the nodes can be used, what is deleted. It is
// a level-triggered state machine: facts in, one decision out, with no memory
// beside the object's status, so that a controller killed anywhere goes on where
// it was.
//
// It never talks to a cloud or a cluster and never reads a clock: providers
// (gpu/aks, gpu/karpenter, gpu/existing) observe and act, reconciler/nodepool carries facts and
// decisions between them.
package pool

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Provider is where nodes come from. It neither blocks for long nor remembers
// anything that a restart would miss. Errors that the provider understands are,
// or wrap, a *Failure.
type Provider interface {
	// Observe reads what is there. It changes nothing.
	Observe(ctx context.Context, t Target) (Observation, error)
	// Ensure creates the nodes, changes their number or what can be changed of
	// them in place: at most one mutation.
	Ensure(ctx context.Context, t Target) (Step, error)
	// Delete deletes the target if it is ours: at most one mutation.
	Delete(ctx context.Context, t Target) (Step, error)
}

// Target is one attempt of a pool at its nodes, as it is wanted.
type Target struct {
	Namespace, Name string // of the GPUNodePool
	UID             string // of the GPUNodePool
	Installation    string // of Espalier; pools of another installation are never touched
	PoolName        string // in the cloud, see Name; empty: none was recorded yet
	Attempt         int32
	Candidate       v1alpha1.Candidate
	Candidates      []v1alpha1.Candidate // of the spec, in order
	Replicas        int32
	NodeLabels      map[string]string // the spec's; the provider adds its own
	NodeClass       *v1alpha1.NodeClassReference
	OSDiskSizeGiB   int32
	AKS             *v1alpha1.AKSSpec
	Karpenter       *v1alpha1.KarpenterSpec
	ByPods          bool   // the provider makes nodes as pods wait for them
	Lanes           []Lane // which of them may grow how far: those that are not named go
	Waiting         bool   // pods wait for nodes: what is said of them is worth a request
	Deleting        bool   // the GPUNodePool is being deleted
	Orphan          bool   // Delete lets the nodes go and deletes none
	Mend            bool   // nodes are missing: order as many once more
	Shrink          bool   // there are more nodes than Replicas: some go
	// Replace is the node whose machine goes, whatever runs on it, because it does not
	// answer; empty: none does.
	Replace string
	// Remove names the nodes that may go where Replicas is less than there are:
	// nothing runs on them. Registered names every node that has joined, so that
	// machines that never did are told from them.
	Remove, Registered []string
	// MaxAge is how old an observation may be; 0 asks the cloud now.
	MaxAge time.Duration
}

// State is what the cloud says of a pool, reduced to what decisions need.
type State string

// Values of State. What a provider does not know counts as StateRunning.
const (
	StateRunning   State = "Running"   // an operation is under way
	StateSucceeded State = "Succeeded" // nothing is under way, the last operation succeeded
	StateFailed    State = "Failed"    // nothing is under way, the last operation failed
	StateDeleting  State = "Deleting"
)

// Observation is what is there.
type Observation struct {
	// Held says that objects of the target keep a finalizer of ours, which has to
	// go before the nodes can be left to themselves.
	Held bool
	// External nodes exist without us: nothing is created or deleted.
	External bool
	// Exists says that the cloud has a pool of the target's name, and Owned that
	// it is ours; NotOwned says why it is not.
	Exists, Owned bool
	NotOwned      string
	State         State
	// Failure is why the state is StateFailed, if the cloud says so.
	Failure *Failure
	// Detail is what the provider can say of an operation under way, in a sentence
	// of the cloud's words; it holds no clock.
	Detail string
	// Short says that nodes are missing which can be ordered while others are still
	// on their way: the provider makes nodes one by one.
	Short bool
	// Count is the number of nodes that the cloud has or makes.
	Count int32
	// Autoscaled says that the cloud's own autoscaler decides on Count.
	Autoscaled bool
	// Lanes are those that there are, of a pool whose nodes pods bring.
	Lanes []Lane
	// NodeSelector selects the pool's Kubernetes nodes.
	NodeSelector map[string]string
	// Drift names what differs from the target and cannot be changed in place, and
	// Behind what differs and can, beside Count: Ensure sees to it.
	Drift, Behind []string
	// Leftovers are other pools of ours for the same object.
	Leftovers []Leftover
	// Fresh says that absence was asked of the cloud now, not of a cache.
	Fresh bool
}

// Leftover is a pool in the cloud that carries the marks of the object but is
// not the attempt in its status.
type Leftover struct {
	Name         string
	Attempt      int32
	Candidate    v1alpha1.Candidate
	State        State
	NodeSelector map[string]string
}

// Step is what Ensure or Delete did.
type Step string

// Values of Step.
const (
	StepNone    Step = ""        // nothing was to do
	StepCreated Step = "Created" // the cloud took the order
	StepPartial Step = "Partial" // one of several mutations was made, the next can follow at once
	StepScaled  Step = "Scaled"
	StepUpdated Step = "Updated" // the cloud took other settings of nodes that stay
	StepDeleted Step = "Deleted" // deleting has begun
	StepGone    Step = "Gone"    // a live look found nothing to delete
)

// Size is what the state machine needs to know of an instance type.
type Size struct {
	GPUs   int    // nvidia.com/gpu that one node offers
	Family string // quota family, in the catalogue's spelling
	VCPUs  int    // of one node; 0: not known
	// DiskGiB is the largest disk of one node; 0: not known.
	DiskGiB float64
	// Slices are how many GPUs a node offers by the MIG profile, such as MIG3g, that
	// its GPUs are cut into; without an entry they cannot be.
	Slices    map[string]int
	MemoryMiB int64 // of one GPU, as its driver reports it; 0: not known
}

// Catalog looks an instance type up; false: not known.
type Catalog func(instanceType string) (Size, bool)

// nameLength is the number of base32 digits in a pool name: 50 bits. With the
// leading letter it makes 11 characters, the most that all AKS pages agree on.
const nameLength = 10

// Name is the name, in the cloud, of an attempt at a pool. It holds no clock and
// no random part: whoever knows the object can compute it again, which is what
// makes creating idempotent.
func Name(installation, uid string, attempt int32) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", installation, uid, attempt))
	return "g" + strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:nameLength]
}
