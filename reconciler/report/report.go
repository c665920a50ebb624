// SPDX-License-Identifier: Apache-2.0

// Package report turns the state of Workspaces into files that people and
// programs read in Git, and writes them to a status branch.
//
// Files is pure: the same state gives the same bytes, times come from conditions
// and never from a clock, and what does not exist is a dash or absent, never a
// value made up. Write commits only when the bytes differ, never forces, touches
// no path but those of a status branch, and leaves a branch alone that another
// installation, or a person, has made.
package report

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Snapshot is everything that a report is made of.
type Snapshot struct {
	// Cluster, and Namespace and Name of the RepoSync.
	Cluster, Namespace, Name string
	// Revision that was looked at last, branch@sha1:hash.
	Revision string
	// Workspaces in any order. They are only read.
	Workspaces []*v1alpha1.Workspace
	// Pools are the prices of the pools that Workspaces share, as PoolPrice says them.
	Pools map[types.NamespacedName]string
	// Findings on the files of that revision.
	Findings []v1alpha1.Finding
	// Stopped says why nothing of what was looked at last is applied, until somebody
	// changes something. Empty: nothing is in the way.
	Stopped string
	// Held says why nothing is deleted until a person approves. Empty: nothing is held.
	Held string
	// Approval is the value of espalier.dev/approve-prune that lets go what is held.
	Approval string
}

// Files renders a snapshot: the files of a status branch, path by content.
func Files(s Snapshot) map[string][]byte {
	files := map[string][]byte{}
	for name, file := range new(Memory).Draft(s).Report().files() {
		files[name] = file.Content()
	}
	return files
}

func textOf(w *v1alpha1.Workspace) []byte { return encode(newDocument(w)) }

func badgeOf(w *v1alpha1.Workspace) []byte { return badge(w.Name, StateOf(w)) }

// document is the file of one Workspace. Fields are added, never renamed: scripts
// read them.
type document struct {
	Name       string      `yaml:"name"`
	Namespace  string      `yaml:"namespace"`
	Task       string      `yaml:"task"`             // inference or tuning
	Preset     string      `yaml:"preset,omitempty"` // as the spec names it
	Revision   string      `yaml:"revision,omitempty"`
	State      State       `yaml:"state"`
	Instance   string      `yaml:"instance,omitempty"`
	NodePool   string      `yaml:"nodePool,omitempty"`
	USDPerHour string      `yaml:"usdPerHour,omitempty"` // list price of the nodes it holds now
	Sizing     *sizing     `yaml:"sizing,omitempty"`
	Resolved   *resolved   `yaml:"resolved,omitempty"`
	Inference  *inference  `yaml:"inference,omitempty"`
	Tuning     *tuning     `yaml:"tuning,omitempty"`
	Conditions []condition `yaml:"conditions,omitempty"`
}

type sizing struct {
	Verdict      string `yaml:"verdict"`
	Message      string `yaml:"message,omitempty"`
	InstanceType string `yaml:"instanceType,omitempty"`
	Nodes        int32  `yaml:"nodes,omitempty"`
	USDPerHour   string `yaml:"usdPerHour,omitempty"` // while its nodes run
	PriceDate    string `yaml:"priceDate,omitempty"`
}

type resolved struct {
	Model         string `yaml:"model,omitempty"` // repository id
	ModelRevision string `yaml:"modelRevision,omitempty"`
	Runtime       string `yaml:"runtime,omitempty"`
	Version       string `yaml:"version,omitempty"`
	Image         string `yaml:"image,omitempty"`
}

type inference struct {
	Endpoint string   `yaml:"endpoint,omitempty"`
	Models   []string `yaml:"models,omitempty"`
}

type tuning struct {
	Run        string `yaml:"run,omitempty"`
	Digest     string `yaml:"digest,omitempty"`
	Attempts   int32  `yaml:"attempts,omitempty"`
	StartedAt  string `yaml:"startedAt,omitempty"`
	FinishedAt string `yaml:"finishedAt,omitempty"`
	Adapter    string `yaml:"adapter,omitempty"`
	SpentUSD   string `yaml:"spentUSD,omitempty"` // list price, until its nodes last changed

	Evaluation *evaluation `yaml:"evaluation,omitempty"`
}

type evaluation struct {
	LossBefore string  `yaml:"lossBefore,omitempty"` // of the base model on held-out rows
	LossAfter  string  `yaml:"lossAfter,omitempty"`
	Tasks      []score `yaml:"tasks,omitempty"`
	Withheld   bool    `yaml:"withheld,omitempty"` // the adapter is not published for these numbers
}

type score struct {
	Name   string `yaml:"name"`
	Metric string `yaml:"metric"`
	Before string `yaml:"before"`
	After  string `yaml:"after"`
}

type condition struct {
	Type    string `yaml:"type"`
	Status  string `yaml:"status"`
	Reason  string `yaml:"reason,omitempty"`
	Message string `yaml:"message,omitempty"`
	Since   string `yaml:"since,omitempty"`
}

func newDocument(w *v1alpha1.Workspace) document {
	status := &w.Status
	d := document{
		Name: w.Name, Namespace: w.Namespace, Task: task(w), Preset: plain(preset(w)),
		Revision: plain(status.Revision), State: StateOf(w),
		Instance: plain(status.Instance), NodePool: plain(status.NodePool),
	}
	if holdsNodes(w) && status.Sizing != nil {
		d.USDPerHour = plain(status.Sizing.USDPerHour)
	}
	if s := status.Sizing; s != nil {
		d.Sizing = &sizing{
			Verdict: plain(string(s.Verdict)), Message: plain(s.Message), InstanceType: plain(s.InstanceType),
			Nodes: s.Nodes, USDPerHour: plain(s.USDPerHour), PriceDate: plain(s.PriceDate),
		}
	}
	if r := status.Resolved; r != nil {
		d.Resolved = &resolved{
			Model: plain(r.Preset), ModelRevision: plain(r.ModelRevision),
			Runtime: plain(r.Runtime), Version: plain(r.Version), Image: plain(r.Image),
		}
	}
	if i := status.Inference; i != nil {
		d.Inference = &inference{Endpoint: plain(i.Endpoint)}
		for _, m := range i.Models {
			d.Inference.Models = append(d.Inference.Models, plain(m))
		}
	}
	if t := status.Tuning; t != nil {
		d.Tuning = &tuning{
			Run: plain(t.Run), Digest: plain(t.Digest), Attempts: t.Attempts, Adapter: plain(t.Adapter), SpentUSD: plain(t.SpentUSD),
			Evaluation: evaluationOf(t.Evaluation),
			StartedAt:  stamp(t.StartedAt), FinishedAt: stamp(t.FinishedAt),
		}
	}
	for _, c := range status.Conditions {
		d.Conditions = append(d.Conditions, condition{
			Type: plain(c.Type), Status: plain(string(c.Status)), Reason: plain(c.Reason), Message: plain(c.Message), Since: stamp(&c.LastTransitionTime),
		})
	}
	slices.SortFunc(d.Conditions, func(a, b condition) int { return strings.Compare(a.Type, b.Type) })
	return d
}

// plain keeps what somebody wrote readable for people who look at the file.
// maxPlain bounds one value in a file for programs, in characters.
const maxPlain = 8192

func plain(s string) string { return markdown.Clean(s, maxPlain) }

func encode(v any) []byte {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	// The types above hold strings, numbers and lists of them: nothing that YAML
	// cannot say.
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}

func stamp(t *metav1.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

func task(w *v1alpha1.Workspace) string {
	switch {
	case w.Spec.Inference != nil:
		return "inference"
	case w.Spec.Tuning != nil:
		return "tuning"
	}
	return ""
}

func preset(w *v1alpha1.Workspace) string {
	if m := w.Spec.Model(); m != nil {
		return m.ModelName()
	}
	return ""
}

// State is where a Workspace stands, in one word.
type State string

// Values of State.
const (
	Ready       State = "Ready"       // served, or tuned
	Progressing State = "Progressing" // on its way
	Refused     State = "Refused"     // only a change in Git can help
	Failed      State = "Failed"      // it ran and did not succeed
	Suspended   State = "Suspended"   // stopped on request
	Deleting    State = "Deleting"    // dropped from Git, being taken down
)

// glyphs are characters that forges show in colour.
var glyphs = map[State]string{
	Ready: "✅", Progressing: "⏳", Refused: "⛔", Failed: "❌", Suspended: "⏸️", Deleting: "🗑️",
}

// Glyph is a character that forges show in colour, for a State.
func Glyph(s State) string { return glyphs[s] }

// failures are the reasons of a task that was tried, beside those of one that
// was refused.
var failures = []string{v1alpha1.ReasonJobFailed, v1alpha1.ReasonPodsNeverStarted, v1alpha1.ReasonBudgetSpent, v1alpha1.ReasonEvaluationFailed}

// StateOf derives the word from the conditions of a Workspace.
func StateOf(w *v1alpha1.Workspace) State {
	ready := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
	stalled := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionStalled)
	switch {
	case !w.DeletionTimestamp.IsZero():
		return Deleting
	case ready == nil, ready.ObservedGeneration != 0 && ready.ObservedGeneration < w.Generation:
		return Progressing // what is said is of an older spec
	case ready.Status == metav1.ConditionTrue:
		return Ready
	case ready.Reason == v1alpha1.ReasonSuspended:
		return Suspended
	case stalled != nil && stalled.Status == metav1.ConditionTrue && slices.Contains(failures, stalled.Reason):
		return Failed
	case stalled != nil && stalled.Status == metav1.ConditionTrue:
		return Refused
	}
	return Progressing
}

// holdsNodes says whether nodes are there, or on their way, for a Workspace: they
// are paid for from the moment the cloud has begun to make them.
func holdsNodes(w *v1alpha1.Workspace) bool {
	c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionResourceReady)
	if c == nil {
		return false
	}
	switch c.Reason {
	case v1alpha1.ReasonReleased, v1alpha1.ReasonSuspended, v1alpha1.ReasonRefused, v1alpha1.ReasonPodsNeverStarted, v1alpha1.ReasonBudgetSpent:
		return false
	}
	return c.Status == metav1.ConditionTrue || w.Status.Instance != ""
}
