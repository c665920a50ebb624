// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestDriver: nodes are held to the driver that Git says, as far as discovery says theirs.
func TestDriver(t *testing.T) {
	full := func(version string) map[string]string { return map[string]string{labelDriver: version} }
	const tooOld = "node n1 has driver 570.211.01, and Git says that none is older than 580, which the images are chosen for: update it, or write 570.211.01 in Git"
	for name, c := range map[string]struct {
		reason string
		said   string
		labels map[string]string
		want   string // of the problem
	}{
		"Older":      {"The image that was chosen does not start on it.", "580", full("570.211.01"), tooOld},
		"OlderParts": {"Older releases of discovery say it in parts.", "580", map[string]string{labelDriverMajor: "570", labelDriverMinor: "211", labelDriverRevision: "01"}, tooOld},
		"NoRevision": {"Some drivers have none.", "395", map[string]string{labelDriverMajor: "390", labelDriverMinor: "157", labelDriverRevision: ""}, "node n1 has driver 390.157, and Git says that none is older than 395, which the images are chosen for: update it, or write 390.157 in Git"},
		"Branch":     {"Git says no more than the branch.", "580", full("580.65.06"), ""},
		"Version":    {"Git says more.", "580.95.05", full("580.65.06"), "node n1 has driver 580.65.06, and Git says that none is older than 580.95.05, which the images are chosen for: update it, or write 580.65.06 in Git"},
		"MajorOnly":  {"What a label leaves open is believed.", "580.95.05", map[string]string{labelDriverMajor: "580"}, ""},
		"Newer":      {"A newer one runs it.", "580", full("610.57.04"), ""},
		"NoLabel":    {"Without discovery Git is believed.", "580", nil, ""},
		"BadLabel":   {"What is no driver says nothing.", "580", full("unknown"), ""},
		"NotSaid":    {"Nobody chose an image by it.", "", full("470.256.02"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := facts("", Observation{External: true, Fresh: true}, nodes(NodeOf(discovered(1, c.labels))), spec(func(p *v1alpha1.GPUNodePool) {
				p.Spec.Provider, p.Spec.Driver = v1alpha1.ProviderExisting, c.said
			}))
			if d := Decide(f); d.Count.Problem != c.want || (d.Phase == v1alpha1.PhaseReady) != (c.want == "") {
				t.Errorf("%s: %s, %q\nwant %q", c.reason, d.Phase, d.Count.Problem, c.want)
			}
		})
	}
}

// TestDriverOfOperator: nodes that are bought for a driver that the GPU operator does not bring are
// given up in time, with the reason.
func TestDriverOfOperator(t *testing.T) {
	old := NodeOf(discovered(1, map[string]string{labelDriver: "570.211.01"}))
	f := facts(v1alpha1.PhaseGPUWaiting, ours(StateSucceeded), nodes(old), spec(func(p *v1alpha1.GPUNodePool) {
		p.Spec.AKS, p.Spec.Driver = &v1alpha1.AKSSpec{GPUDriver: v1alpha1.DriverNone}, "580"
	}))
	const says = "1 of 1 GPU can be allocated: node n1 has driver 570.211.01, and Git says that none is older than 580"
	if d := Decide(f); d.Phase != v1alpha1.PhaseGPUWaiting || !strings.HasPrefix(d.Message, says) {
		t.Errorf("at first it is %s: %s", d.Phase, d.Message)
	}
	after(time.Hour)(&f)
	d := Decide(f)
	if d.Phase != v1alpha1.PhaseCleaning || len(d.Skipped) != 1 || !strings.Contains(d.Skipped[0].Message, "has driver 570.211.01") {
		t.Errorf("then it is %s, with %+v", d.Phase, d.Skipped)
	}
}

// TestDriverChanges: what a pool that was Ready says when its nodes, or Git, say another
// driver: work that runs on them stays.
func TestDriverChanges(t *testing.T) {
	said := func(driver string) func(*Facts) {
		return spec(func(p *v1alpha1.GPUNodePool) { p.Spec.Driver = driver })
	}
	node := func(driver string) Node { return NodeOf(discovered(1, map[string]string{labelDriver: driver})) }
	sliced := func(f *Facts) {
		f.Pool.Spec.Existing = &v1alpha1.ExistingSpec{MIG: "2g.24gb"}
		f.Nodes[0].GPUs, f.Nodes[0].Offered = 2, 2
	}
	external := Observation{External: true, Fresh: true}
	for name, c := range map[string]struct {
		reason  string
		in      Facts
		phase   v1alpha1.PoolPhase
		alarmed bool
	}{
		"Updated":  {"A newer driver changes nothing.", facts(v1alpha1.PhaseReady, external, nodes(node("590.48.01")), said("580")), v1alpha1.PhaseReady, false},
		"Reverted": {"An older one is an alarm; the pods stay where they are.", facts(v1alpha1.PhaseReady, external, nodes(node("570.211.01")), said("580")), v1alpha1.PhaseGPUWaiting, true},
		"Raised":   {"Git says more than is true.", facts(v1alpha1.PhaseReady, external, nodes(node("580.65.06")), said("590")), v1alpha1.PhaseGPUWaiting, true},
		"Spare":    {"A node that is right makes up for one that is not.", facts(v1alpha1.PhaseReady, external, nodes(node("570.211.01"), Node{Name: "n2", Ready: true, GPUs: 1, Offered: 1}), said("580")), v1alpha1.PhaseReady, false},
		"Slices":   {"A slice has the driver of its machine.", facts(v1alpha1.PhaseReady, external, nodes(node("570.211.01")), said("580"), sliced), v1alpha1.PhaseGPUWaiting, true},
		"Operator": {"So it is where the GPU operator brings it to nodes that are bought.", facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(node("570.211.01")), said("580")), v1alpha1.PhaseGPUWaiting, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.in)
			alarmed := slices.ContainsFunc(d.Alarms, func(a Alarm) bool { return a.Type == v1alpha1.ConditionDegraded })
			if d.Phase != c.phase || alarmed != c.alarmed || d.Do != ActionNone {
				t.Errorf("%s: %s, degraded %t, does %q: %s", c.reason, d.Phase, alarmed, d.Do, d.Message)
			}
		})
	}
}
