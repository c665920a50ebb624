// SPDX-License-Identifier: Apache-2.0

package member

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// State is what a member tells the others.
type State struct {
	// ID tells one start of a member from the next.
	ID string `json:"id"`
	// Group is what members must have in common.
	Group string `json:"group"`
	// Joined is the ID of the leader that a worker waits for or works with.
	Joined string `json:"joined,omitempty"`
	// Roster is, on the leader, the ID of every member by rank, from when all
	// were there.
	Roster []string `json:"roster,omitempty"`
	// Leaving says that a worker was asked to end, with the pod or the node.
	Leaving bool `json:"leaving,omitempty"`
	// Ended says that the command has ended, Done that it has done its work: a run
	// that comes to an end, and came to a good one.
	Ended bool `json:"ended,omitempty"`
	Done  bool `json:"done,omitempty"`
	// Lost says that the command has ended for another member's sake: its end is no
	// failure that counts.
	Lost bool `json:"lost,omitempty"`
}

func (s State) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // who asked has gone: it asks again
}

// Step is what a member does next while its group forms.
type Step struct {
	Joined string
	Roster []string
	Start  bool
}

// Form decides how a group forms. peers are the states of the members in reach,
// by rank: the leader asks all workers, a worker asks the leader.
//
// The leader starts when every worker has joined this very start of it, and
// workers start when its roster holds this very start of them. So nobody starts
// beside a process of an earlier group.
func Form(rank, size int, self State, peers map[int]State) Step {
	if rank > 0 {
		return follow(rank, self, peers)
	}
	roster := []string{self.ID}
	for r := 1; r < size; r++ {
		peer, ok := peers[r]
		if !ok || peer.Group != self.Group || peer.Joined != self.ID || peer.Ended {
			return Step{}
		}
		roster = append(roster, peer.ID)
	}
	return Step{Roster: roster, Start: true}
}

func follow(rank int, self State, peers map[int]State) Step {
	leader, ok := peers[0]
	if !ok || leader.Group != self.Group || leader.Ended {
		return Step{}
	}
	if len(leader.Roster) > 0 {
		member := rank < len(leader.Roster) && leader.Roster[rank] == self.ID
		return Step{Joined: leader.ID, Start: member}
	}
	return Step{Joined: leader.ID}
}

// Whole says why the group of a member that has started is no longer whole; ""
// while it is. lost are the ranks that have been out of reach for too long.
func Whole(rank int, self State, peers map[int]State, lost []int) string {
	if len(lost) > 0 {
		return "a member is out of reach"
	}
	if rank > 0 {
		leader, ok := peers[0]
		switch {
		case !ok:
		case leader.ID != self.Joined:
			return "the leader has started anew"
		case leader.Ended && !leader.Done:
			return "the leader has ended"
		}
		return ""
	}
	for r := 1; r < len(self.Roster); r++ {
		peer, ok := peers[r]
		switch {
		case !ok:
		case peer.ID != self.Roster[r]:
			return "a worker has started anew"
		case peer.Ended && !peer.Done:
			return "a worker has ended"
		}
	}
	return ""
}

// Before says why the failure of a member's own command is no failure of its own:
// a peer went before it, and the processes of a group die of each other. peers are
// the states of all others in reach, asked before anybody is told of the end. ""
// where nothing was wrong with the others.
func Before(rank, size int, self State, peers map[int]State) string {
	roster := self.Roster
	if rank > 0 {
		roster = peers[0].Roster // out of reach: none
		if peers[0].ID != self.Joined {
			return "the leader has gone before"
		}
	}
	for r := range size {
		peer, ok := peers[r]
		switch {
		case r == rank:
		case !ok, r >= len(roster), peer.ID != roster[r]:
			return fmt.Sprintf("member %d has gone before", r)
		case peer.Ended && !peer.Done:
			return fmt.Sprintf("member %d has ended before", r)
		}
	}
	return ""
}

// Yields says that the failure of another member counts, and not that of this one,
// where both have failed before they knew of each other: of several the lowest in
// rank counts.
func Yields(rank int, peers map[int]State) bool {
	for r, peer := range peers {
		if r < rank && peer.Ended && !peer.Done && !peer.Lost {
			return true
		}
	}
	return false
}

// Leaves says whether a worker is about to go: the leader then ends its requests
// while it still can.
func Leaves(peers map[int]State) bool {
	for _, peer := range peers {
		if peer.Leaving {
			return true
		}
	}
	return false
}

// asks lists the ranks that a member follows: the leader all, a worker the leader.
func asks(rank, size int) []int {
	if rank > 0 {
		return []int{0}
	}
	return others(rank, size)
}

// others lists all ranks but one.
func others(rank, size int) []int {
	all := make([]int, 0, size-1)
	for r := range size {
		if r != rank {
			all = append(all, r)
		}
	}
	return all
}
