// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// storm is a RepoSync whose Workspaces change, a real Git server, and a clock that
// goes only when it is told to.
type storm struct {
	*Reconciler
	t      *testing.T
	server *gitserver.Server
	now    time.Time
	pass   *pass
}

const (
	stormRepo   = "fleet/models"
	stormBranch = "espalier/status/prod/models/team"
)

func newStorm(t *testing.T, workspaces int) *storm {
	t.Helper()
	server := gitserver.Serve(t, gitserver.Options{}, stormRepo)
	var objects []client.Object
	for i := range workspaces {
		objects = append(objects, appliedBy("team", "models", fmt.Sprintf("model-%03d", i), nil))
	}
	s := &storm{Reconciler: newReconciler(t, interceptor.Funcs{}, objects...), t: t, server: server, now: time.Unix(1_800_000_000, 0)}
	s.Cluster, s.Installation, s.Clock = "prod", "installation", func() time.Time { return s.now }
	sync := team()
	sync.Spec.Source.Git = &v1alpha1.GitSource{URL: server.URL(stormRepo), Ref: v1alpha1.GitRef{Branch: "main"}}
	sync.Spec.Timeout.Duration = 30 * time.Second
	sync.Spec.Report = &v1alpha1.Report{Commit: &v1alpha1.CommitReport{MinInterval: metav1.Duration{Duration: 10 * time.Second}}}
	for _, o := range objects {
		sync.Status.Inventory = append(sync.Status.Inventory, listed(o.GetNamespace()+"/"+o.GetName())...)
	}
	s.pass = passOf(sync, built{}).in(s.Reconciler)
	return s
}

// turn makes a Workspace ready, or not.
func (s *storm) turn(i int, ready bool) {
	s.t.Helper()
	w := &v1alpha1.Workspace{}
	if err := s.Client.Get(s.t.Context(), client.ObjectKey{Namespace: "models", Name: fmt.Sprintf("model-%03d", i)}, w); err != nil {
		s.t.Fatal(err)
	}
	if ready {
		condition.Ready(w, v1alpha1.ReasonSucceeded, "The model answers")
	} else {
		condition.Progressing(w, v1alpha1.ReasonWaitingForPods, "0 of 1 pods is ready")
	}
	if err := s.Client.Update(s.t.Context(), w); err != nil {
		s.t.Fatal(err)
	}
}

// report makes the pass that every change of a Workspace brings, and returns when
// the next is due, 0 for when nothing waits.
func (s *storm) report() (time.Duration, error) {
	s.pass.reportDue = 0
	err := s.observeAndReport(s.t.Context(), s.pass)
	return s.pass.reportDue, err
}

func (s *storm) mustReport() time.Duration {
	s.t.Helper()
	due, err := s.report()
	if err != nil {
		s.t.Fatal(err)
	}
	return due
}

func (s *storm) commits() []gitserver.Commit {
	s.t.Helper()
	log, err := s.server.Log(stormRepo, stormBranch)
	if err != nil {
		s.t.Fatal(err)
	}
	return log
}

// settled asserts that the branch tells the state that holds.
func (s *storm) settled(i int, state string) {
	s.t.Helper()
	file, err := s.server.ReadFile(stormRepo, stormBranch, fmt.Sprintf("workspaces/models/model-%03d.yaml", i))
	if err != nil || !strings.Contains(file, "state: "+state+"\n") {
		s.t.Errorf("the branch does not say that model-%03d is %s (%v):\n%s", i, state, err, file)
	}
}

// TestStorm: whatever changes within minInterval is one commit.
func TestStorm(t *testing.T) {
	const many = 200
	s := newStorm(t, many)
	s.mustReport()
	for i := range many {
		s.turn(i, true)
		if due := s.mustReport(); due != 10*time.Second {
			t.Fatalf("the next commit is due in %s", due)
		}
	}
	s.now = s.now.Add(10 * time.Second)
	if due := s.mustReport(); due != 0 {
		t.Errorf("something waits still, for %s", due)
	}
	if log := s.commits(); len(log) != 2 || !strings.Contains(log[0].Message, "team: 200/200 ready") {
		t.Errorf("%d commits, the newest %q, want 2", len(log), log[0].Message)
	}
	s.settled(many-1, "Ready")
}

// TestFlapping: a Workspace that goes to and fro for hours makes a bounded
// number of commits, as docs/report-to-git.md says, and the last one tells the truth.
func TestFlapping(t *testing.T) {
	const hours = 1
	s := newStorm(t, 1)
	for n := range hours * 3600 / 5 {
		s.turn(0, n%2 == 0)
		s.mustReport()
		s.now = s.now.Add(5 * time.Second)
		if s.now.Sub(time.Unix(1_800_000_000, 0)) == time.Hour {
			if got := len(s.commits()); got > 90 {
				t.Errorf("%d commits in the first hour, want at most 90", got)
			}
		}
	}
	s.turn(0, true)
	due := s.mustReport()
	s.now = s.now.Add(due)
	if due = s.mustReport(); due != 0 {
		t.Errorf("something waits still, for %s", due)
	}
	if got, most := len(s.commits()), paceBurst+1+hours*int(time.Hour/paceEvery); got > most || got < hours*int(time.Hour/paceEvery) {
		t.Errorf("%d commits, want at most %d, and the branch must not fall silent", got, most)
	}
	s.settled(0, "Ready")
}

// TestForgeDown: what happens while the forge is down is not lost, and what is made
// up for is the last state only.
func TestForgeDown(t *testing.T) {
	for name, fault := range map[string]gitserver.Fault{
		"Away":     {Status: http.StatusServiceUnavailable},
		"ReadOnly": {Service: gitserver.Push, Status: http.StatusServiceUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorm(t, 3)
			s.mustReport()
			s.server.Break(fault)
			for n := range 12 {
				s.now = s.now.Add(5 * time.Minute)
				s.turn(n%3, n%2 == 0)
				if _, err := s.report(); err == nil {
					t.Fatal("a forge that is down took a report")
				}
			}
			s.server.Heal()
			s.mustReport()
			if log := s.commits(); len(log) != 2 || !strings.Contains(log[0].Message, "model-001: Progressing → Ready") {
				t.Errorf("%d commits, want one for the whole hour:\n%s", len(log), log[0].Message)
			}
			s.settled(1, "Ready")
			s.settled(2, "Progressing")
			s.mustReport()
			if n := len(s.commits()); n != 2 {
				t.Errorf("%d commits though nothing happened since", n)
			}
		})
	}
}
