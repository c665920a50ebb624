// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/source"
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
			if got := judgeSelected(reporting(), pointers(c.in)); got != c.want {
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
	refused := reporting()
	refused.Name, refused.UID, refused.Spec.TargetNamespace = "refused", "refused", "team-b"
	r := newReconciler(t, interceptor.Funcs{}, reporting(), elsewhere, syncs, refused)
	r.TargetNamespaces = []string{"serving"}
	for name, c := range map[string]struct {
		reason    string
		namespace string
		labels    map[string]string
		want      string
	}{
		"Selected":    {"It has the label.", "models", map[string]string{"team": "a", "tier": "1"}, "models/team"},
		"OtherLabel":  {"It has another.", "models", map[string]string{"team": "b"}, ""},
		"OtherTarget": {"The target namespace counts, and not where the RepoSync is.", "serving", map[string]string{"team": "a"}, "models/elsewhere"},
		"Refused":     {"What goes on in a namespace that was not allowed wakes nobody.", "team-b", map[string]string{"team": "a"}, ""},
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

// TestReportOnlyRefused: of a namespace that the controller was not told of, a
// RepoSync that only reports learns nothing, with or without a source that can be
// read, and counts nothing of what it once could tell.
func TestReportOnlyRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		allowed []string
		broken  bool // the source
		count   string
		files   bool
	}{
		"Allowed":      {"Whoever runs the controller has said that it may.", []string{"team-b"}, false, "1/1", true},
		"Refused":      {"An empty selector of a tenant would read all of another.", nil, false, "", false},
		"SourceBroken": {"The step that judges the namespace is not come to.", nil, true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			theirs := in("secret-project", func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "It answers") })
			theirs.Namespace = "team-b"
			storm := newStorm(t, 0)
			s := storm.pass.sync
			s.Finalizers = []string{repolayout.Finalizer}
			s.Spec.Mode, s.Spec.TargetNamespace, s.Spec.WorkspaceSelector = v1alpha1.ModeReportOnly, "team-b", &metav1.LabelSelector{}
			s.Status.Workspaces = "7/9"
			if _, err := storm.server.Push(stormRepo, "main", map[string]string{"a.yaml": "a: 1"}, "something"); err != nil {
				t.Fatal(err)
			}
			if c.broken {
				s.Spec.Source.Git.Ref.Branch = "gone"
			}
			r := newReconciler(t, interceptor.Funcs{}, s, &theirs)
			r.Source, r.Events = source.NewStore(source.Options{}), events.NewFakeRecorder(9)
			r.Cluster, r.Installation, r.TargetNamespaces = "prod", "installation", c.allowed
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)}); (err != nil) != c.broken {
				t.Fatal(err)
			}
			if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				t.Fatal(err)
			}
			if s.Status.Workspaces != c.count {
				t.Errorf("%s\nstatus.workspaces is %q, want %q", c.reason, s.Status.Workspaces, c.count)
			}
			if log, err := storm.server.Log(stormRepo, stormBranch); (err == nil && len(log) > 0) != c.files {
				t.Errorf("%s\nstatus branch: %v, %v", c.reason, log, err)
			}
			if got := condition.Get(s, v1alpha1.ConditionReported); c.files != (got.Reason == v1alpha1.ReasonSucceeded) || !c.files && got.Reason != v1alpha1.ReasonTargetNamespaceNotAllowed {
				t.Errorf("%s\nReported is %+v", c.reason, got)
			}
		})
	}
}

func pointers(to []v1alpha1.Workspace) []*v1alpha1.Workspace {
	all := make([]*v1alpha1.Workspace, len(to))
	for i := range to {
		all[i] = &to[i]
	}
	return all
}
