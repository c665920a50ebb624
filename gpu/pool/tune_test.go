// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func autoscales(least, most int32) func(*Facts) {
	return spec(func(p *v1alpha1.GPUNodePool) {
		p.Spec.AKS = &v1alpha1.AKSSpec{Autoscale: &v1alpha1.AKSAutoscale{Min: least, Max: most}}
	})
}

// saidNoBefore is a status that tells of a change which the cloud refused.
func saidNoBefore(f *Facts) {
	f.Pool.Status.Tuned = &metav1.Time{Time: f.Now.Add(-2 * time.Minute)}
	f.Pool.Status.Conditions = []metav1.Condition{{
		Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionTrue, Reason: string(ClassSpec), Message: notChanged + "b: the policy forbids it",
	}}
}

// TestAutoscaled: the cloud's autoscaler has the number of nodes, and what is there
// is judged.
func TestAutoscaled(t *testing.T) {
	good := Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}
	young := Node{Name: "n2", Ready: true, Created: now.Add(4 * time.Minute)}
	old := Node{Name: "n2", Ready: true, Created: now.Add(-time.Hour)}
	has := func(count int32, change ...func(*Observation)) Observation {
		o := ours(StateSucceeded)
		o.Count, o.Autoscaled = count, true
		for _, c := range change {
			c(&o)
		}
		return o
	}
	off := func(o *Observation) { o.Autoscaled, o.Behind = false, []string{"aks.autoscale 0 to 4 (is none)"} }
	running := func(o *Observation) { o.State = StateRunning }
	failed := func(class Class) func(*Observation) {
		return func(o *Observation) { o.State, o.Failure = StateFailed, &Failure{Class: class, Text: "none left"} }
	}
	for name, c := range map[string]struct {
		reason string
		in     Facts
		want   verdict
		says   string
	}{
		"EmptyAtFirst": {
			reason: "A pool that may be empty is made all the same: the autoscaler fills it.",
			in:     facts("", absent, autoscales(0, 4)),
			want:   verdict{Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 1, Wait: Soon},
			says:   "Asking for 0 to 4 Standard_NC24ads_A100_v4 nodes",
		},
		"Ordered": {
			reason: "Likewise once it is recorded.",
			in:     facts(v1alpha1.PhaseClaiming, absent, autoscales(0, 4)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 1, Wait: poll},
		},
		"Empty": {
			reason: "Nothing is wanted of it yet: pods bring nodes, and pods come when it is Ready.",
			in:     facts(v1alpha1.PhaseCreating, has(0), autoscales(0, 4)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
			says:   "keeps 0 to 4 Standard_NC24ads_A100_v4 nodes, as pods need them: none is there now",
		},
		"Least": {
			reason: "The fewest nodes are what the first Ready waits for.",
			in:     facts(v1alpha1.PhaseCreating, has(2), autoscales(2, 4), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: v1alpha1.ReasonWaitingForNodes, Attempt: 1, Wait: poll},
		},
		"Growing": {
			reason: "A node on its way takes nothing from those that work.",
			in:     facts(v1alpha1.PhaseReady, has(3, running), autoscales(1, 4), nodes(good, young)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
			says:   "2 are there, with 1 GPU",
		},
		"Shrunk": {
			reason: "What the autoscaler took away is not ordered again.",
			in:     facts(v1alpha1.PhaseReady, has(1), autoscales(1, 4), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
		},
		"Stuck": {
			reason: "A node that has had its time and offers no GPU is paid for and used by nobody.",
			in:     facts(v1alpha1.PhaseReady, has(2), autoscales(1, 4), nodes(good, old)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"BelowLeast": {
			reason: "The autoscaler brings them back; until then it is not as declared.",
			in:     facts(v1alpha1.PhaseReady, has(2), autoscales(2, 4), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"NeverMended": {
			reason: "Nor does a repeated order bring them: the count is not ours.",
			in:     facts(v1alpha1.PhaseNodesJoining, has(2), autoscales(2, 4), nodes(good), degradedBefore, after(15*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"TurnedOn": {
			reason: "Within the bounds it is turned on at once.",
			in:     facts(v1alpha1.PhaseReady, has(1, off), autoscales(0, 4), nodes(good)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: poll},
			says:   "is yet to be turned on for 0 to 4",
		},
		"TurnedOff": {
			reason: "First it is turned off, then the nodes are counted: never two at one number.",
			in: facts(v1alpha1.PhaseReady, has(3, func(o *Observation) { o.Behind = []string{"aks.autoscale none (is 0 to 4)"} }),
				replicas(1), nodes(good, good, good)),
			want: verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: poll},
		},
		"SoldOut": {
			reason: "An empty pool whose nodes cannot be had gives way to the next candidate.",
			in:     facts(v1alpha1.PhaseReady, has(1, failed(ClassCapacity)), autoscales(0, 4)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassCapacity), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"SoldOutBesideWork": {
			reason: "Where something may run, it stays, and the failure is told.",
			in:     facts(v1alpha1.PhaseReady, has(2, failed(ClassCapacity)), autoscales(0, 4), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"SoldOutEverywhere": {
			reason: "Without another candidate the autoscaler's own tries are as good as any.",
			in: facts(v1alpha1.PhaseReady, has(1, failed(ClassCapacity)), autoscales(0, 4), spec(func(p *v1alpha1.GPUNodePool) {
				p.Spec.Candidates = p.Spec.Candidates[:1]
			})),
			want: verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"NoSubnet": {
			reason: "What another size does not help with is no reason to make another pool.",
			in:     facts(v1alpha1.PhaseReady, has(1, failed(ClassSubnet)), autoscales(0, 4)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.in)
			if diff := cmp.Diff(c.want, verdictOf(d)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s\n%s", c.reason, diff, d.Message)
			}
			if !strings.Contains(d.Message, c.says) {
				t.Errorf("%s\nsays %q, want %q", c.reason, d.Message, c.says)
			}
			if d.Shrinks {
				t.Errorf("%s\nnodes are removed", c.reason)
			}
		})
	}
}

// TestAutoscaleFromAbove: too many nodes go before the autoscaler is turned on, and
// go as they always do: empty ones, by name.
func TestAutoscaleFromAbove(t *testing.T) {
	seen := ours(StateSucceeded)
	seen.Count, seen.Behind = 5, []string{"aks.autoscale 0 to 3 (is none)"}
	d := Decide(facts(v1alpha1.PhaseReady, seen, autoscales(0, 3)))
	if d.Do != ActionEnsure || !d.Shrinks || d.Fewer != 2 || d.Tunes {
		t.Errorf("decision %+v", d)
	}
}

// TestAutoscaleFromBelow: too few nodes are made before the autoscaler is turned on,
// in a write of its own.
func TestAutoscaleFromBelow(t *testing.T) {
	seen := ours(StateSucceeded)
	seen.Count, seen.Behind = 1, []string{"aks.autoscale 2 to 4 (is none)"}
	d := Decide(facts(v1alpha1.PhaseReady, seen, autoscales(2, 4)))
	if d.Do != ActionEnsure || d.Shrinks || d.Tunes || d.Count.Wanted != 2 {
		t.Errorf("decision %+v", d)
	}
}

// TestAutoscaleOffBeforeReady: a pool that Git takes back while AKS makes it, empty,
// would wait for nodes that nobody orders.
func TestAutoscaleOffBeforeReady(t *testing.T) {
	seen := ours(StateSucceeded)
	seen.Count, seen.Autoscaled, seen.Behind = 0, true, []string{"aks.autoscale none (is 0 to 4)"}
	d := Decide(facts(v1alpha1.PhaseCreating, seen, replicas(2)))
	if d.Do != ActionEnsure || !d.Tunes || d.Shrinks {
		t.Errorf("decision %+v", d)
	}
}

// TestTune: what can be changed in place is, in its time.
func TestTune(t *testing.T) {
	good := Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}
	behind := func(s State) Observation { o := ours(s); o.Behind = []string{"b"}; return o }
	sent := func(ago time.Duration) func(*Facts) {
		return func(f *Facts) { f.Pool.Status.Tuned = &metav1.Time{Time: f.Now.Add(-ago)} }
	}
	for name, c := range map[string]struct {
		reason string
		in     Facts
		tunes  bool
		alarms []string
	}{
		"Ready":      {reason: "Nothing is under way.", in: facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good)), tunes: true},
		"Busy":       {reason: "An operation is under way.", in: facts(v1alpha1.PhaseReady, behind(StateRunning), nodes(good))},
		"Creating":   {reason: "Nodes that nobody could use yet are not held up by another operation.", in: facts(v1alpha1.PhaseGPUWaiting, behind(StateSucceeded), nodes(Node{Name: "n1", Ready: true}))},
		"JustSent":   {reason: "AKS takes one write a minute.", in: facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good), sent(30*time.Second))},
		"LongAgo":    {reason: "Then it may be asked again.", in: facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good), sent(time.Minute)), tunes: true},
		"CountFirst": {reason: "Somebody waits for nodes, and nobody for a setting.", in: facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good), replicas(2)), alarms: []string{v1alpha1.ConditionDegraded}},
		"Refused": {
			reason: "What was refused is tried again later, and said until then.",
			in:     facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good), saidNoBefore), alarms: []string{v1alpha1.ConditionDrifted},
		},
		"RefusedBefore": {
			reason: "A new generation may ask for what is allowed.",
			in: facts(v1alpha1.PhaseReady, behind(StateSucceeded), nodes(good), saidNoBefore,
				spec(func(p *v1alpha1.GPUNodePool) { p.Generation++ })), tunes: true,
		},
		"Undone": {reason: "Nobody asks for it any more.", in: facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(good), saidNoBefore)},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.in)
			if d.Tunes != c.tunes || d.Tunes && d.Do != ActionEnsure {
				t.Errorf("%s\n%+v", c.reason, d)
			}
			if diff := cmp.Diff(c.alarms, verdictOf(d).Alarms); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestTuneRefused: the pool stays Ready, says what could not be changed and why,
// and does not ask with every look.
func TestTuneRefused(t *testing.T) {
	seen := ours(StateSucceeded)
	seen.Behind, seen.Drift = []string{"aks.upgrade maxSurge 1"}, []string{"aks.mig none (is MIG3g)"}
	f := facts(v1alpha1.PhaseReady, seen, nodes(Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}))
	d, retry := Failed(f, Decide(f), &Failure{Class: ClassAuth, Text: "policy p forbids it"})
	if retry || d.Phase != v1alpha1.PhaseReady || d.Reason != v1alpha1.ReasonSucceeded || d.Tuned == nil || d.Wait != mendAfter {
		t.Errorf("decision %+v", d)
	}
	want := "These cannot be changed on a node pool that exists: aks.mig none (is MIG3g); suspend the Workspaces on it, then delete the GPUNodePool, to have them. " +
		"These could not be changed: aks.upgrade maxSurge 1: policy p forbids it; give the controller's identity the permission, or change the policy"
	if len(d.Alarms) != 1 || d.Alarms[0].Message != want {
		t.Errorf("says %+v", d.Alarms)
	}
	f.Pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDrifted, Status: metav1.ConditionTrue, Reason: d.Alarms[0].Reason, Message: d.Alarms[0].Message}}
	f.Pool.Status.Tuned = d.Tuned
	if again := Decide(f); again.Do != ActionNone || again.Alarms[0].Message != want {
		t.Errorf("the next look %+v", again)
	}
}

// TestTuneRefusedForUnknown: what is in no table is told and paced as a refusal; what
// waiting mends is left to the queue.
func TestTuneRefusedForUnknown(t *testing.T) {
	seen := ours(StateSucceeded)
	seen.Behind = []string{"aks.upgrade maxSurge 1"}
	f := facts(v1alpha1.PhaseReady, seen, nodes(Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}))
	d, retry := Failed(f, Decide(f), &Failure{Class: ClassUnknown, Code: "NewCode", Text: "new text"})
	if retry || d.Wait != mendAfter || len(d.Alarms) != 1 || d.Alarms[0].Reason != string(ClassUnknown) || d.Phase != v1alpha1.PhaseReady {
		t.Errorf("decision %+v, by backoff %t", d, retry)
	}
	if d, retry := Failed(f, Decide(f), &Failure{Class: ClassTransient, Text: "down"}); !retry || len(d.Alarms) > 0 {
		t.Errorf("decision %+v, by backoff %t", d, retry)
	}
}
