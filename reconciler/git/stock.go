// SPDX-License-Identifier: Apache-2.0

package git

import (
	"slices"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
)

// maxGivenUp is how often in a row a server may fail to build on what is held before
// it is asked for whole commits alone.
const maxGivenUp = 3

// Stock is what is held of a repository: some commits, without history, and what they
// have in common once. Fetch asks for what is not in it. Several goroutines may use it.
//
// It holds what one credential could read, and must not be used with another.
type Stock struct {
	mu      sync.Mutex
	shelf   *shelf
	kept    []*Snapshot
	least   int64 // bytes of the shelf after it was last cleared
	givenUp int   // how often in a row a server could not build on what is held
}

// NewStock returns an empty stock.
func NewStock() *Stock { return &Stock{shelf: &shelf{}} }

// Bytes is the memory that the objects take, about.
func (s *Stock) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shelf.held()
}

// Keep says which commits are of use from now on. All others are dropped with the
// next clearing; a snapshot that somebody still has stays whole.
func (s *Stock) Keep(kept ...*Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = nil
	for _, k := range kept {
		if k.view == nil {
			continue // not all of it came: nobody builds on it
		}
		s.kept = append(s.kept, k)
		// Where the shelf was cleared since it came, some of it may lie on its own alone.
		g := &gathering{on: s.shelf, from: k.view.on.Load()}
		if err := g.commit(k.head); err == nil && len(g.taken.records) > 0 {
			s.shelf = s.shelf.with(&g.taken)
		}
	}
	s.clear(2 * s.least)
}

// Clear drops what no kept commit needs, which Keep puts off until it may be as much
// as what is needed.
func (s *Stock) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clear(s.least)
}

// clear looks through all there is where that takes more than a number of bytes.
func (s *Stock) clear(above int64) {
	switch {
	case len(s.kept) == 0:
		s.shelf, s.least = &shelf{}, 0
	case s.shelf.held() > above:
		g := &gathering{on: &shelf{}, from: s.shelf, taken: pileOf(s.shelf.old.len())}
		for _, k := range s.kept {
			_ = g.commit(k.head) // it is whole, so nothing is missing
		}
		s.shelf = (&shelf{}).with(&g.taken)
		s.least = s.shelf.held()
	}
	for _, k := range s.kept {
		k.view.on.Store(s.shelf)
	}
}

// held is what a fetch may build on, and the commits that a server is told of.
func (s *Stock) held() (*shelf, []plumbing.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.givenUp >= maxGivenUp {
		return s.shelf, nil
	}
	var have []plumbing.Hash
	for _, k := range s.kept {
		have = append(have, k.head.commit)
	}
	slices.SortFunc(have, func(a, b plumbing.Hash) int { return slices.Compare(a[:], b[:]) })
	return s.shelf, slices.Compact(have)
}

// builtOn notes that a server could build on what is held.
func (s *Stock) builtOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.givenUp = 0
}

// stumbled notes that a server could not, and could send everything.
func (s *Stock) stumbled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.givenUp++
}

// take puts a commit that came to what is held. limit bounds what a commit with its
// files may take, in bytes; what others take beside it is not its own. Where it takes
// the commit, from is empty afterwards.
func (s *Stock) take(at head, from *arrivals, limit int64) (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &gathering{on: s.shelf, from: from, taken: pileOf(len(from.came.records))}
	if err := g.commit(at); err != nil {
		return nil, err
	}
	from.came = pile{} // what is needed of it is taken
	next := s.shelf.with(&g.taken)
	if next.coming() > limit {
		alone := &gathering{on: &shelf{}, from: next}
		if err := alone.commit(at); err != nil {
			return nil, err
		}
		if alone.taken.coming() > limit {
			return nil, ErrTooLarge
		}
	}
	if s.shelf.objects == 0 {
		s.least = next.held() // nothing else is there yet
	}
	s.shelf = next
	return viewOf(next), nil
}
