// SPDX-License-Identifier: Apache-2.0

// Package spoke carries what pull requests are told of Workspaces in another cluster,
// in the status of their RepoSync: the controller that watches that cluster writes it,
// and the process that answers pull requests, which holds the forge's token and no
// kubeconfig, reads it.
//
// It is pure. What a Workspace says comes from a cluster that is not trusted: only how it
// is counts, and that is bounded. What it is to be, and where that is written, Git says
// (docs/design/0078).
package spoke

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/reconciler/report"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of what a status carries.
const (
	// packedAtMost bytes become 256 KiB in an object, beside an inventory of 1 MiB, of
	// the 1.5 MiB that etcd takes.
	packedAtMost = 192 << 10
	// unpackedAtMost bytes are told of all Workspaces together, and read of a list.
	unpackedAtMost = 4 << 20
	// countAtMost Workspaces are told: one takes more memory than it has bytes in a list.
	countAtMost = 10_000
	// oneAtMost bytes are taken of one Workspace.
	oneAtMost = 2 << 10
	// step of a run's progress is told, in per cent.
	step = 10
)

// ErrTooMany is that what there is to tell does not fit into the status of one RepoSync.
var ErrTooMany = errors.New("what is to be told of them does not fit into the status of one RepoSync")

// Git is what Git says of a Workspace, as far as pull requests are told of it.
type Git struct {
	Spec   v1alpha1.WorkspaceSpec
	Source string // file and line
}

// GitOf takes of a Workspace of Git what Told needs.
func GitOf(w *v1alpha1.Workspace, source string) *Git {
	is := &Git{Source: source}
	if t := w.Spec.Tuning; t != nil {
		is.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: t.Output.Image}}
		if t.Promote != nil {
			is.Spec.Tuning.Promote = &v1alpha1.Promote{To: t.Promote.To}
		}
	}
	if s := w.Spec.Inference; s != nil {
		is.Spec.Inference = &v1alpha1.InferenceSpec{}
		for _, a := range s.Adapters {
			is.Spec.Inference.Adapters = append(is.Spec.Inference.Adapters, v1alpha1.Adapter{Name: a.Name, Image: a.Image})
		}
	}
	return is
}

// Seen is a Workspace of the other cluster.
type Seen struct {
	Live *v1alpha1.Workspace
	// Git is what Git says of it and was applied; nil where that is not known. What the
	// cluster says instead counts for nothing: it would choose what is proposed, and where.
	Git *Git
	// Behind is that Live is as it was before the last apply.
	Behind bool
}

// Memory is the list that was told last. Without it the list is written once more.
type Memory struct {
	list []byte
	told []v1alpha1.Workspace
}

// Told is what the status of a RepoSync carries of its Workspaces in another cluster;
// nil where nobody asks. What says the same as before stays as it is, and is not written
// again.
func (m *Memory) Told(s *v1alpha1.RepoSync, before *v1alpha1.SpokeStatus, all []Seen) (*v1alpha1.SpokeStatus, error) {
	if s.Spec.KubeConfig == nil || s.Spec.Review == nil {
		*m = Memory{}
		return nil, nil
	}
	is := &v1alpha1.SpokeStatus{All: s.Spec.Report != nil && s.Spec.Report.PullRequest}
	promoted := promotedOf(all)
	var told []v1alpha1.Workspace
	for _, w := range all {
		if !is.All && !promoted.concern(w) {
			continue
		}
		if is.Workspaces++; is.Workspaces > countAtMost {
			told = nil // nothing is told; that there are too many is
			continue
		}
		told = append(told, bounded(briefly(w, promoted)))
	}
	if m.same(before, is, told) {
		return before, nil
	}
	var err error
	if is.List, err = pack(told); err != nil {
		return nil, err
	}
	*m = Memory{list: is.List, told: told}
	return is, nil
}

// same says that the status has what was told last, and that there is nothing new.
func (m *Memory) same(before, is *v1alpha1.SpokeStatus, told []v1alpha1.Workspace) bool {
	return before != nil && before.All == is.All && before.Workspaces == is.Workspaces && bytes.Equal(before.List, m.list) &&
		len(m.told) == len(told) && sameButPace(m.told, told)
}

// promoted are the repositories of the adapters that are promoted, by the namespace/name
// of the service that they are for.
type promoted map[string]map[string]bool

func promotedOf(all []Seen) promoted {
	is := promoted{}
	for _, w := range all {
		if w.Git == nil || w.Git.Spec.Tuning == nil || w.Git.Spec.Tuning.Promote == nil {
			continue
		}
		to := w.Live.Namespace + "/" + w.Git.Spec.Tuning.Promote.To
		if is[to] == nil {
			is[to] = map[string]bool{}
		}
		is[to][repolayout.ImageRepository(w.Git.Spec.Tuning.Output.Image)] = true
	}
	return is
}

// concern says whether an adapter is promoted from or to a Workspace.
func (p promoted) concern(w Seen) bool {
	return p[w.Live.Namespace+"/"+w.Live.Name] != nil || w.Git != nil && w.Git.Spec.Tuning != nil && w.Git.Spec.Tuning.Promote != nil
}

// Workspaces are those that a status tells of, as far as it tells.
func Workspaces(s *v1alpha1.SpokeStatus) ([]v1alpha1.Workspace, error) {
	if s == nil || s.Workspaces == 0 {
		return nil, nil
	}
	if len(s.List) == 0 || s.Workspaces > countAtMost {
		return nil, ErrTooMany
	}
	all, err := unpack(s)
	if err != nil {
		return nil, fmt.Errorf("reading status.spoke: %w", err)
	}
	return all, nil
}

// unpack reads no more Workspaces than there are said to be: a byte of a list may
// become a thousand of memory.
func unpack(s *v1alpha1.SpokeStatus) ([]v1alpha1.Workspace, error) {
	r, err := gzip.NewReader(bytes.NewReader(s.List))
	if err != nil {
		return nil, err
	}
	var all []v1alpha1.Workspace
	d := json.NewDecoder(io.LimitReader(r, unpackedAtMost))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		if len(all) == s.Workspaces {
			return nil, fmt.Errorf("the list has more than %d Workspaces", s.Workspaces)
		}
		var w v1alpha1.Workspace
		if err := d.Decode(&w); err != nil {
			return nil, err
		}
		all = append(all, w)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	return all, nil
}

// pack is the list as it is stored, empty where it is too long.
func pack(told []v1alpha1.Workspace) ([]byte, error) {
	if len(told) == 0 {
		return nil, nil
	}
	text, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("packing what is told of Workspaces: %w", err)
	}
	if len(text) > unpackedAtMost {
		return nil, nil
	}
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing what is told of Workspaces: %w", err)
	}
	if packed.Len() > packedAtMost {
		return nil, nil
	}
	return packed.Bytes(), nil
}

// sameButPace says that there is no reason to write a status: the loss of a run, which is
// another one after each step, is none, nor is how long it still takes but for the words.
func sameButPace(was, is []v1alpha1.Workspace) bool {
	for i := range is {
		if remaining(&was[i]) != remaining(&is[i]) || !equality.Semantic.DeepEqual(still(was[i]), still(is[i])) {
			return false
		}
	}
	return true
}

func remaining(w *v1alpha1.Workspace) string {
	if w.Status.Tuning == nil || w.Status.Tuning.Progress == nil {
		return ""
	}
	return report.Remaining(w.Status.Tuning.Progress)
}

func still(w v1alpha1.Workspace) v1alpha1.Workspace {
	if w.Status.Tuning != nil && w.Status.Tuning.Progress != nil {
		w = *w.DeepCopy()
		w.Status.Tuning.Progress = &v1alpha1.TuningProgress{Percent: w.Status.Tuning.Progress.Percent}
	}
	return w
}

// bounded leaves of a Workspace that says too much only its name.
func bounded(w v1alpha1.Workspace) v1alpha1.Workspace {
	if text, err := json.Marshal(w); err == nil && len(text) <= oneAtMost {
		return w
	}
	return v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: w.Namespace, Name: w.Name, Generation: w.Generation}}
}

// briefly is what is told of a Workspace: what Git says, and how the cluster says that it
// is. One that is behind speaks of an older spec.
func briefly(seen Seen, promoted promoted) v1alpha1.Workspace {
	w := seen.Live
	is := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.Namespace, Name: w.Name, Generation: w.Generation, DeletionTimestamp: w.DeletionTimestamp,
	}}
	if seen.Behind {
		is.Generation++
	}
	if revision := w.Annotations[repolayout.AnnotationRevision]; revision != "" {
		metav1.SetMetaDataAnnotation(&is.ObjectMeta, repolayout.AnnotationRevision, markdown.Clean(revision, markdown.MaxText))
	}
	if seen.Git != nil {
		metav1.SetMetaDataAnnotation(&is.ObjectMeta, repolayout.AnnotationSource, seen.Git.Source)
	}
	is.Spec = specOf(seen, promoted[w.Namespace+"/"+w.Name])
	is.Status = v1alpha1.WorkspaceStatus{ObservedGeneration: w.Status.ObservedGeneration, Instance: w.Status.Instance, Conditions: conditionsOf(w), Tuning: tuningOf(seen)}
	if w.Status.Sizing != nil {
		is.Status.Sizing = &v1alpha1.SizingStatus{USDPerHour: w.Status.Sizing.USDPerHour}
	}
	if w.Status.Inference != nil {
		is.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: w.Status.Inference.Endpoint}
	}
	return is
}

// specOf is whether a Workspace tunes or serves, and as Git says it, which adapters go
// from one to the other: those from the given repositories.
func specOf(seen Seen, from map[string]bool) v1alpha1.WorkspaceSpec {
	var is v1alpha1.WorkspaceSpec
	if seen.Git == nil {
		if seen.Live.Spec.Tuning != nil {
			is.Tuning = &v1alpha1.TuningSpec{}
		}
		if seen.Live.Spec.Inference != nil {
			is.Inference = &v1alpha1.InferenceSpec{}
		}
		return is
	}
	is.Tuning = seen.Git.Spec.Tuning
	if s := seen.Git.Spec.Inference; s != nil {
		is.Inference = &v1alpha1.InferenceSpec{}
		for _, a := range s.Adapters {
			if from[repolayout.ImageRepository(a.Image)] {
				is.Inference.Adapters = append(is.Inference.Adapters, a)
			}
		}
	}
	return is
}

func conditionsOf(w *v1alpha1.Workspace) []metav1.Condition {
	var told []metav1.Condition
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionStalled, v1alpha1.ConditionResourceReady, v1alpha1.ConditionTuningSucceeded} {
		c := meta.FindStatusCondition(w.Status.Conditions, kind)
		if c == nil {
			continue
		}
		is := metav1.Condition{Type: kind, Status: c.Status, Reason: c.Reason, ObservedGeneration: c.ObservedGeneration}
		if kind == v1alpha1.ConditionReady {
			is.Message = markdown.Clean(c.Message, markdown.MaxText)
		}
		told = append(told, is)
	}
	return told
}

// tuningOf is how a run is. An adapter that is not where Git has the run push to is
// none: it would be proposed.
func tuningOf(seen Seen) *v1alpha1.TuningStatus {
	t := seen.Live.Status.Tuning
	if t == nil {
		return nil
	}
	is := &v1alpha1.TuningStatus{Attempts: t.Attempts, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, Evaluation: t.Evaluation}
	if g := seen.Git; g != nil && g.Spec.Tuning != nil {
		if to := g.Spec.Tuning.Output.Image; to == "" || repolayout.ImageRepository(t.Adapter) == repolayout.ImageRepository(to) {
			is.Adapter = t.Adapter
		}
	}
	if c := meta.FindStatusCondition(seen.Live.Status.Conditions, v1alpha1.ConditionResourceReady); c != nil && c.Reason == v1alpha1.ReasonReleased {
		is.SpentUSD = t.SpentUSD // before that it grows all the time
	}
	if p := t.Progress; p != nil {
		is.Progress = &v1alpha1.TuningProgress{Percent: p.Percent / step * step, Loss: p.Loss, Remaining: p.Remaining}
	}
	return is
}
