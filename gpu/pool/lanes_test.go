// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// filled is a pool of lanes of at most four nodes.
func filled(seen ...Lane) Facts {
	f := facts(v1alpha1.PhaseReady, ours(StateSucceeded))
	f.Pool.Spec.Provider = v1alpha1.ProviderKarpenter
	f.Pool.Spec.Karpenter = &v1alpha1.KarpenterSpec{Mode: v1alpha1.KarpenterNodePools, MaxNodes: 4}
	f.Pool.Spec.Candidates = []v1alpha1.Candidate{onDemand(a100), onDemand(t4)}
	f.Seen.Lanes, f.Seen.Count = seen, 0
	for _, l := range seen {
		f.Seen.Count += l.Nodes
	}
	return f
}

func lane(instance string, limit, nodes int32) Lane {
	return Lane{Candidate: onDemand(instance), Limit: limit, Nodes: nodes, Ready: true}
}

func soldOut(l Lane) Lane {
	l.Failure = &Failure{Class: ClassCapacity, Text: "sold out"}
	return l
}

// TestLanes: one lane is open, and all of them together allow no more than the spec.
func TestLanes(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		facts  Facts
		want   map[string]int32 // limit of each instance type; nil: none is wanted
		do     Action
		phase  v1alpha1.PoolPhase
	}{
		"None":    {"Both are made, the first may grow.", filled(), map[string]int32{a100: 4, t4: 0}, ActionEnsure, v1alpha1.PhaseCreating},
		"Empty":   {"Nothing is to do: pods bring nodes.", filled(lane(a100, 4, 0), lane(t4, 0, 0)), map[string]int32{a100: 4, t4: 0}, ActionNone, v1alpha1.PhaseReady},
		"SoldOut": {"The second gets what the first has not used.", filled(soldOut(lane(a100, 4, 1)), lane(t4, 0, 0)), map[string]int32{a100: 1, t4: 3}, ActionEnsure, v1alpha1.PhaseReady},
		"Both":    {"None is left: the first stays open, because Karpenter tries it again.", filled(soldOut(lane(a100, 4, 0)), soldOut(lane(t4, 0, 0))), map[string]int32{a100: 4, t4: 0}, ActionNone, v1alpha1.PhaseExhausted},
		"BothUsed": {
			"Nodes that are there serve all the same.", filled(soldOut(lane(a100, 4, 0)), soldOut(lane(t4, 0, 2))), map[string]int32{a100: 2, t4: 2}, ActionEnsure, v1alpha1.PhaseReady,
		},
		"More":    {"More than are allowed now: none grows, and none is taken away.", filled(lane(a100, 4, 6), lane(t4, 0, 0)), map[string]int32{a100: 4, t4: 0}, ActionNone, v1alpha1.PhaseReady},
		"Dropped": {"What is no longer listed counts while it is there.", filled(lane(a100, 4, 0), lane(t4, 0, 0), lane(h100, 0, 1)), map[string]int32{a100: 3, t4: 0}, ActionEnsure, v1alpha1.PhaseReady},
		"Fewer": {
			"More than are allowed since: of neither may one come.", filled(lane(a100, 2, 6), lane(t4, 0, 2)), map[string]int32{a100: 2, t4: 0}, ActionNone, v1alpha1.PhaseReady,
		},
		"Going": {
			"What somebody deletes makes no node any more, and is made again when it is gone.", filled(going(lane(a100, 0, 1)), lane(t4, 0, 0)), map[string]int32{a100: 4, t4: 0}, ActionNone, v1alpha1.PhaseReady,
		},
		"Idle": {"Nobody uses it.", unused(filled(lane(a100, 4, 1), lane(t4, 0, 0)), v1alpha1.IdleScaleToZero), map[string]int32{a100: 0, t4: 0}, ActionEnsure, v1alpha1.PhaseReady},
		"Gone": {"Likewise, and its NodePools go.", unused(filled(lane(a100, 0, 0), lane(t4, 0, 0)), v1alpha1.IdleDelete), nil, ActionEnsure, v1alpha1.PhaseIdle},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.facts)
			var got map[string]int32
			var sum int32
			for _, l := range d.Lanes {
				if got == nil {
					got = map[string]int32{}
				}
				got[l.Candidate.InstanceType] = l.Limit
				sum += l.Limit
			}
			if diff := cmp.Diff(c.want, got); diff != "" || d.Do != c.do || d.Phase != c.phase {
				t.Errorf("%s\n%s is %s, does %q: %s", c.reason, diff, d.Phase, d.Do, d.Message)
			}
			if sum > 4 {
				t.Errorf("%s\nall together may have %d nodes", c.reason, sum)
			}
		})
	}
}

func going(l Lane) Lane {
	l.Going = true
	return l
}

// TestLanesNothingToWrite: where the provider finds nothing to write, it is not asked
// again at once, and again.
func TestLanesNothingToWrite(t *testing.T) {
	f := filled(lane(a100, 2, 1), lane(t4, 0, 0))
	if d := Acted(f, Decide(f), StepNone); d.Wait != f.Poll {
		t.Errorf("the next look is in %s, want %s", d.Wait, f.Poll)
	}
}

// TestLanesOrphaned: what is left to itself makes no node that nobody answers for.
func TestLanesOrphaned(t *testing.T) {
	f := filled(lane(a100, 4, 1), lane(t4, 0, 0))
	f.Pool.Spec.DeletionPolicy = v1alpha1.Orphan
	f.Pool.DeletionTimestamp = &metav1.Time{Time: f.Now}
	if d := Decide(f); d.Do != ActionEnsure || d.Gone || len(d.Lanes) > 0 {
		t.Errorf("does %q, gone %t, lanes %v: want them closed", d.Do, d.Gone, d.Lanes)
	}
	f.Seen.Lanes[0].Limit = 0
	if d := Decide(f); d.Do != ActionNone || !d.Gone {
		t.Errorf("does %q, gone %t: want it let go", d.Do, d.Gone)
	}
}

func unused(f Facts, action v1alpha1.IdleAction) Facts {
	since := metav1.NewTime(f.Now.Add(-time.Hour))
	f.Pool.Spec.Idle = &v1alpha1.PoolIdle{After: metav1.Duration{Duration: 30 * time.Minute}, Action: action}
	f.Pool.Status.IdleSince = &since
	return f
}
