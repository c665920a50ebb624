// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
)

// record is one object. Its content is never changed.
type record struct {
	hash    plumbing.Hash
	kind    plumbing.ObjectType
	content []byte
}

// encoded is the object as go-git wants it.
func (r record) encoded() plumbing.EncodedObject { return &held{r} }

// held is an object for go-git, which only reads it.
type held struct{ record }

// Hash is Git's hash of the object.
func (h *held) Hash() plumbing.Hash { return h.hash }

// Type is the kind of the object.
func (h *held) Type() plumbing.ObjectType { return h.kind }

// Size of the content, in bytes.
func (h *held) Size() int64 { return int64(len(h.content)) }

// Reader reads the content.
func (h *held) Reader() (io.ReadCloser, error) {
	return struct {
		*bytes.Reader
		io.Closer
	}{bytes.NewReader(h.content), io.NopCloser(nil)}, nil
}

// SetType does nothing.
func (h *held) SetType(plumbing.ObjectType) {}

// SetSize does nothing.
func (h *held) SetSize(int64) {}

// Writer refuses.
func (h *held) Writer() (io.WriteCloser, error) { return nil, errReadOnly }

const (
	// ownMemory is from how many bytes on a content has memory of its own. Smaller ones
	// share it: most are a few hundred bytes, and each on its own would be rounded up.
	ownMemory = 8 << 10
	// chunk is how much memory is taken for small ones at once while they come.
	chunk = 64 << 10
)

// pile is objects as they come, found by their hash. Its zero value is empty; pileOf
// has room for some.
type pile struct {
	records []record
	at      map[plumbing.Hash]int32
	room    []byte // for the next small contents
	sum
}

const (
	// comingOverhead is what one object costs in memory beside its content while it
	// comes, in bytes: where it lies in the pack, and what finds it again.
	comingOverhead = 512
	// heldOverhead is the same of one that is held: see sheet.
	heldOverhead = 48
)

// sum is how many objects there are, and how many bytes their contents have.
type sum struct{ objects, content int64 }

// held is the memory that they take, about, once they lie on a sheet.
func (s sum) held() int64 { return s.content + s.objects*heldOverhead }

// coming is the memory that they take at most while they come. What a repository may
// take is counted so, whether it came in pieces or is read anew after a start.
func (s sum) coming() int64 { return s.content + s.objects*comingOverhead }

func (s sum) plus(t sum) sum { return sum{s.objects + t.objects, s.content + t.content} }

func pileOf(room int) pile {
	return pile{records: make([]record, 0, room), at: make(map[plumbing.Hash]int32, room)}
}

func (p *pile) get(hash plumbing.Hash) (record, bool) {
	i, ok := p.at[hash]
	if !ok {
		return record{}, false
	}
	return p.records[i], true
}

// add takes an object as it is, and says which of the records it is; one that is there
// already stays.
func (p *pile) add(r record) int32 {
	if at, ok := p.at[r.hash]; ok {
		return at
	}
	if p.at == nil {
		p.at = map[plumbing.Hash]int32{}
	}
	at := int32(len(p.records)) //nolint:gosec // 2^31 objects are over every limit
	p.at[r.hash] = at
	p.records = append(p.records, r)
	p.sum = p.plus(sum{1, int64(len(r.content))})
	return at
}

// copied takes an object whose content somebody will write over.
func (p *pile) copied(r record) int32 {
	if at, ok := p.at[r.hash]; ok {
		return at
	}
	n := len(r.content)
	if n >= ownMemory {
		r.content = bytes.Clone(r.content)
		return p.add(r)
	}
	if n > len(p.room) {
		p.room = make([]byte, chunk)
	}
	copy(p.room, r.content)
	r.content, p.room = p.room[:n:n], p.room[n:]
	return p.add(r)
}
