// SPDX-License-Identifier: Apache-2.0

package member

import (
	"slices"
	"testing"
)

func TestForm(t *testing.T) {
	leader := State{ID: "L", Group: "g"}
	for name, tc := range map[string]struct {
		reason string
		rank   int
		self   State
		peers  map[int]State
		want   Step
	}{
		"Alone":       {reason: "nobody starts before all are there", self: leader, want: Step{}},
		"OneMissing":  {reason: "nor before the last one is", self: leader, peers: map[int]State{1: {ID: "A", Group: "g", Joined: "L"}}, want: Step{}},
		"OfEarlier":   {reason: "a worker that waits for an earlier start of the leader is not there yet", self: leader, peers: map[int]State{1: {ID: "A", Group: "g", Joined: "K"}, 2: {ID: "B", Group: "g", Joined: "L"}}, want: Step{}},
		"OfAnother":   {reason: "two versions of a service never work together", self: leader, peers: map[int]State{1: {ID: "A", Group: "f", Joined: "L"}, 2: {ID: "B", Group: "g", Joined: "L"}}, want: Step{}},
		"AllThere":    {reason: "then the leader says who belongs to it", self: leader, peers: map[int]State{1: {ID: "A", Group: "g", Joined: "L"}, 2: {ID: "B", Group: "g", Joined: "L"}}, want: Step{Roster: []string{"L", "A", "B"}, Start: true}},
		"NoLeader":    {reason: "a worker waits for a leader", rank: 1, self: State{ID: "A", Group: "g"}, want: Step{}},
		"LeaderWaits": {reason: "a worker joins a leader that waits, and waits", rank: 1, self: State{ID: "A", Group: "g"}, peers: map[int]State{0: leader}, want: Step{Joined: "L"}},
		"InRoster":    {reason: "and starts when the leader knows it", rank: 1, self: State{ID: "A", Group: "g"}, peers: map[int]State{0: {ID: "L", Group: "g", Roster: []string{"L", "A", "B"}}}, want: Step{Joined: "L", Start: true}},
		"Restarted":   {reason: "a worker that starts anew never joins a group that works: the leader ends it first", rank: 1, self: State{ID: "A2", Group: "g"}, peers: map[int]State{0: {ID: "L", Group: "g", Roster: []string{"L", "A", "B"}}}, want: Step{Joined: "L"}},
		"OtherLeader": {reason: "nor one of another version", rank: 1, self: State{ID: "A", Group: "g"}, peers: map[int]State{0: {ID: "L", Group: "f"}}, want: Step{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Form(tc.rank, 3, tc.self, tc.peers)
			if got.Joined != tc.want.Joined || got.Start != tc.want.Start || !slices.Equal(got.Roster, tc.want.Roster) {
				t.Errorf("%s: %+v, want %+v", tc.reason, got, tc.want)
			}
		})
	}
}

func TestWhole(t *testing.T) {
	leader := State{ID: "L", Roster: []string{"L", "A", "B"}}
	worker := State{ID: "A", Joined: "L"}
	for name, tc := range map[string]struct {
		reason string
		rank   int
		self   State
		peers  map[int]State
		lost   []int
		want   string
	}{
		"All":           {reason: "all are the same", self: leader, peers: map[int]State{1: {ID: "A"}, 2: {ID: "B"}}},
		"Silent":        {reason: "a moment of silence is nothing", self: leader, peers: map[int]State{1: {ID: "A"}}},
		"Lost":          {reason: "a long one is a lost node", self: leader, peers: map[int]State{1: {ID: "A"}}, lost: []int{2}, want: "a member is out of reach"},
		"WorkerAnew":    {reason: "its processes know nothing of the group", self: leader, peers: map[int]State{1: {ID: "A2"}, 2: {ID: "B"}}, want: "a worker has started anew"},
		"WorkerEnded":   {reason: "requests would hang", self: leader, peers: map[int]State{2: {ID: "B", Ended: true}}, want: "a worker has ended"},
		"LeaderAnew":    {reason: "the worker's processes wait for one that is gone", rank: 1, self: worker, peers: map[int]State{0: {ID: "L2"}}, want: "the leader has started anew"},
		"LeaderEnded":   {reason: "and for one that ended", rank: 1, self: worker, peers: map[int]State{0: {ID: "L", Ended: true}}, want: "the leader has ended"},
		"WorkerDone":    {reason: "a run whose leader still saves is whole", self: leader, peers: map[int]State{1: {ID: "A", Ended: true, Done: true}, 2: {ID: "B"}}},
		"LeaderDone":    {reason: "and one whose worker still ends", rank: 1, self: worker, peers: map[int]State{0: {ID: "L", Ended: true, Done: true}}},
		"LeaderTheSame": {reason: "all is well", rank: 1, self: worker, peers: map[int]State{0: {ID: "L"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Whole(tc.rank, tc.self, tc.peers, tc.lost); got != tc.want {
				t.Errorf("%s: %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// TestBefore: whose process has died of another's has not failed.
func TestBefore(t *testing.T) {
	leader := State{ID: "L", Roster: []string{"L", "A", "B"}}
	a, b := State{ID: "A", Joined: "L"}, State{ID: "B", Joined: "L"}
	with := func(s State, change func(*State)) State { change(&s); return s }
	for name, tc := range map[string]struct {
		reason string
		rank   int
		peers  map[int]State
		own    bool
	}{
		"Own":        {"All others are well.", 0, map[int]State{1: a, 2: b}, true},
		"OwnWorker":  {"So it is for a worker.", 1, map[int]State{0: leader, 2: b}, true},
		"Done":       {"Who is done has not failed.", 0, map[int]State{1: with(a, func(s *State) { s.Ended, s.Done = true, true }), 2: b}, true},
		"Gone":       {"A lost node is nobody's failure.", 0, map[int]State{2: b}, false},
		"GoneOther":  {"Nor that of a worker this one does not follow.", 1, map[int]State{0: leader}, false},
		"GoneLeader": {"Nor the leader's.", 1, map[int]State{2: b}, false},
		"Anew":       {"Who has started anew was gone.", 1, map[int]State{0: leader, 2: {ID: "C", Joined: "L"}}, false},
		"LeaderAnew": {"The leader too.", 1, map[int]State{0: {ID: "M"}, 2: b}, false},
		"Failed":     {"The other one's failure counts.", 1, map[int]State{0: leader, 2: with(b, func(s *State) { s.Ended = true })}, false},
		"ForAnother": {"Or that for whose sake it has ended.", 0, map[int]State{1: with(a, func(s *State) { s.Ended, s.Lost = true, true }), 2: b}, false},
	} {
		t.Run(name, func(t *testing.T) {
			self := map[int]State{0: leader, 1: a}[tc.rank]
			if why := Before(tc.rank, 3, self, tc.peers); (why == "") != tc.own {
				t.Errorf("%s: got %q", tc.reason, why)
			}
		})
	}
}

func TestYields(t *testing.T) {
	failed := State{Ended: true}
	for name, tc := range map[string]struct {
		reason string
		peer   State
		rank   int // of the peer
		want   bool
	}{
		"Lower":   {"Of two failures that of the lower rank counts.", failed, 0, true},
		"Higher":  {"And not the other one.", failed, 2, false},
		"Works":   {"Who works has not failed.", State{}, 0, false},
		"Done":    {"Who is done has not either.", State{Ended: true, Done: true}, 0, false},
		"Yielded": {"Who has yielded does not count.", State{Ended: true, Lost: true}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Yields(1, map[int]State{tc.rank: tc.peer}); got != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}
