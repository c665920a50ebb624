// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestReportOnly hands what a RepoSync has applied over to Flux, which the test
// plays, and back: nothing that runs is touched, the report follows what Flux has
// applied, and a field that Flux drops goes.
func TestReportOnly(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "reportonly")
	store := newArtifacts(t)
	files, repository, s := fluxSample(t, team)
	s.Spec.Interval.Duration = repolayout.MinInterval
	if err := team.Client.Create(t.Context(), repository); err != nil {
		t.Fatal(err)
	}
	const first, second = "1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"
	offer(t, team, repository, store.pack(t, first, files))
	apply(t, team, s)
	uid := ready(t, team, harness.InferenceName).UID

	changeSync(t, team, func(s *v1alpha1.RepoSync) {
		s.Spec.Mode = v1alpha1.ModeReportOnly
		s.Spec.WorkspaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
		s.Spec.Substitutions = nil
	})
	syncCondition(t, team, v1alpha1.ConditionReady, v1alpha1.ReasonNothingSelected)
	nobodys(t, team)

	flux := kustomizationOf(team, repository.Name)
	if err := team.Client.Create(t.Context(), flux); err != nil {
		t.Fatal(err)
	}
	fluxApplied(t, team, flux, first)
	spec := specOf(t, team)
	setIn(t, spec, int64(8192), "inference", "contextLength")
	fluxApplies(t, team, spec)
	selectedReady(t, team, first)

	offer(t, team, repository, store.pack(t, second, files))
	c := syncCondition(t, team, v1alpha1.ConditionReady, v1alpha1.ReasonWaitingForFlux)
	if !strings.Contains(c.Message, first) || !strings.Contains(c.Message, second) {
		t.Errorf("the message names both revisions: %s", c.Message)
	}
	unstructured.RemoveNestedField(spec, "inference", "contextLength")
	fluxApplies(t, team, spec)
	fluxApplied(t, team, flux, second)
	selectedReady(t, team, second)
	readme(t, team, "at the revision that Flux has applied", func(text string) bool {
		return strings.Contains(text, second[:7]) && strings.Contains(text, harness.InferenceName)
	})
	w := workspace(team, harness.InferenceName)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
		t.Fatal(err)
	}
	if w.UID != uid || w.Spec.Inference.ContextLength != 0 {
		t.Errorf("want the same Workspace without the field that Flux dropped, got %s with %d", w.UID, w.Spec.Inference.ContextLength)
	}

	changeSync(t, team, func(s *v1alpha1.RepoSync) { s.Spec.Mode, s.Spec.WorkspaceSelector = v1alpha1.ModeSync, nil })
	err := harness.Until(patient(t), team.Stand, w, "applied by the RepoSync again", func(w *v1alpha1.Workspace) bool {
		return w.Labels[repolayout.LabelSyncName] == team.Sync && w.Spec.Inference.ContextLength == 32768
	})
	if err != nil {
		t.Error(err)
	}
	syncCondition(t, team, v1alpha1.ConditionReady, v1alpha1.ReasonSucceeded)
}

func changeSync(t *testing.T, team *harness.Team, change func(*v1alpha1.RepoSync)) {
	t.Helper()
	s := repoSync(team)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
		t.Fatal(err)
	}
	before := s.DeepCopy()
	change(s)
	if err := team.Client.Patch(t.Context(), s, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// nobodys asserts that nothing of the team is the RepoSync's any more.
func nobodys(t *testing.T, team *harness.Team) {
	t.Helper()
	s, w := repoSync(team), workspace(team, harness.InferenceName)
	for _, o := range []client.Object{s, w} {
		if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.Status.Inventory) > 0 || w.Labels[repolayout.LabelSyncName] != "" || w.Annotations[repolayout.AnnotationRevision] != "" {
		t.Errorf("want nothing to be the RepoSync's: inventory %v, labels %v, annotations %v", s.Status.Inventory, w.Labels, w.Annotations)
	}
	for _, m := range w.ManagedFields {
		if m.Manager == repolayout.FieldManager && m.Operation == metav1.ManagedFieldsOperationApply && m.Subresource == "" {
			t.Errorf("fields of the Workspace are still claimed: %s", m.FieldsV1)
		}
	}
	if !condition.Is(w, v1alpha1.ConditionReady) {
		t.Error("what runs, runs on")
	}
}

func kustomizationOf(team *harness.Team, source string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
		"metadata": map[string]any{"namespace": team.Namespace, "name": "models"},
		"spec":     map[string]any{"sourceRef": map[string]any{"kind": "GitRepository", "name": source}},
	}}
}

// fluxApplied says in the status of a Kustomization what it has applied.
func fluxApplied(t *testing.T, team *harness.Team, k *unstructured.Unstructured, commit string) {
	t.Helper()
	before := k.DeepCopy()
	setIn(t, k.Object, "main@sha1:"+commit, "status", "lastAppliedRevision")
	if err := team.Client.Status().Patch(t.Context(), k, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
}

// specOf is the spec of the Workspace as it is.
func specOf(t *testing.T, team *harness.Team) map[string]any {
	t.Helper()
	w := workspace(team, harness.InferenceName)
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
		t.Fatal(err)
	}
	o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w)
	if err != nil {
		t.Fatal(err)
	}
	return o["spec"].(map[string]any)
}

// fluxApplies applies the Workspace as kustomize-controller does: by force, with
// the labels of the Kustomization.
func fluxApplies(t *testing.T, team *harness.Team, spec map[string]any) {
	t.Helper()
	o := map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.WorkspaceKind,
		"metadata": map[string]any{"namespace": team.Namespace, "name": harness.InferenceName, "labels": map[string]any{
			"team": "a", "kustomize.toolkit.fluxcd.io/name": "models", "kustomize.toolkit.fluxcd.io/namespace": team.Namespace,
		}},
		"spec": runtime.DeepCopyJSON(spec),
	}
	err := team.Client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: o}),
		client.FieldOwner("kustomize-controller"), client.ForceOwnership)
	if err != nil {
		t.Fatal(err)
	}
}

func setIn(t *testing.T, o map[string]any, value any, path ...string) {
	t.Helper()
	if err := unstructured.SetNestedField(o, value, path...); err != nil {
		t.Fatal(err)
	}
}

// selectedReady waits until the RepoSync is Ready at a commit, because its
// Workspaces are.
func selectedReady(t *testing.T, team *harness.Team, commit string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, repoSync(team), "Ready at "+commit, func(s *v1alpha1.RepoSync) bool {
		return isReady(s) && strings.HasSuffix(s.Status.LastAppliedRevision, commit) && s.Status.Workspaces == "1/1" && len(s.Status.Inventory) == 0
	})
	if err != nil {
		t.Fatal(err)
	}
}
