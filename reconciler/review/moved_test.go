// SPDX-License-Identifier: Apache-2.0

package review

import (
	"testing"

	"github.com/espalier-dev/espalier/reconciler/forge"
)

// TestCommentMoved: a push between two comments on lines ends them, since some forges
// take the number of a line for that of the newest head. The next pass says the rest.
func TestCommentMoved(t *testing.T) {
	s := newStage(t)
	plain := s.planned
	s.planned = func(q Question) (Verdict, error) {
		v, err := plain(q)
		v.Lines = &Lines{Standing: []string{"a", "b"}, Findings: 2, Offered: []OnLine{{Key: "a", Line: forge.Line{File: "a"}}, {Key: "b", Line: forge.Line{File: "b"}}}}
		return v, err
	}
	s.wrote = func() {
		s.wrote = nil
		p := s.pulls[7]
		p.Head = s.push("feature", "a line more above")
		s.pulls[7] = p
	}
	r := s.controller()
	s.mustPass(r)
	if len(s.lines) != 1 || len(s.said[7]) != 0 {
		t.Fatalf("%d on lines, %d comments: the numbers are of another head", len(s.lines), len(s.said[7]))
	}
	s.mustPass(r)
	if len(s.lines) != 2 || len(s.said[7]) != 1 || len(s.plans) != 2 {
		t.Errorf("%d on lines, %d comments, %d plans", len(s.lines), len(s.said[7]), len(s.plans))
	}
}
