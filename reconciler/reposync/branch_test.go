// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"net/http"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/lease"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// asProcess lets the controller take Leases under a name.
func (s *storm) asProcess(name string) {
	s.Branches = &lease.Holder{
		Client: s.Client, Reader: s.Client, Namespace: "espalier-system", Identity: name, Duration: 35 * time.Second, Clock: s.Clock,
	}
}

// beside is another controller, of the same cluster, repository and clock, with a pass
// over the same RepoSync.
func (s *storm) beside(name string) *storm {
	other := *s
	d := s.Deps
	d.Clock = func() time.Time { return s.now }
	other.Reconciler = New(d)
	other.asProcess(name)
	other.pass = passOf(s.pass.sync.DeepCopy(), built{}).in(other.Reconciler)
	return &other
}

// holder is who holds the Lease of the RepoSync's branch, "" for nobody.
func (s *storm) holder() string {
	s.t.Helper()
	target, err := s.target(s.t.Context(), s.pass.sync)
	if err != nil {
		s.t.Fatal(err)
	}
	l := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "espalier-system", Name: target.Lease()}}
	if err := s.Client.Get(s.t.Context(), client.ObjectKeyFromObject(l), l); err != nil {
		s.t.Fatal(err)
	}
	return ptr.Deref(l.Spec.HolderIdentity, "")
}

// reported asserts how the condition stands.
func (s *storm) reported(status metav1.ConditionStatus, reason string) {
	s.t.Helper()
	c := condition.Get(s.pass.sync, v1alpha1.ConditionReported)
	if c == nil || c.Status != status || c.Reason != reason || strings.Contains(c.Message, s.server.URL(stormRepo)) {
		s.t.Errorf("Reported is %+v, want %s %s", c, status, reason)
	}
}

// TestOneWriter: of two controllers one writes to a branch. The other leaves the report
// for later, says so without a warning, and writes when the first has let go or is gone.
func TestOneWriter(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		ends   func(one *storm)
	}{
		"Dies":   {"It said nothing: the Lease runs out.", func(one *storm) { one.now = one.now.Add(25 * time.Second) }},
		"Leaves": {"The RepoSync is of another shard now.", func(one *storm) { one.drop(one.t.Context(), one.pass.sync) }},
	} {
		t.Run(name, func(t *testing.T) {
			one := newStorm(t, 2)
			one.asProcess("one")
			one.kept.Store(one.pass.sync.UID, one.pass.kept)
			one.mustReport()
			one.reported(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
			two := one.beside("two")
			two.turn(0, true)
			one.now = one.now.Add(10 * time.Second)
			before := two.pass.sync.DeepCopy()
			if due := two.mustReport(); due <= 0 || due > 5*time.Second || one.holder() != "one" {
				t.Errorf("it is looked at again after %s, held by %s", due, one.holder())
			}
			two.reported(metav1.ConditionUnknown, v1alpha1.ReasonWaitingForBranch)
			told := events.NewFakeRecorder(9)
			if warnWhenNew(told, before, two.pass.sync, v1alpha1.ConditionReported); len(told.Events) > 0 {
				t.Errorf("waiting is told as a warning: %s", <-told.Events)
			}
			if result, err := two.pass.result(nil, nil, two.now); err != nil || result.RequeueAfter > 5*time.Second {
				t.Errorf("the next pass is after %s: %v", result.RequeueAfter, err)
			}
			if got := len(one.commits()); got != 1 {
				t.Errorf("%d commits, want one: the other must not write", got)
			}
			c.ends(one)
			if due := two.mustReport(); due != 0 || two.holder() != "two" {
				t.Errorf("%s\nstill waits %s, held by %s", c.reason, due, two.holder())
			}
			two.reported(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
			two.settled(0, "Ready")
		})
	}
}

// TestWaitedForNothing: what was to be written is as the branch says it again: it is
// said to be written.
func TestWaitedForNothing(t *testing.T) {
	one := newStorm(t, 2)
	one.asProcess("one")
	was := &v1alpha1.Workspace{}
	if err := one.Client.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "model-000"}, was); err != nil {
		t.Fatal(err)
	}
	one.mustReport()
	two := one.beside("two")
	one.now = one.now.Add(time.Minute)
	two.mustReport()
	one.turn(0, true)
	one.now = one.now.Add(10 * time.Second)
	if due := one.mustReport(); due <= 0 {
		t.Error("the other holds the branch")
	}
	is := was.DeepCopy()
	if err := one.Client.Get(t.Context(), client.ObjectKeyFromObject(is), is); err != nil {
		t.Fatal(err)
	}
	is.Status = was.Status
	if err := one.Client.Update(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	one.mustReport()
	one.reported(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)
}

// TestNotKnownToBeWritten: after a push of which nobody heard how it ended, the branch may
// say either: what is true again is not taken for written.
func TestNotKnownToBeWritten(t *testing.T) {
	s := newStorm(t, 1)
	was := &v1alpha1.Workspace{}
	if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: "model-000"}, was); err != nil {
		t.Fatal(err)
	}
	s.mustReport()
	s.turn(0, true)
	s.now = s.now.Add(time.Minute)
	s.server.Break(gitserver.Fault{Status: http.StatusServiceUnavailable})
	if _, err := s.report(); err == nil {
		t.Fatal("the server is away, and the report is written")
	}
	is := was.DeepCopy()
	if err := s.Client.Get(t.Context(), client.ObjectKeyFromObject(is), is); err != nil {
		t.Fatal(err)
	}
	is.Status = was.Status
	if err := s.Client.Update(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	s.now = s.now.Add(time.Minute)
	if _, err := s.report(); err == nil {
		t.Error("the branch was not looked at, and is said to be as it should")
	}
}

// TestKeepsNobodyWaiting: one that cannot write, and one of several that report into a
// branch, give it back at once.
func TestKeepsNobodyWaiting(t *testing.T) {
	part, err := shard.Parse(shard.Label + "=one")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reason string
		change func(s *storm)
		holder string
	}{
		"Own":        {"Nobody else asks for the branch: the next report costs no more than a renewal.", func(*storm) {}, "one"},
		"Refused":    {"Whoever names another's branch, or has no right there, must not hold it.", func(s *storm) { s.server.Break(gitserver.Fault{Status: http.StatusServiceUnavailable}) }, ""},
		"Shared":     {"Other RepoSyncs of this controller report there, and they go by turns.", func(s *storm) { s.pass.sync.Spec.Report.Commit.Path = "status/a" }, "one"},
		"OfAShard":   {"The others may be of another shard.", func(s *storm) { s.pass.sync.Spec.Report.Commit.Path, s.Shard = "status/a", part }, ""},
		"OwnSharded": {"So divided, a branch of its own has no other.", func(s *storm) { s.Shard = part }, "one"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStorm(t, 1)
			s.asProcess("one")
			if _, err := s.server.Push(stormRepo, "main", map[string]string{"workspaces/kustomization.yaml": "resources: []\n"}, "begin"); err != nil {
				t.Fatal(err)
			}
			s.pass.sync.Spec.Path = "workspaces"
			c.change(s)
			if s.pass.sync.Spec.Report.Commit.Path != "" {
				s.pass.sync.Spec.Report.Commit.Branch = "main"
			}
			_, _ = s.report()
			if got := s.holder(); got != c.holder {
				t.Errorf("%s\nheld by %q, want %q", c.reason, got, c.holder)
			}
		})
	}
}

// TestLeftShard: a RepoSync that has left the shard is let go of, with its branch.
func TestLeftShard(t *testing.T) {
	s := newStorm(t, 1)
	s.asProcess("one")
	s.mustReport()
	sync := team()
	if err := s.Client.Create(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
	s.kept.Store(sync.UID, s.pass.kept)
	var err error
	if s.Shard, err = shard.Parse(shard.Label + "=one"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(sync)}); err != nil {
		t.Fatal(err)
	}
	if _, known := s.kept.Load(sync.UID); known || s.holder() != "" {
		t.Errorf("kept %v, held by %q", known, s.holder())
	}
}
