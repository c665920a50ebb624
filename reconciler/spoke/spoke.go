// SPDX-License-Identifier: Apache-2.0

// Package spoke carries what pull requests are told of Workspaces in another cluster,
// in the status of their RepoSync: the controller that watches that cluster writes it,
// and the process that answers pull requests, which holds the forge's token and no
// kubeconfig, reads it.
//
// It is pure. What a Workspace says comes from a cluster that is not trusted: it is
// bounded, and of it only what is told is taken (docs/design/0078).
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
	"k8s.io/apimachinery/pkg/util/validation"

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
	// unpackedAtMost bytes are read of a packed list, which nobody but the controller
	// should have written.
	unpackedAtMost = 32 << 20
	// oneAtMost bytes are taken of one Workspace.
	oneAtMost = 16 << 10
	// step of a run's progress is told, in per cent.
	step = 10
)

// ErrTooMany is that what there is to tell does not fit into the status of one RepoSync.
var ErrTooMany = errors.New("what is to be told of them does not fit into the status of one RepoSync")

// Told is what the status of a RepoSync carries of its Workspaces in another cluster;
// nil where nobody asks. What says the same as before stays as it is, and is not written
// again. behind says of a Workspace that it is as it was before the last apply.
func Told(s *v1alpha1.RepoSync, before *v1alpha1.SpokeStatus, all []v1alpha1.Workspace, behind func(*v1alpha1.Workspace) bool) (*v1alpha1.SpokeStatus, error) {
	if s.Spec.KubeConfig == nil || s.Spec.Review == nil {
		return nil, nil
	}
	var told []v1alpha1.Workspace
	asked := askedFor(s, all)
	for i := range all {
		if w := &all[i]; asked(w) {
			told = append(told, bounded(briefly(w, behind(w))))
		}
	}
	if was, err := Workspaces(before); before != nil && err == nil && len(was) == len(told) && sameButPace(was, told) {
		return before, nil
	}
	list, err := pack(told)
	if err != nil {
		return nil, err
	}
	return &v1alpha1.SpokeStatus{Workspaces: len(told), List: list}, nil
}

// askedFor says of which Workspaces pull requests tell: of all where merges are
// followed, else of those between which an adapter is promoted.
func askedFor(s *v1alpha1.RepoSync, all []v1alpha1.Workspace) func(*v1alpha1.Workspace) bool {
	if s.Spec.Report != nil && s.Spec.Report.PullRequest {
		return func(*v1alpha1.Workspace) bool { return true }
	}
	served := map[string]bool{}
	for i := range all {
		if t := all[i].Spec.Tuning; t != nil && t.Promote != nil {
			served[all[i].Namespace+"/"+t.Promote.To] = true
		}
	}
	return func(w *v1alpha1.Workspace) bool {
		return served[w.Namespace+"/"+w.Name] || w.Spec.Tuning != nil && w.Spec.Tuning.Promote != nil
	}
}

// Workspaces are those that a status tells of, as far as it tells.
func Workspaces(s *v1alpha1.SpokeStatus) ([]v1alpha1.Workspace, error) {
	if s == nil || s.Workspaces == 0 {
		return nil, nil
	}
	if len(s.List) == 0 {
		return nil, ErrTooMany
	}
	r, err := gzip.NewReader(bytes.NewReader(s.List))
	if err != nil {
		return nil, fmt.Errorf("reading status.spoke: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, unpackedAtMost))
	if err != nil {
		return nil, fmt.Errorf("reading status.spoke: %w", err)
	}
	var all []v1alpha1.Workspace
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("reading status.spoke: %w", err)
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
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, err = w.Write(text)
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing what is told of Workspaces: %w", err)
	}
	if packed.Len() > packedAtMost || len(text) > unpackedAtMost {
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

// briefly is what is told of a Workspace. One that is behind speaks of an older spec.
func briefly(w *v1alpha1.Workspace, behind bool) v1alpha1.Workspace {
	is := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.Namespace, Name: w.Name, Generation: w.Generation, DeletionTimestamp: w.DeletionTimestamp,
	}}
	if behind {
		is.Generation++
	}
	for _, key := range []string{repolayout.AnnotationRevision, repolayout.AnnotationSource} {
		if value := w.Annotations[key]; value != "" {
			metav1.SetMetaDataAnnotation(&is.ObjectMeta, key, markdown.Clean(value, markdown.MaxText))
		}
	}
	is.Spec = specOf(w)
	is.Status = v1alpha1.WorkspaceStatus{ObservedGeneration: w.Status.ObservedGeneration, Instance: w.Status.Instance, Conditions: conditionsOf(w), Tuning: tuningOf(w)}
	if w.Status.Sizing != nil {
		is.Status.Sizing = &v1alpha1.SizingStatus{USDPerHour: w.Status.Sizing.USDPerHour}
	}
	if w.Status.Inference != nil {
		is.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: w.Status.Inference.Endpoint}
	}
	return is
}

// specOf is whether a Workspace tunes or serves, and which adapters go from one to the
// other. Names that no adapter can have would be written into a commit.
func specOf(w *v1alpha1.Workspace) v1alpha1.WorkspaceSpec {
	var is v1alpha1.WorkspaceSpec
	if t := w.Spec.Tuning; t != nil {
		is.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: t.Output.Image}, Promote: t.Promote}
	}
	if s := w.Spec.Inference; s != nil {
		is.Inference = &v1alpha1.InferenceSpec{}
		for _, a := range s.Adapters {
			if len(validation.IsDNS1123Label(a.Name)) == 0 {
				is.Inference.Adapters = append(is.Inference.Adapters, v1alpha1.Adapter{Name: a.Name, Image: a.Image})
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

// tuningOf is how a run is. An adapter that is not where the run pushes to is none: it
// would be proposed.
func tuningOf(w *v1alpha1.Workspace) *v1alpha1.TuningStatus {
	t := w.Status.Tuning
	if t == nil || w.Spec.Tuning == nil {
		return nil
	}
	is := &v1alpha1.TuningStatus{Attempts: t.Attempts, StartedAt: t.StartedAt, FinishedAt: t.FinishedAt, Evaluation: t.Evaluation}
	if to := w.Spec.Tuning.Output.Image; to == "" || repolayout.ImageRepository(t.Adapter) == repolayout.ImageRepository(to) {
		is.Adapter = t.Adapter
	}
	if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionResourceReady); c != nil && c.Reason == v1alpha1.ReasonReleased {
		is.SpentUSD = t.SpentUSD // before that it grows all the time
	}
	if p := t.Progress; p != nil {
		is.Progress = &v1alpha1.TuningProgress{Percent: p.Percent / step * step, Loss: p.Loss, Remaining: p.Remaining}
	}
	return is
}
