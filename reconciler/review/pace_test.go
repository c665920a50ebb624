// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLookNow: the first webhook is looked at at once, and those that follow some
// seconds later, all together.
func TestLookNow(t *testing.T) {
	s := newStage(t)
	r := s.controller()
	s.mustPass(r)
	s.now = s.now.Add(lookEvery)
	opened := s.opened
	for i := range 10 {
		r.LookNow(s.sync)
		got, err := s.event(r)
		if err != nil || i > 0 && got.RequeueAfter != lookEvery {
			t.Errorf("webhook %d: to be called after %v, %v", i, got.RequeueAfter, err)
		}
	}
	if s.opened != opened+1 {
		t.Errorf("looked %d times, want once", s.opened-opened)
	}
	s.now = s.now.Add(lookEvery)
	for range 3 {
		if _, err := s.event(r); err != nil {
			t.Fatal(err)
		}
	}
	if s.opened != opened+2 {
		t.Errorf("looked %d times, want once more for those that waited", s.opened-opened)
	}
}

// TestRestOfOne: a pull request that failed waits for its time, while a webhook brings
// another one its answer; a push to it, or another spec, is a reason to try it.
func TestRestOfOne(t *testing.T) {
	s := newStage(t)
	r := s.controller()
	s.said[7] = []forge.Comment{{ID: 1, Body: mark{prefix: "espalier", owner: "staging/team/models", about: subject{"b", "h", "s"}}.String()}}
	s.mustPass(r)
	look := func() []int64 {
		t.Helper()
		s.now = s.now.Add(lookEvery)
		r.LookNow(s.sync)
		before := len(s.asked)
		if _, err := s.event(r); err != nil {
			t.Fatal(err)
		}
		return s.asked[before:]
	}
	s.pulls[8] = forge.PullRequest{Number: 8, Base: "main", Head: s.head, MergeBase: s.base, Open: true}
	if look(); len(s.said[8]) != 1 {
		t.Error("the other is not answered")
	}
	if got := look(); len(got) != 0 {
		t.Errorf("a webhook had it ask for %v", got)
	}
	p := s.pulls[7]
	p.Head = s.push("feature", "4")
	s.pulls[7] = p
	if got := look(); !slices.Equal(got, []int64{7}) {
		t.Errorf("a push had it ask for %v", got)
	}
	s.sync.Spec.Review.StatusPrefix, s.sync.Generation = "espalier/production", 2
	s.connect()
	r.Client, r.Reader = s.kube, s.kube
	if _, err := s.event(r); err != nil || s.statuses[p.Head+" espalier/production/plan"].State != forge.Success {
		t.Errorf("%v, statuses %v", err, s.statuses)
	}
}

// TestRestOfAll: a forge that is down is not asked with each change of the cluster, less
// and less, and a webhook says that it is up again.
func TestRestOfAll(t *testing.T) {
	s := newStage(t)
	s.badOpen = &forge.Error{Reason: forge.ReasonForgeUnreachable, Status: 502}
	r := s.controller()
	for _, want := range []time.Duration{retryFirst, 2 * retryFirst, 4 * retryFirst} {
		opened := s.opened
		if _, err := s.event(r); err == nil {
			t.Fatal("nobody is told")
		}
		for range 3 {
			if got, err := s.event(r); err != nil || got.RequeueAfter != want {
				t.Errorf("to be called after %v, want %v (%v)", got.RequeueAfter, want, err)
			}
		}
		if s.opened != opened+1 {
			t.Errorf("listed %d times, want once", s.opened-opened)
		}
		s.now = s.now.Add(want)
	}
	if _, err := s.event(r); err == nil {
		t.Fatal("nobody is told")
	}
	s.badOpen = nil
	r.LookNow(s.sync)
	if got, err := s.event(r); err != nil || got.RequeueAfter != lookEvery {
		t.Errorf("to be called after %v, %v", got.RequeueAfter, err)
	}
	s.now = s.now.Add(lookEvery)
	if got, err := s.event(r); err != nil || len(s.said[7]) != 1 || got.RequeueAfter != time.Minute {
		t.Errorf("said %v, to be called after %v, %v", s.said, got.RequeueAfter, err)
	}
}

// TestRestOfHearing: where nobody's right can be asked for, what needs no right goes on.
func TestRestOfHearing(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	r.Connect = func(forge.Settings) (*forge.Forge, error) { return s.forbidden(), nil }
	s.remark("dev", "/espalier plan")
	if err := s.pass(r); err == nil || len(s.plans) != 1 {
		t.Fatalf("%v, planned %v", err, s.plans)
	}
	listed := s.listed
	for range 3 {
		if _, err := s.event(r); err != nil {
			t.Error(err)
		}
	}
	if s.listed != listed {
		t.Errorf("listed %d times more", s.listed-listed)
	}
	s.now = s.now.Add(retryFirst)
	if _, err := s.event(r); err == nil || s.listed != listed+1 || len(s.plans) != 1 {
		t.Errorf("%v, listed %d times more, planned %v", err, s.listed-listed, s.plans)
	}
}

// forbidden is a forge that does not tell who may write.
func (s *stage) forbidden() *forge.Forge {
	return &forge.Forge{PullRequests: s, Merges: s, Comments: s, Remarks: closed{s}, Statuses: s, Proposals: s, Signer: s, Lines: s, CloneURL: s.git.URL(repo), CommentLimit: 65_535}
}

// closed keeps to itself who may write.
type closed struct{ *stage }

func (closed) MayWrite(context.Context, forge.Remark) (bool, error) {
	return false, &forge.Error{Reason: v1alpha1.ReasonAuthFailed, Status: 403}
}
