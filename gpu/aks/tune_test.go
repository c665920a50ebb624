// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestTune: what AKS changes in place is changed by one write, and what somebody
// else wrote beside it stays.
func TestTune(t *testing.T) {
	bounded := func(least, most int32) *v1alpha1.AKSSpec {
		return &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Min: least, Max: most}}
	}
	cases := map[string]struct {
		reason string
		was    func(*pool.Target)
		people map[string]any // what somebody wrote meanwhile
		want   func(*pool.Target)
		behind string // in words, before it is mended
		props  map[string]any
	}{
		"Upgrade": {
			reason: "The drain timeout is nobody's of ours.",
			people: map[string]any{"upgradeSettings": map[string]any{"maxSurge": "0", "maxUnavailable": "1", "drainTimeoutInMinutes": 90.0}},
			want:   func(t *pool.Target) { t.AKS = &v1alpha1.AKSSpec{Upgrade: &v1alpha1.AKSUpgrade{MaxSurge: "33%"}} },
			behind: "aks.upgrade maxSurge 33%, maxUnavailable 0 (is 0, 1)",
			props:  map[string]any{"upgradeSettings": map[string]any{"maxSurge": "33%", "maxUnavailable": "0", "drainTimeoutInMinutes": 90.0}, "count": 1.0},
		},
		"UpgradeSilent": {
			reason: "A spec that says nothing of upgrades leaves what a person chose.",
			people: map[string]any{"upgradeSettings": map[string]any{"maxSurge": "2"}},
			want:   func(t *pool.Target) { t.AKS = &v1alpha1.AKSSpec{OSDiskType: ""} },
			props:  map[string]any{"upgradeSettings": map[string]any{"maxSurge": "2"}},
		},
		"Labels": {
			reason: "A label of the spec is set, another's stays, and so does one that the spec has no more.",
			was:    func(t *pool.Target) { t.NodeLabels = map[string]string{"team": "a", "old": "x"} },
			want:   func(t *pool.Target) { t.NodeLabels = map[string]string{"team": "b"} },
			behind: `node label team=b (is "a")`,
			props: map[string]any{"nodeLabels": map[string]any{
				"team": "b", "old": "x", "espalier.dev/owner-uid": "uid-a", "espalier.dev/pool": "team-a.a",
			}},
		},
		"Tag": {
			reason: "Azure compares the keys of tags without case: a second spelling would be refused.",
			people: map[string]any{"tags": map[string]any{
				"espalier-owner-uid": "uid-a", "espalier-installation": "i", "espalier-attempt": "1", "Espalier-Pool": "elsewhere", "cost-centre": "42",
			}},
			behind: `tag espalier-pool=team-a/a (is "elsewhere")`,
			props: map[string]any{"tags": map[string]any{
				"espalier-owner-uid": "uid-a", "espalier-installation": "i", "espalier-attempt": "1", "Espalier-Pool": "team-a/a", "cost-centre": "42",
			}},
		},
		"AutoscaleOn": {
			reason: "A count within the bounds is left to the autoscaler as it is.",
			want:   func(t *pool.Target) { t.AKS = bounded(0, 4) },
			behind: "aks.autoscale 0 to 4 (is none)",
			props:  map[string]any{"enableAutoScaling": true, "minCount": 0.0, "maxCount": 4.0, "count": 1.0},
		},
		"AutoscaleBounds": {
			reason: "Other bounds are written without the count, which is not ours.",
			was:    func(t *pool.Target) { t.AKS, t.Replicas = bounded(1, 2), 1 },
			want:   func(t *pool.Target) { t.AKS, t.Replicas = bounded(0, 8), 0 },
			behind: "aks.autoscale 0 to 8 (is 1 to 2)",
			props:  map[string]any{"enableAutoScaling": true, "minCount": 0.0, "maxCount": 8.0, "count": 1.0},
		},
		"AutoscaleOff": {
			reason: "The number of nodes that the autoscaler left is where ours begins.",
			was:    func(t *pool.Target) { t.AKS, t.Replicas = bounded(1, 2), 1 },
			want:   func(t *pool.Target) { t.AKS, t.Replicas = nil, 3 },
			behind: "aks.autoscale none (is 1 to 2)",
			props:  map[string]any{"enableAutoScaling": false, "count": 1.0},
		},
		"Everything": {
			reason: "It is one write, whatever it changes.",
			want: func(t *pool.Target) {
				t.AKS = bounded(0, 2)
				t.AKS.Upgrade, t.NodeLabels = &v1alpha1.AKSUpgrade{MaxSurge: "1"}, map[string]string{"team": "b"}
			},
			behind: `aks.autoscale 0 to 2 (is none), aks.upgrade maxSurge 1, maxUnavailable 0 (is 0, 1), node label team=b (is "")`,
			props:  map[string]any{"enableAutoScaling": true, "upgradeSettings": map[string]any{"maxSurge": "1", "maxUnavailable": "0"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			if tc.was != nil {
				tc.was(&tgt)
			}
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(time.Hour)
			for property, value := range tc.people {
				arm.SetProperty(tgt.PoolName, property, value)
			}
			if tc.want != nil {
				tc.want(&tgt)
			}
			seen := must[pool.Observation](t)(p.Observe(t.Context(), tgt))
			if got := strings.Join(seen.Behind, ", "); got != tc.behind || len(seen.Drift) > 0 {
				t.Errorf("%s\nbehind %s\nwant   %s\ndrift %v", tc.reason, got, tc.behind, seen.Drift)
			}
			writes := arm.Counts()[http.MethodPut]
			want := pool.StepUpdated
			if tc.behind == "" {
				want = pool.StepNone
			}
			if step := must[pool.Step](t)(p.Ensure(t.Context(), tgt)); step != want {
				t.Errorf("%s\nstep %q, want %q", tc.reason, step, want)
			}
			arm.Advance(time.Hour)
			for property, value := range tc.props {
				if diff := cmp.Diff(value, arm.Pools()[0].Props[property]); diff != "" {
					t.Errorf("%s\n%s: -want +got\n%s", tc.reason, property, diff)
				}
			}
			if seen := must[pool.Observation](t)(p.Observe(t.Context(), tgt)); len(seen.Behind) > 0 || tc.behind != "" && arm.Counts()[http.MethodPut] != writes+1 {
				t.Errorf("%s\nstill behind %v after %d writes", tc.reason, seen.Behind, arm.Counts()[http.MethodPut]-writes)
			}
			if fights := arm.Fights(); len(fights) > 0 {
				t.Error(fights)
			}
		})
	}
}

// TestTuneRaces: a write rests on what was read, and never goes to a pool that is
// not ours or that an operation changes.
func TestTuneRaces(t *testing.T) {
	cases := map[string]struct {
		reason   string
		meantime func(*fakearm.Server, string)
		class    pool.Class // of the error; empty: none
		wrote    bool
	}{
		"Changed": {"Somebody was faster: it is read again.", func(arm *fakearm.Server, _ string) {
			arm.FailNext(http.MethodPut, fakearm.Fault{Status: 412, Code: "PreconditionFailed"})
		}, pool.ClassPrecondition, false},
		"Taken":     {"A pool whose mark is gone is not written to.", func(arm *fakearm.Server, name string) { arm.SetTag(name, TagOwner, "somebody") }, pool.ClassOwnership, false},
		"Upgrading": {"AKS is at it: it is left alone.", func(arm *fakearm.Server, name string) { arm.SetState(name, "UpgradingNodeImageVersion") }, "", false},
		"Failed":    {"A write is how AKS is asked to mend a failed pool, too.", func(arm *fakearm.Server, name string) { arm.SetState(name, "Failed") }, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(time.Hour)
			tgt.NodeLabels = map[string]string{"team": "b"}
			tc.meantime(arm, tgt.PoolName)
			_, err := p.Ensure(t.Context(), tgt)
			if class := classOfErr(err); class != tc.class {
				t.Errorf("%s\nclass %q, want %q: %v", tc.reason, class, tc.class, err)
			}
			if wrote := arm.Pools()[0].Labels["team"] == "b"; wrote != tc.wrote {
				t.Errorf("%s\nwrote %t", tc.reason, wrote)
			}
		})
	}
}

// TestAutoscalerIsLeftAlone: the number of nodes that the autoscaler has is written
// by nobody else, whatever replicas are.
func TestAutoscalerIsLeftAlone(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	tgt.AKS, tgt.Replicas = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Max: 4}}, 0
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(time.Hour)
	if err := arm.Autoscale(tgt.PoolName, 3); err != nil {
		t.Fatal(err)
	}
	arm.Advance(time.Hour)
	for _, want := range []pool.Target{tgt, {Replicas: 1}, {Mend: true}, {Shrink: true, Replicas: 1}} {
		again := tgt
		again.Replicas, again.Mend, again.Shrink = want.Replicas, want.Mend, want.Shrink
		if step := must[pool.Step](t)(p.Ensure(t.Context(), again)); step != pool.StepNone {
			t.Errorf("step %q", step)
		}
	}
	seen := must[pool.Observation](t)(p.Observe(t.Context(), tgt))
	if !seen.Autoscaled || seen.Count != 3 || len(arm.Pools()[0].Machines) != 3 {
		t.Errorf("seen %+v", seen)
	}
}

// TestAutoscaleFromBelow: AKS refuses to turn its autoscaler on in a write that
// changes the count too, so missing nodes are made by a write of their own.
func TestAutoscaleFromBelow(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(time.Hour)
	tgt.AKS, tgt.Replicas = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Min: 2, Max: 4}}, 2
	for _, want := range []struct {
		step  pool.Step
		count int
		on    any
	}{{pool.StepScaled, 2, nil}, {pool.StepUpdated, 2, true}, {pool.StepNone, 2, true}} {
		if step := must[pool.Step](t)(p.Ensure(t.Context(), tgt)); step != want.step {
			t.Errorf("step %q, want %q", step, want.step)
		}
		arm.Advance(time.Hour)
		if got := arm.Pools()[0]; got.Count != want.count || got.Props["enableAutoScaling"] != want.on {
			t.Errorf("after %q %d nodes, autoscaler %v", want.step, got.Count, got.Props["enableAutoScaling"])
		}
	}
}

// TestAutoscaleOffSaysTheCount: the write that takes the number of nodes back says
// it: what AKS makes of a count that is left out is its default of 1.
func TestAutoscaleOffSaysTheCount(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	tgt.AKS, tgt.Replicas = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Max: 4}}, 0
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(time.Hour)
	if err := arm.Autoscale(tgt.PoolName, 3); err != nil {
		t.Fatal(err)
	}
	arm.Advance(time.Hour)
	tgt.AKS, tgt.Replicas = nil, 1
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(time.Hour)
	if got := arm.Pools()[0]; got.Count != 3 || len(got.Machines) != 3 || got.Props["enableAutoScaling"] != false {
		t.Errorf("%d of 3 machines stay, autoscaler %v", len(got.Machines), got.Props["enableAutoScaling"])
	}
}

// TestShrinkEvicted: machines that were evicted are in the count and in no list, so
// none can be removed by name; the count itself is brought down to those there are.
func TestShrinkEvicted(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		target     func(*pool.Target)
		registered int // nodes of the cluster
		step       pool.Step
		count      int
	}{
		"Autoscale": {"As many as there must be, and the autoscaler is turned on next.", func(t *pool.Target) {
			t.AKS, t.Replicas = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Max: 1}}, 1
		}, 0, pool.StepScaled, 0},
		"Fewer":   {"As many as are wanted.", func(t *pool.Target) { t.Replicas = 2 }, 0, pool.StepScaled, 2},
		"Unclear": {"Nodes of no machine that AKS knows: nothing is concluded from that.", func(t *pool.Target) { t.Replicas = 2 }, 1, "", 4},
	} {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			tgt.Replicas = 4
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(time.Hour)
			for len(arm.Pools()[0].Machines) > 0 {
				arm.Evict(tgt.PoolName)
			}
			c.target(&tgt)
			tgt.Shrink = true
			for range c.registered {
				tgt.Registered = append(tgt.Registered, "n")
			}
			step, err := p.Ensure(t.Context(), tgt)
			if step != c.step || (err == nil) != (c.step != "") {
				t.Errorf("%s\nstep %q, want %q: %v", c.reason, step, c.step, err)
			}
			arm.Advance(time.Hour)
			if got := arm.Pools()[0]; got.Count != c.count {
				t.Errorf("%s\n%d nodes, want %d", c.reason, got.Count, c.count)
			}
		})
	}
}

// TestTuneTakesNoNode: nodes that came after the decision are not taken away by a
// change of settings, though none is wanted.
func TestTuneTakesNoNode(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(time.Hour)
	tgt.Replicas, tgt.NodeLabels = 0, map[string]string{"team": "b"} // an idle pool, that somebody has grown by hand
	if step := must[pool.Step](t)(p.Ensure(t.Context(), tgt)); step != pool.StepNone {
		t.Errorf("step %q", step)
	}
	arm.Advance(time.Hour)
	if got := arm.Pools()[0]; got.Count != 1 || len(got.Machines) != 1 {
		t.Errorf("a node was taken: %+v", got)
	}
}
