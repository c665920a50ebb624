// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/forge"
)

func TestCommand(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		body   string
		want   string
		is     bool
	}{
		"Plan":    {reason: "The two words.", body: "/espalier plan", want: "plan", is: true},
		"Spaces":  {reason: "People leave spaces, and forges end lines as they like.", body: " /espalier  plan \r\nthank you\r\n", want: "plan", is: true},
		"Bare":    {reason: "Whoever says no more wants to know what there is.", body: "/espalier", want: "", is: true},
		"Other":   {reason: "It is answered that there is none.", body: "/espalier deploy now", want: "deploy now", is: true},
		"Quoted":  {reason: "A quotation asks for nothing.", body: "> /espalier plan"},
		"Below":   {reason: "Nor does talk about commands.", body: "Try\n/espalier plan"},
		"Joined":  {reason: "Another program has that name.", body: "/espalierplan"},
		"Nothing": {reason: "An empty remark.", body: " \n"},
		"Mark":    {reason: "Our own help must not answer itself, whoever posts it again.", body: help(1, "plan x")},
	} {
		if what, is := command(tc.body); what != tc.want || is != tc.is {
			t.Errorf("%s: %s got %q, %v", name, tc.reason, what, is)
		}
	}
}

// remark adds one to pull request 7, as forges do: the pull request has changed.
func (s *stage) remark(by, body string) {
	n := int64(len(s.remarks[7]))
	s.now = s.now.Add(time.Second)
	s.remarks[7] = append(s.remarks[7], forge.Remark{ID: 100 + n, Author: by, Body: body, At: s.now})
	p := s.pulls[7]
	p.Updated = s.now
	s.pulls[7] = p
}

func commanded(t *testing.T) *stage {
	t.Helper()
	s := newStage(t)
	s.sync.Spec.Review.Commands = true
	s.connect()
	return s
}

// TestPlanAgain: who may write can have a head planned again, once for each time it
// is asked, also after the controller started anew.
func TestPlanAgain(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.mustPass(r)
	s.remark("dev", "/espalier plan")
	s.mustPass(r)
	s.mustPass(r)
	s.mustPass(s.controller())
	if len(s.plans) != 2 || len(s.said[7]) != 1 {
		t.Fatalf("planned %v, said %+v", s.plans, s.said[7])
	}
	second := s.push("feature", "4")
	p := s.pulls[7]
	p.Head = second
	s.pulls[7] = p
	s.mustPass(r)
	s.mustPass(s.controller())
	if len(s.plans) != 3 {
		t.Errorf("planned %v: another head must not let the command be answered again", s.plans)
	}
	s.remark("dev", "/espalier plan")
	s.mustPass(s.controller())
	if len(s.plans) != 4 || len(s.said[7]) != 1 {
		t.Errorf("planned %v, said %+v", s.plans, s.said[7])
	}
}

// TestPlanAgainUntimed: a command is answered once also where the forge does not list an
// edited comment among those of the last day.
func TestPlanAgainUntimed(t *testing.T) {
	s := commanded(t)
	s.untimed = true
	r := s.controller()
	s.mustPass(r)
	s.remark("dev", "/espalier plan")
	s.remark("dev", "/espalier plan")
	for range 3 {
		s.mustPass(r)
	}
	if len(s.plans) != 2 {
		t.Errorf("planned %d times, want once for the push and once for both commands", len(s.plans))
	}
	s.remark("dev", "/espalier plan")
	s.mustPass(r)
	if len(s.plans) != 3 {
		t.Errorf("planned %d times: the next command counts", len(s.plans))
	}
}

// TestStrangersAreNotHeard: nobody else makes the account talk or work, and their
// right is asked for once.
func TestStrangersAreNotHeard(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.mustPass(r)
	writes := s.writes
	s.remark("eve", "/espalier plan")
	s.remark("eve", "/espalier help")
	for range 3 {
		s.remark("eve", "hello")
		s.mustPass(r)
	}
	if len(s.plans) != 1 || s.writes != writes || s.rights != 2 {
		t.Errorf("planned %v, %d writes, %d rights asked for", s.plans, s.writes-writes, s.rights)
	}
}

// TestForkVouchedFor: one who may write has a fork's head planned, and that head
// only.
func TestForkVouchedFor(t *testing.T) {
	s := commanded(t)
	p := s.pulls[7]
	p.Fork = true
	s.pulls[7] = p
	r := s.controller()
	s.remark("eve", "/espalier plan")
	s.mustPass(r)
	if len(s.plans) != 0 {
		t.Fatal("the author of a fork cannot vouch for it")
	}
	s.remark("dev", "/espalier plan")
	s.mustPass(r)
	if len(s.plans) != 1 || s.state(s.head) != forge.Success {
		t.Fatalf("planned %v", s.plans)
	}
	p = s.pulls[7]
	p.Head = s.push("feature", "evil")
	s.pulls[7] = p
	s.mustPass(r)
	s.mustPass(s.controller())
	if len(s.plans) != 1 {
		t.Errorf("planned %v: the next head was vouched for by nobody", s.plans)
	}
}

// TestHelp: it is said once, with what is not there, and mentions nobody.
func TestHelp(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.mustPass(r)
	s.remark("dev", "/espalier help")
	s.remark("dev", "/espalier deploy @team <b>")
	s.mustPass(r)
	s.mustPass(r)
	s.mustPass(s.controller())
	if len(s.said[7]) != 3 || len(s.plans) != 1 {
		t.Fatalf("said %+v, planned %v", s.said[7], s.plans)
	}
	if got := s.said[7][2].Body; !strings.Contains(got, "There is no command `deploy @team <b>`") || !strings.Contains(got, "`/espalier plan`") {
		t.Errorf("said %q", got)
	}
}

// TestHelpOnce: a process remembers what it has answered, where a forge lists so
// many comments that the answer is not among them.
func TestHelpOnce(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.mustPass(r)
	s.lists = 1
	s.remark("dev", "/espalier help")
	for range 3 {
		s.remark("eve", "hello")
		s.mustPass(r)
	}
	if len(s.said[7]) != 2 {
		t.Errorf("said %+v", s.said[7])
	}
	p := s.pulls[7]
	p.Open = false
	s.pulls[7] = p
	s.mustPass(r)
	if k, _ := r.kept.Load(s.sync.UID); len(k.(*kept).heard.answered) != 0 {
		t.Error("what was said on a closed pull request is kept")
	}
}

// TestDrownedOut: more commands of strangers than are looked at in one go make
// nobody's vanish.
func TestDrownedOut(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.mustPass(r)
	s.remark("dev", "/espalier help")
	for range 2 * maxCommands {
		s.remark("eve", "/espalier x")
	}
	for range 4 {
		s.mustPass(r)
	}
	if len(s.said[7]) != 2 || s.rights != 2*maxCommands+1 {
		t.Errorf("said %+v, %d rights asked for", s.said[7], s.rights)
	}
	for range maxCommands {
		s.remark("dev", "/espalier help")
	}
	s.remark("eve", "/espalier x")
	for range 2 {
		s.mustPass(s.controller())
	}
	if want := 2 + maxCommands; len(s.said[7]) != want {
		t.Errorf("%d comments, want %d: what another process has answered counts among none", len(s.said[7]), want)
	}
}

// TestLeftAlone: a forge that wants to be left alone is, whatever happens in the
// cluster meanwhile, and what was asked for stands.
func TestLeftAlone(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.remark("dev", "/espalier plan")
	s.broken[7] = &forge.Error{Reason: forge.ReasonRateLimited, After: 10 * time.Minute}
	for range 9 {
		s.mustPass(r)
	}
	if s.listed != 1 {
		t.Errorf("asked %d times, want once", s.listed)
	}
	delete(s.broken, 7)
	s.mustPass(r)
	s.mustPass(r)
	if len(s.plans) != 1 {
		t.Errorf("planned %v", s.plans)
	}
}

// TestQuietPullRequests: what has not changed is not read again, and what happened
// in this very second is.
func TestQuietPullRequests(t *testing.T) {
	s := commanded(t)
	r := s.controller()
	s.remark("dev", "hello")
	for range 5 {
		s.mustPass(r)
	}
	if s.listed != 1 {
		t.Errorf("listed %d times, want once", s.listed)
	}
	s.now = s.now.Add(lookEvery)
	s.remark("dev", "hello again")
	s.now = s.now.Add(-time.Minute)
	r.LookNow(s.sync) // as the webhook of the remark does
	s.mustPass(r)
	s.mustPass(r)
	s.mustPass(r)
	if s.listed != 3 {
		t.Errorf("listed %d times: a remark of the same second may have come after", s.listed)
	}
	s.sync.Spec.Review.Commands = false
	s.connect()
	s.listed = 0
	s.mustPass(s.controller())
	if s.listed != 0 {
		t.Error("nobody asked to be heard")
	}
}
