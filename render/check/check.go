// SPDX-License-Identifier: Apache-2.0

// Package check says everything that a catalogue knows about a Workspace before
// anyone pays: whether the model and the sizes exist, whether it fits, whether
// the driver runs the image, what it costs and whether that is within budget.
//
// It is a pure function over embedded data: the pull request, `espalier
// validate` and the controller call it and get the same answer. It never asks a
// cluster, a clock or a network, and repeats nothing that
// repolayout.ValidateWorkspace finds.
package check

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render/settings"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Codes of findings. They are stable: scripts and forges match on them.
const (
	UnknownModel          = "UnknownModel"
	UnknownInstanceType   = "UnknownInstanceType"
	UnknownRuntime        = "UnknownRuntime"
	InstanceTypeRetired   = "InstanceTypeRetired"
	DoesNotFit            = "DoesNotFit"
	FitUnknown            = "FitUnknown"   // a fact is missing: nobody can say whether it fits
	PodNotJudged          = "PodNotJudged" // warning: a pod of the user's own, of which nobody knows whether it fits
	FitTight              = "FitTight"     // warning: it fits within the margin of the estimate
	NotTunable            = "NotTunable"
	NodesUnsupported      = "NodesUnsupported" // fewer nodes than the copies take, or than a run is spread over
	ClaimNotShared        = "ClaimNotShared"   // a claim that pods on several nodes cannot all mount; a warning where that is not known
	BudgetExceeded        = "BudgetExceeded"
	BudgetIdle            = "BudgetIdle"     // warning: a limit of an hour on nodes that others share
	BudgetTooSmall        = "BudgetTooSmall" // warning: the timeout would let a run cost more than it may
	PriceUnknown          = "PriceUnknown"
	ModelRevisionUnpinned = "ModelRevisionUnpinned" // warning
	ModelInCatalogue      = "ModelInCatalogue"      // warning: a lock file for a model that needs none
	LockInvalid           = "LockInvalid"           // the lock file is none, or of another model
	ModelGated            = "ModelGated"
	CacheTooSmall         = "CacheTooSmall"       // a volume that has no room for the weights
	CheckpointsTooSmall   = "CheckpointsTooSmall" // a volume that has no room for the run
	ZoneLocked            = "ZoneLocked"          // a volume that nodes of other zones cannot mount; a warning while it is not there
	ZoneUnknown           = "ZoneUnknown"         // warning: nobody here knows whether they can
	CacheShared           = "CacheShared"         // a claim that pods on several nodes cannot write; a warning where its modes are not known
	WeightsShared         = "WeightsShared"       // a claim of weights that pods on several nodes cannot all mount; a warning where its modes are not known
	WeightsUnpinned       = "WeightsUnpinned"     // warning: nothing says which version of the weights is served
	RemoteCode            = "RemoteCode"          // warning: code of the model repository runs; an error where it is not pinned
	ConfigInvalid         = settings.ConfigInvalid
	ConfigIgnored         = settings.ConfigIgnored // warning
	InputMissing          = finding.InputMissing   // something the spec names is not there
	InputInvalid          = "InputInvalid"
	NameTaken             = "NameTaken"            // an adapter with the name of the model
	QueueGPUs             = "QueueGPUs"            // warning: a candidate with other GPUs than the run is queued for
	NodesDiffer           = "NodesDiffer"          // warning: a candidate that needs another number of nodes
	PodsDiffer            = "PodsDiffer"           // a candidate of a pool that Karpenter fills whose nodes take other pods; an error where it is the first
	PoolTooSmall          = "PoolTooSmall"         // warning: a shared pool with fewer GPUs than the Workspaces want that name it
	NodesIdle             = "NodesIdle"            // warning: more nodes than the task uses
	AutoscaleUnsupported  = "AutoscaleUnsupported" // copies that no autoscaler can count
	ContextUnbounded      = "ContextUnbounded"     // warning: an engine that takes requests which do not fit
	AdapterFormat         = "AdapterFormat"        // warning: an adapter that an older PEFT may not read
	ResumesNothing        = "ResumesNothing"       // warning: a trainer that writes no checkpoint
)

// Facts are what a check needs beside the Workspace. Nil and zero mean none.
type Facts struct {
	// ConfigMaps is the data of the ConfigMaps that the spec names, by name;
	// others are not looked at. One that is absent is missing.
	ConfigMaps map[string]map[string]string
	// Region for prices; "": the cheapest of each size.
	Region string
	// Resolved is what the Workspace resolved to before. It is kept while the
	// digest holds, so that an upgrade of Espalier moves nothing.
	Resolved *v1alpha1.Resolved
	// DriverUnseen says that the nodes were not seen yet to have a driver as new as Git says:
	// what runs keeps the image that was chosen for the one before.
	DriverUnseen bool
	// ClaimModes are the access modes of the claims that pods on several nodes may
	// have to mount (WorkspaceSpec.SharedClaims), by name; absent: not known.
	ClaimModes map[string][]string
	// StorageClass is the installation's for claims that name none; "": the
	// cluster's default.
	StorageClass string
	// ClaimZones are the zones whose nodes can mount the checkpoints that are
	// there, or the claim of the weights, "" standing for nodes without a zone; nil:
	// all, or nothing is there.
	ClaimZones []string
	// VolumeZones are the zones whose nodes can mount the claims of the user's that
	// are there, by name, "" standing for nodes without a zone; absent: all, or not
	// known.
	VolumeZones map[string][]string
	// Provider of the nodes of Workspaces that name none, of the installation.
	Provider v1alpha1.Provider
	// Pool is the spec of the GPUNodePool that spec.resource.nodePool names;
	// nil: none, or missing.
	Pool *v1alpha1.GPUNodePoolSpec
	// PoolAbsent ends the sentence on a pool that is missing, where more is known of it
	// than that; "": that it is not there.
	PoolAbsent string
}

// Candidate is one way to get the nodes, judged.
type Candidate struct {
	v1alpha1.Candidate
	Instance sku.Instance
	Fit      fit.Report
	// Nodes to provision for all copies, nodes of one copy, and GPUs that one pod
	// takes. A copy has a pod on each of its nodes. Of a service that scales by
	// itself Nodes are for the most copies, and LeastNodes for the fewest; of
	// others they are the same.
	Nodes, LeastNodes, CopyNodes, PodGPUs int
	// Price of an hour of all Nodes; of spot nodes the list price where no spot
	// price is published, which is then an upper bound. Not Known for a shared pool.
	Price price.Price
	// LeastPrice is the same of LeastNodes.
	LeastPrice price.Price
	// Exist says that the nodes are there whoever uses them: they have no price here.
	Exist bool
	// Findings on the candidate; Refused says that one of them rules it out.
	// They are warnings while another candidate can be used.
	Findings []v1alpha1.Finding
	Refused  bool
	// Unjudged says that nobody knows whether the task fits: it runs a pod of the
	// user's own.
	Unjudged bool
}

// Usable says whether the candidate can be bought, and the task fits it as far as
// anybody knows.
func (c Candidate) Usable() bool { return (c.Fit.Works() || c.Unjudged) && !c.Refused }

// Assessment is everything found on a Workspace.
type Assessment struct {
	// Findings on the Workspace and its candidates, in the order of the file.
	Findings []v1alpha1.Finding
	// Candidates in the order of the spec, all of them.
	Candidates []Candidate
	Preset     presets.Preset
	Runtime    runtimes.Runtime
	// Resolved is what the names in the spec stand for: kept, or resolved anew.
	Resolved v1alpha1.Resolved
	// Serving and Training are the configuration, with defaults; one is set.
	Serving  settings.Serving
	Training settings.Training
	// DataFiles are the files of training data from ConfigMaps and Secrets, by the
	// names that they get; nil where not all of them are known.
	DataFiles []string
	// scales says that the number of copies follows the load.
	scales bool
	// Pod is the template of a pod of the user's own; nil where the task runs a model.
	Pod *corev1.PodTemplateSpec
	// Pool is the spec of the shared node pool, nil when the Workspace has its own.
	Pool *v1alpha1.GPUNodePoolSpec
}

// Usable lists the candidates that can be bought and fit, in order.
func (a Assessment) Usable() []Candidate {
	var usable []Candidate
	for _, c := range a.Candidates {
		if c.Usable() {
			usable = append(usable, c)
		}
	}
	return usable
}

// Refused says whether nothing may be provisioned or run.
func (a Assessment) Refused() bool { return finding.Refused(a.Findings) || len(a.Usable()) == 0 }

// Status is the sizing of one candidate, by its index in Candidates; of the
// first that is usable, else the first, when there is no such index. Of a service
// that scales by itself it is for the fewest copies, beside the most.
func (a Assessment) Status(chosen int) v1alpha1.SizingStatus {
	if chosen < 0 || chosen >= len(a.Candidates) {
		chosen = max(0, slices.IndexFunc(a.Candidates, Candidate.Usable))
	}
	if chosen >= len(a.Candidates) {
		return v1alpha1.SizingStatus{Verdict: v1alpha1.Unknown, Message: firstMessage(a.Findings)}
	}
	c := a.Candidates[chosen]
	s := v1alpha1.SizingStatus{
		Verdict: c.Fit.Verdict, Message: c.Fit.Sum(), InstanceType: c.InstanceType, Nodes: int32(min(c.Nodes, math.MaxInt32)), //nolint:gosec // bounded by min
	}
	if s.Verdict == "" {
		s.Verdict = v1alpha1.Unknown
	}
	if c.Unjudged {
		s.Message = unjudged
	}
	if !c.Usable() {
		s.Message = firstMessage(append(slices.Clone(c.Findings), a.Findings...))
	}
	switch {
	case c.Exist:
		s.USDPerHour = price.Plain(0)
	case c.Price.Known:
		s.USDPerHour, s.PriceDate = price.Plain(c.Price.USD), c.Price.Date
	}
	if a.scales {
		s.MaxNodes, s.MaxUSDPerHour = s.Nodes, s.USDPerHour
		c.sized(&s, c.LeastNodes)
	}
	return s
}

func firstMessage(findings []v1alpha1.Finding) string {
	for _, f := range findings {
		if f.Severity == finding.Error {
			return f.Message
		}
	}
	return ""
}

// Workspace checks a Workspace. pos says where its fields were written; nil:
// findings carry no line.
func Workspace(w *v1alpha1.Workspace, f Facts, pos repolayout.Position) Assessment {
	return assess(&checker{workspace: w, facts: f, pos: pos})
}

func assess(c *checker) Assessment {
	spec := c.workspace.Spec
	c.out = Assessment{Pool: c.facts.Pool, scales: spec.Inference != nil && spec.Inference.Autoscale != nil}
	c.ownPod()
	c.account()
	c.model()
	c.runtime()
	c.configuration()
	c.evaluation()
	c.provider()
	c.drivers()
	if c.out.Pod != nil {
		c.candidates()
	}
	if c.known {
		c.served()
		c.overModel()
		c.revision()
		c.remoteCode()
		c.cacheSize()
		c.weightsPlace()
		c.performanceMode()
		c.adapters()
		c.data()
		c.trainer()
		c.checkpoints()
		c.candidates()
		c.zones()
	}
	for i := range c.out.Candidates {
		c.out.Findings = append(c.out.Findings, c.out.Candidates[i].Findings...)
	}
	finding.Sort(c.out.Findings)
	c.out.Findings = slices.Compact(c.out.Findings) // what holds for every candidate is said once
	return c.out
}

// checker is one check under way.
type checker struct {
	workspace *v1alpha1.Workspace
	facts     Facts
	pos       repolayout.Position
	known     bool            // the model is in the catalogue, or its lock file is whole
	trial     bool            // it is asked whether another size would do
	advised   map[string]bool // the clouds of which it was said what works
	out       Assessment
}

func (c *checker) place(p finding.Problem) v1alpha1.Finding {
	object := v1alpha1.WorkspaceKind + "/" + c.workspace.Name
	if c.workspace.Namespace != "" {
		object = v1alpha1.WorkspaceKind + "/" + c.workspace.Namespace + "/" + c.workspace.Name
	}
	p.Field = kaito.Spelling(c.workspace, p.Field)
	return p.At(c.pos, object)
}

func (c *checker) refuse(code, field, format string, args ...any) {
	c.out.Findings = append(c.out.Findings, c.place(finding.Errorf(code, field, format, args...)))
}

func (c *checker) warn(code, field, format string, args ...any) {
	c.out.Findings = append(c.out.Findings, c.place(finding.Warningf(code, field, format, args...)))
}

// task is the part of the spec that has the model, "spec.inference" or "spec.tuning".
func (c *checker) task() string {
	if c.workspace.Spec.Tuning != nil {
		return "spec.tuning"
	}
	return "spec.inference"
}
