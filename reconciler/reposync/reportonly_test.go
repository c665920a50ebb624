// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// reporting is a RepoSync that reports on the Workspaces of team a.
func reporting() *v1alpha1.RepoSync {
	s := team()
	s.Spec.Mode = v1alpha1.ModeReportOnly
	s.Spec.WorkspaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	return s
}

// in is a Workspace in a state.
func in(name string, conclude func(*v1alpha1.Workspace)) v1alpha1.Workspace {
	w := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name}}
	conclude(&w)
	return w
}

func TestJudgeSelected(t *testing.T) {
	ready := func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "1 of 1 replicas answer") }
	coming := func(w *v1alpha1.Workspace) { condition.Progressing(w, v1alpha1.ReasonWaitingForNodes, "0 of 1") }
	failed := func(w *v1alpha1.Workspace) { condition.Stalled(w, v1alpha1.ReasonJobFailed, "it gave up") }
	refused := func(w *v1alpha1.Workspace) { condition.Stalled(w, v1alpha1.ReasonRefused, "does not fit") }
	suspended := func(w *v1alpha1.Workspace) {
		condition.False(w, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "Suspended")
	}
	for name, c := range map[string]struct {
		reason string
		in     []v1alpha1.Workspace
		want   verdict
	}{
		"Nothing": {
			reason: "A selector that selects nothing is likely a mistake, and said with its words.",
			want:   verdict{v1alpha1.ReasonNothingSelected, "No Workspace of namespace models has the labels of spec.workspaceSelector: team=a"},
		},
		"AllReady":  {"Their readiness is its own.", []v1alpha1.Workspace{in("a", ready), in("b", ready)}, verdict{v1alpha1.ReasonSucceeded, "2 of 2 Workspaces are ready"}},
		"Suspended": {"What a person has stopped holds up nothing.", []v1alpha1.Workspace{in("a", ready), in("b", suspended)}, verdict{v1alpha1.ReasonSucceeded, "1 of 2 Workspaces are ready, 1 suspended"}},
		"OnTheWay":  {"One that is on its way is waited for by name.", []v1alpha1.Workspace{in("a", ready), in("b", coming)}, verdict{v1alpha1.ReasonWaitingForWorkspaces, "1 of 2 Workspaces are ready; on their way: b"}},
		"Failed": {
			reason: "What only Git can help comes before what is on its way.",
			in:     []v1alpha1.Workspace{in("a", failed), in("b", coming), in("c", refused)},
			want:   verdict{v1alpha1.ReasonWorkspacesFailed, "0 of 3 Workspaces are ready; a: it gave up; c: does not fit"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := judgeSelected(reporting(), c.in); got != c.want {
				t.Errorf("%s\ngot  %v\nwant %v", c.reason, got, c.want)
			}
		})
	}
}

// TestReportOnlyKeeps: a RepoSync that only reports goes without what it once
// applied.
func TestReportOnlyKeeps(t *testing.T) {
	s := reporting()
	now := metav1.Now()
	s.Finalizers, s.DeletionTimestamp = []string{repolayout.Finalizer}, &now
	r := newReconciler(t, interceptor.Funcs{}, s, appliedBy("team", "models", "a", nil))
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names(t, r), " "); got != "models/a" {
		t.Errorf("want the Workspace to stay, got %q", got)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("want the RepoSync to be gone, got %v", err)
	}
}

// TestReportedBy: a Workspace wakes those that select it in its namespace.
func TestReportedBy(t *testing.T) {
	elsewhere, syncs := reporting(), team()
	elsewhere.Name, elsewhere.UID, elsewhere.Spec.TargetNamespace = "elsewhere", "other", "serving"
	syncs.Name, syncs.UID = "syncs", "syncs"
	r := newReconciler(t, interceptor.Funcs{}, reporting(), elsewhere, syncs)
	for name, c := range map[string]struct {
		reason    string
		namespace string
		labels    map[string]string
		want      string
	}{
		"Selected":    {"It has the label.", "models", map[string]string{"team": "a", "tier": "1"}, "models/team"},
		"OtherLabel":  {"It has another.", "models", map[string]string{"team": "b"}, ""},
		"OtherTarget": {"The target namespace counts, and not where the RepoSync is.", "serving", map[string]string{"team": "a"}, "models/elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "w", Labels: c.labels}}
			var got []string
			for _, request := range r.reportedBy(t.Context(), w) {
				got = append(got, request.String())
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%s: got %v, want %q", c.reason, got, c.want)
			}
		})
	}
}
