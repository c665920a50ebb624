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

// empty is a Ready node with nothing on it, changed by the case.
func empty(name string, change ...func(*Standing)) Standing {
	s := Standing{Name: name, Ready: true}
	for _, c := range change {
		c(&s)
	}
	return s
}

func own(s *Standing) { s.Pods = append(s.Pods, "team-a/own-"+s.Name) }
func foreign(s *Standing) {
	s.Pods, s.Foreign = append(s.Pods, "b/"+s.Name), append(s.Foreign, "b/"+s.Name)
}
func broken(s *Standing)   { s.Ready = false }
func byOthers(s *Standing) { s.Cordoned = true }
func cordoned(ago time.Duration) func(*Standing) {
	return func(s *Standing) { s.Cordoned, s.Ours, s.Since = true, true, now.Add(-ago) }
}

func TestClearAll(t *testing.T) {
	cases := map[string]struct {
		reason string
		nodes  []Standing
		want   Clearing
	}{
		"NoNode":       {"Nothing to lose.", nil, Clearing{}},
		"CordonFirst":  {"The scheduler must not put anything there any more.", []Standing{empty("a"), empty("b", own)}, Clearing{Cordon: []string{"a", "b"}, Remove: []string{"a", "b"}, Wait: CordonPause}},
		"LookAgain":    {"A pod may have been bound while we cordoned.", []Standing{empty("a", cordoned(2*time.Second))}, Clearing{Remove: []string{"a"}, Wait: 3 * time.Second}},
		"Go":           {"Cordoned for long enough, and only the Workspace's own pods.", []Standing{empty("a", own, cordoned(time.Minute))}, Clearing{Remove: []string{"a"}}},
		"ByOthers":     {"A person cordoned it, some time ago.", []Standing{empty("a", byOthers)}, Clearing{Remove: []string{"a"}}},
		"ForeignPod":   {"It blocks before anything is cordoned.", []Standing{empty("a"), empty("b", foreign)}, Clearing{Blocked: []string{"b/b"}}},
		"ForeignLater": {"It appeared while we cordoned: the nodes are given back.", []Standing{empty("a", cordoned(time.Minute)), empty("b", foreign, cordoned(time.Minute)), empty("c", byOthers)}, Clearing{Blocked: []string{"b/b"}, Uncordon: []string{"a", "b"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ClearAll(tc.nodes, CordonPause, now)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestClearSome(t *testing.T) {
	cases := map[string]struct {
		reason string
		nodes  []Standing
		fewer  int
		want   Clearing
	}{
		"Newest":        {"Of empty nodes the newest goes.", []Standing{empty("a"), empty("b")}, 1, Clearing{Cordon: []string{"b"}, Remove: []string{"b"}, Wait: CordonPause}},
		"EmptyOne":      {"Never the node with pods, though it is the newest.", []Standing{empty("a"), empty("b", own)}, 1, Clearing{Cordon: []string{"a"}, Remove: []string{"a"}, Wait: CordonPause}},
		"OwnPodsBlock":  {"The pool stays, so its own Workspace's work counts too.", []Standing{empty("a", own), empty("b", foreign)}, 1, Clearing{Blocked: []string{"b/b", "team-a/own-a"}}},
		"SomeNow":       {"Two are too many and one is empty: it goes, the other later.", []Standing{empty("a"), empty("b", own), empty("c", own)}, 2, Clearing{Cordon: []string{"a"}, Remove: []string{"a"}, Wait: CordonPause}},
		"BrokenFirst":   {"A node that is not Ready is of no use.", []Standing{empty("a", broken), empty("b")}, 1, Clearing{Cordon: []string{"a"}, Remove: []string{"a"}, Wait: CordonPause}},
		"CordonedFirst": {"Who is on the way out stays on it.", []Standing{empty("a", cordoned(time.Minute)), empty("b")}, 1, Clearing{Remove: []string{"a"}}},
		"BusyMeanwhile": {"A pod came onto the cordoned node: it is given back, and another chosen.", []Standing{empty("a", own, cordoned(time.Minute)), empty("b")}, 1, Clearing{Uncordon: []string{"a"}, Cordon: []string{"b"}, Remove: []string{"b"}, Wait: CordonPause}},
		"FewerThanThen": {"The spec wants more again: one of two cordoned nodes is given back.", []Standing{empty("a", cordoned(time.Minute)), empty("b", cordoned(time.Minute))}, 1, Clearing{Uncordon: []string{"a"}, Remove: []string{"b"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ClearSome(tc.nodes, tc.fewer, CordonPause, now)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBlockedSaysWhat(t *testing.T) {
	f := facts(v1alpha1.PhaseReady, Observation{Exists: true, Owned: true, State: StateSucceeded, Count: 3})
	d := Blocked(f, Decision{Do: ActionEnsure, Fewer: 2, Phase: v1alpha1.PhaseReady}, []string{"b/y", "b/x", "b/x"})
	if d.Do != ActionNone || d.Phase != v1alpha1.PhaseReady || len(d.Alarms) != 1 || d.Alarms[0].Message != "2 nodes more than wanted, and every node runs pods (b/x, b/y); a node is removed when nothing runs on it" {
		t.Errorf("got %+v", d)
	}
	var many []string
	for c := range 14 {
		many = append(many, "b/"+string(rune('a'+c)))
	}
	if d := Blocked(f, Decision{Do: ActionDelete, Subject: "g1"}, many); !strings.Contains(d.Message, "b/j and 4 more; move them") {
		t.Errorf("got %q", d.Message)
	}
}

func TestMassDeletion(t *testing.T) {
	at := func(minutes ...int) []Doomed {
		var out []Doomed
		for _, m := range minutes {
			out = append(out, Doomed{At: now.Add(time.Duration(m) * time.Minute)})
		}
		return out
	}
	cases := map[string]struct {
		reason string
		fleet  Fleet
		one    Doomed
		want   *Mass
	}{
		"Two":       {"Two pools are no fleet.", Fleet{All: 3, Doomed: at(0, 1)}, at(0)[0], nil},
		"Three":     {"Three of four are.", Fleet{All: 4, Doomed: at(0, 1, 2)}, at(0)[0], &Mass{Count: 3, Last: now.Add(2 * time.Minute)}},
		"Quarter":   {"Of many, a quarter goes unasked.", Fleet{All: 40, Doomed: at(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)}, at(0)[0], nil},
		"OverTime":  {"Deletions over a day are everyday business.", Fleet{All: 4, Doomed: at(0, 60, 120, 180)}, at(60)[0], nil},
		"Explained": {"Runs that are done give their nodes back, however many.", Fleet{All: 4, Doomed: []Doomed{{At: now, Explained: true}, {At: now, Explained: true}, {At: now, Explained: true}}}, Doomed{At: now, Explained: true}, nil},
		"Mixed":     {"They do not count for others either.", Fleet{All: 4, Doomed: []Doomed{{At: now, Explained: true}, {At: now}, {At: now}}}, Doomed{At: now}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.fleet.MassOf(tc.one)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestApproved(t *testing.T) {
	for value, want := range map[string]bool{
		"": false, "yes": false, now.Format(time.RFC3339): true, now.Add(time.Second).Format(time.RFC3339): true, now.Add(-time.Second).Format(time.RFC3339): false,
	} {
		if Approved(value, now) != want {
			t.Errorf("approval %q of a deletion at %s: want %t", value, now, want)
		}
	}
}

// TestHeldNamesTheWayOut: the message holds the whole command, and the hold is
// remembered by its condition.
func TestHeldNamesTheWayOut(t *testing.T) {
	f := facts(v1alpha1.PhaseDeleting, Observation{})
	f.Pool.DeletionTimestamp = &metav1.Time{Time: now}
	d := Held(f, Decision{Do: ActionDelete}, &Mass{Count: 3, Last: now.Add(time.Minute)}, "espalier.dev/approve-deletion")
	if want := "espalier.dev/approve-deletion=2026-01-05T09:01:00Z"; d.Do != ActionNone || !strings.HasSuffix(d.Message, want) {
		t.Errorf("got %q, want it to end in %s", d.Message, want)
	}
	if WasHeld(f.Pool) {
		t.Error("held without a condition")
	}
	f.Pool.Status.Conditions = []metav1.Condition{{Type: d.Alarms[0].Type, Reason: d.Alarms[0].Reason, Status: metav1.ConditionTrue}}
	if !WasHeld(f.Pool) {
		t.Error("the hold is not remembered")
	}
}

// TestDeletingOfMachines: while machines of ours are removed, AKS may call the
// whole pool Deleting. That is no reason to give the pool up.
func TestDeletingOfMachines(t *testing.T) {
	seen := Observation{Exists: true, Owned: true, State: StateDeleting, Count: 2}
	f := facts(v1alpha1.PhaseReady, seen, func(f *Facts) {
		f.Pool.Status.Removing = []string{"n2"}
		f.Nodes = []Node{{Name: "n1", Ready: true, GPUs: 1, Offered: 1}}
	})
	if d := Decide(f); d.Phase != v1alpha1.PhaseReady || d.Do != ActionNone || len(d.Removing) != 1 {
		t.Errorf("got %+v", d)
	}
	f.Pool.Status.Removing = nil
	if d := Decide(f); d.Phase != v1alpha1.PhaseCleaning {
		t.Errorf("somebody deletes the pool as a whole: got %s", d.Phase)
	}
}
