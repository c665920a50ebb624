// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
)

// sheet is many objects in little memory: the small ones lie one behind the other, and
// where each begins is found by its hash. A map of objects of their own takes three
// times as much. Nobody changes a sheet.
type sheet struct {
	hashes []plumbing.Hash // sorted
	places []place         // of the object with that hash
	starts []int32         // where the hashes with these first bits begin
	shift  int             // how much of the first 64 bits they leave out
	small  []byte          // contents of less than ownMemory bytes
	large  [][]byte        // each of the others, which several sheets may share
}

// place is where the content of an object lies: in small, or as one of large.
type place struct {
	at   int64
	size int32 // bytes; ofLarge: at counts the large ones
	kind plumbing.ObjectType
}

const ofLarge = -1

// sheetOf has the objects of all of these, none of which is there twice. It keeps no
// memory of theirs, but for that of large objects.
func sheetOf(of ...[]record) *sheet {
	all := slices.Concat(of...)
	slices.SortFunc(all, func(a, b record) int { return compareHashes(a.hash, b.hash) })
	total := 0
	for _, r := range all {
		if len(r.content) < ownMemory {
			total += len(r.content)
		}
	}
	s := &sheet{
		hashes: make([]plumbing.Hash, len(all)), places: make([]place, len(all)), small: make([]byte, 0, total),
		shift: 64 - max(bits.Len(uint(len(all)))-2, 0), // four hashes or so have the same first bits
	}
	s.starts = make([]int32, 1<<(64-s.shift)+1)
	for i, r := range all {
		s.hashes[i] = r.hash
		s.starts[s.bucket(r.hash)+1]++
		if len(r.content) >= ownMemory {
			s.places[i] = place{at: int64(len(s.large)), size: ofLarge, kind: r.kind}
			s.large = append(s.large, r.content)
			continue
		}
		s.places[i] = place{at: int64(len(s.small)), size: int32(len(r.content)), kind: r.kind} //nolint:gosec // less than ownMemory
		s.small = append(s.small, r.content...)
	}
	for i := 1; i < len(s.starts); i++ {
		s.starts[i] += s.starts[i-1]
	}
	return s
}

func compareHashes(a, b plumbing.Hash) int { return bytes.Compare(a[:], b[:]) }

// bucket is the first bits of a hash.
func (s *sheet) bucket(hash plumbing.Hash) int {
	return int(binary.BigEndian.Uint64(hash[:]) >> s.shift) //nolint:gosec // as many bits as len(starts) has
}

func (s *sheet) get(hash plumbing.Hash) (record, bool) {
	if s == nil {
		return record{}, false
	}
	first := s.bucket(hash)
	from := int(s.starts[first])
	// A hostile server may see to it that many begin alike.
	i, ok := slices.BinarySearchFunc(s.hashes[from:s.starts[first+1]], hash, compareHashes)
	if !ok {
		return record{}, false
	}
	return s.record(from + i), true
}

func (s *sheet) record(i int) record {
	p := s.places[i]
	r := record{hash: s.hashes[i], kind: p.kind}
	if p.size == ofLarge {
		r.content = s.large[p.at]
		return r
	}
	end := p.at + int64(p.size)
	r.content = s.small[p.at:end:end]
	return r
}

func (s *sheet) len() int {
	if s == nil {
		return 0
	}
	return len(s.hashes)
}

// records are all objects.
func (s *sheet) records() []record {
	all := make([]record, s.len())
	for i := range all {
		all[i] = s.record(i)
	}
	return all
}
