// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// TestManyChanges: a thousand changed Workspaces are judged, priced and counted,
// and rendering stops where nobody reads on; the comment keeps to its size.
func TestManyChanges(t *testing.T) {
	const n = 1_000
	judge := benchJudge()
	side := func(replicas int) plan.Side {
		f := files{}
		for i := range n {
			f[fmt.Sprintf("%03d.yaml", i/100)] += "---\n" + service(fmt.Sprintf("w%05d", i), "replicas: 1", fmt.Sprintf("replicas: %d", replicas))
		}
		return plan.Side{Sync: team(), State: state(t, judge, team(), f)}
	}
	p := plan.CompareAtMost(side(1), side(2), 20)
	if p.Summary.Changed != n || p.Refused {
		t.Fatalf("%d of %d change: %s", p.Summary.Changed, n, p.Summary.Line)
	}
	if !slices.ContainsFunc(p.NotChecked, func(n plan.Note) bool { return n.Code == plan.TooManyChanges }) {
		t.Errorf("that not all are rendered must be said: %v", p.NotChecked)
	}
	if got := p.Markdown(plan.LimitGitHub); len(got) > plan.LimitGitHub {
		t.Errorf("%d bytes", len(got))
	}
}
