// SPDX-License-Identifier: Apache-2.0

package review

import (
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// withLines makes the planner offer a comment on each of some files, keyed by them.
func (s *stage) withLines(files ...string) {
	plain := s.planned
	s.planned = func(q Question) (Verdict, error) {
		v, err := plain(q)
		if err != nil || q.Sync.Spec.Review.LineComments == v1alpha1.NoLineComments {
			return v, err
		}
		v.Lines = &Lines{Standing: files, Findings: len(files)}
		for _, f := range files {
			v.Lines.Offered = append(v.Lines.Offered, OnLine{Key: f, Line: forge.Line{File: f, New: 1}})
		}
		return v, nil
	}
}

// TestCommentAgain: what a forge that was not well did not take is tried again with the
// next looks at the same head, without another plan, and the comment then says so. It is
// not tried for ever, nor where the forge shows another diff.
func TestCommentAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		err    error
		passes int // that it is down
		tried  int // comments on lines after those, of which one is good
		fails  bool
		lines  int // after it is well again
	}{
		"Down":      {"The next look says what is left.", &forge.Error{Status: 502}, 1, 1, true, 2},
		"Cut":       {"So it does where no answer came.", errors.New("connection reset"), 2, 2, true, 2},
		"Unwell":    {"GitLab says 500 of a line now and then.", &forge.Error{Status: 500}, 1, 2, false, 2},
		"NotLooked": {"The forge has not looked at that head yet.", &forge.Error{Status: 404}, 2, 3, false, 2},
		"OffDiff":   {"It will never show that line.", &forge.Error{Status: 422}, 3, 2, false, 1},
		"Forever":   {"It is given up, and waits for the next push.", &forge.Error{Status: 502}, maxLineTries + 3, maxLineTries, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.withLines("bad", "good")
			s.badLine = tc.err
			r := s.controller()
			for i := range tc.passes {
				s.now = s.now.Add(retryMost) // whatever was tried rests no longer
				if err := s.pass(r); (err != nil) != (tc.fails && i < maxLineTries) {
					t.Fatalf("pass %d: %v", i, err)
				}
			}
			if s.tried != tc.tried {
				t.Errorf("%s: tried %d times, want %d", tc.reason, s.tried, tc.tried)
			}
			s.badLine = nil
			s.mustPass(r)
			s.mustPass(r)
			if len(s.lines) != tc.lines || len(s.plans) != 1 || len(s.said[7]) != 1 {
				t.Errorf("%s: %d on lines, %d plans, %d comments", tc.reason, len(s.lines), len(s.plans), len(s.said[7]))
			}
			if body := s.said[7][0].Body; strings.Contains(body, "On lines of the diff: 2 of 2") != (tc.lines == 2) || strings.Count(body, "On lines of") > 1 {
				t.Errorf("%s: the comment says %q", tc.reason, body)
			}
			writes, tried, read := s.writes, s.tried, s.read
			s.mustPass(r)
			if s.writes != writes || s.tried != tried || s.read != read {
				t.Error("it goes on when nothing is left")
			}
		})
	}
}

// TestCommentAgainMoved: what is left of a head that has gone on is of no use.
func TestCommentAgainMoved(t *testing.T) {
	s := newStage(t)
	s.withLines("bad")
	s.badLine = &forge.Error{Status: 502}
	r := s.controller()
	if err := s.pass(r); err == nil {
		t.Fatal("nobody is told")
	}
	p := s.pulls[7]
	p.Head = s.push("feature", "a line more above")
	s.pulls[7], s.badLine = p, nil
	s.mustPass(r)
	s.mustPass(r)
	if len(s.plans) != 2 || len(s.lines) != 1 {
		t.Errorf("planned %v, %d on lines", s.plans, len(s.lines))
	}
}

// TestCommentOff: who switches comments on lines off has the conversations settled, those
// of this RepoSync, and not asked for again.
func TestCommentOff(t *testing.T) {
	for name, restart := range map[string]bool{"Running": false, "Restarted": true} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t)
			s.sync.Spec.Review.LineComments = v1alpha1.FixLineComments
			s.connect()
			s.withLines("a", "b")
			other := said{LineComment: forge.LineComment{ID: "other", Body: lineMark{"prod/team/others", "c", lineOpen}.String()}}
			s.lines = []said{other}
			r := s.controller()
			s.mustPass(r)
			s.switchLines(v1alpha1.NoLineComments)
			if restart {
				r = s.controller()
			}
			s.badSettle = &forge.Error{Status: 502}
			if err := s.pass(r); err == nil || !strings.Contains(s.said[7][0].Body, "On lines of the diff: 2 that are not settled yet") {
				t.Errorf("%v, said %q", err, s.said[7][0].Body)
			}
			s.badSettle = nil
			s.mustPass(r)
			for i, c := range s.lines {
				if c.Settled != (i > 0) {
					t.Errorf("%+v", c)
				}
			}
			if !strings.Contains(s.settledAs, "settled -->\n✅ Settled: comments on lines are switched off") || strings.Contains(s.said[7][0].Body, "On lines of") {
				t.Errorf("settled as %q, said %q", s.settledAs, s.said[7][0].Body)
			}
			read := s.read
			p := s.pulls[7]
			p.Head = s.push("feature", "another head")
			s.pulls[7] = p
			s.mustPass(r)
			if s.read != read || len(s.lines) != 3 {
				t.Errorf("listed %d times more, %d on lines", s.read-read, len(s.lines))
			}
		})
	}
}

// TestCommentNeverOn: without comments on lines nobody asks the forge for any.
func TestCommentNeverOn(t *testing.T) {
	s := newStage(t)
	s.sync.Spec.Review.LineComments = v1alpha1.NoLineComments
	s.connect()
	r := s.controller()
	for range 3 {
		p := s.pulls[7]
		p.Head = s.push("feature", "head"+strings.Repeat("!", len(s.plans)))
		s.pulls[7] = p
		s.mustPass(r)
	}
	s.configure(func(spec *v1alpha1.RepoSyncSpec) { spec.Substitutions = map[string]string{"a": "b"} }) // as an upgrade, it plans anew
	s.mustPass(r)
	if s.read != 0 || len(s.plans) != 4 {
		t.Errorf("listed %d times, planned %v", s.read, s.plans)
	}
}

// switchLines edits the RepoSync as somebody would.
func (s *stage) switchLines(to v1alpha1.LineComments) {
	s.t.Helper()
	s.configure(func(spec *v1alpha1.RepoSyncSpec) { spec.Review.LineComments = to })
}

func (s *stage) configure(by func(*v1alpha1.RepoSyncSpec)) {
	s.t.Helper()
	now := &v1alpha1.RepoSync{}
	if err := s.kube.Get(s.t.Context(), client.ObjectKeyFromObject(s.sync), now); err != nil {
		s.t.Fatal(err)
	}
	by(&now.Spec)
	now.Generation++
	if err := s.kube.Update(s.t.Context(), now); err != nil {
		s.t.Fatal(err)
	}
}
