// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// errReadOnly is the answer to whoever would write into what is only read.
var errReadOnly = errors.New("these objects are only read")

// objectSet is objects by their hash.
type objectSet map[plumbing.Hash]plumbing.EncodedObject

// shelf is objects that nobody changes any more: with is a new one. Most lie in
// old, which the shelves before and after share.
type shelf struct {
	old, added objectSet
	bytes      int64 // that all of them take, about
}

func (s *shelf) get(hash plumbing.Hash) plumbing.EncodedObject {
	if o, ok := s.added[hash]; ok {
		return o
	}
	return s.old[hash]
}

// with is the shelf and some more objects, none of which are on it. Once the new
// ones are many they are put to the old, so that a push pays for what it brings.
func (s *shelf) with(more objectSet, bytes int64) *shelf {
	to := &shelf{old: s.old, bytes: s.bytes + bytes}
	if fresh := len(s.added) + len(more); fresh > len(s.old)/4+64 {
		to.old = make(objectSet, len(s.old)+fresh)
		maps.Copy(to.old, s.old)
		maps.Copy(to.old, s.added)
		maps.Copy(to.old, more)
		return to
	}
	to.added = make(objectSet, len(s.added)+len(more))
	maps.Copy(to.added, s.added)
	maps.Copy(to.added, more)
	return to
}

// view is the objects of one commit, for go-git: read-only, and on a shelf that may
// be exchanged for one that holds them too.
type view struct{ on atomic.Pointer[shelf] }

var _ storer.EncodedObjectStorer = (*view)(nil)

func viewOf(s *shelf) *view {
	v := &view{}
	v.on.Store(s)
	return v
}

// EncodedObject returns an object.
func (v *view) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	o := v.on.Load().get(hash)
	if o == nil || kind != plumbing.AnyObject && o.Type() != kind {
		return nil, plumbing.ErrObjectNotFound
	}
	return o, nil
}

// HasEncodedObject is nil where the object is there.
func (v *view) HasEncodedObject(hash plumbing.Hash) error {
	if v.on.Load().get(hash) == nil {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize is the size of an object in bytes.
func (v *view) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	o := v.on.Load().get(hash)
	if o == nil {
		return 0, plumbing.ErrObjectNotFound
	}
	return o.Size(), nil
}

// NewEncodedObject is an object that belongs nowhere yet.
func (v *view) NewEncodedObject() plumbing.EncodedObject { return &plumbing.MemoryObject{} }

// SetEncodedObject refuses.
func (v *view) SetEncodedObject(plumbing.EncodedObject) (plumbing.Hash, error) {
	return plumbing.ZeroHash, errReadOnly
}

// IterEncodedObjects refuses: nobody asks for all there is.
func (v *view) IterEncodedObjects(plumbing.ObjectType) (storer.EncodedObjectIter, error) {
	return nil, errReadOnly
}

// AddAlternate refuses.
func (v *view) AddAlternate(string) error { return errReadOnly }

// arrivals is what a server sends, on top of what is held: a thin pack says how an
// object differs from one that it leaves out.
type arrivals struct {
	*view
	came objectSet
}

func arrivalsOn(s *shelf) *arrivals { return &arrivals{view: viewOf(s), came: objectSet{}} }

func (a *arrivals) get(hash plumbing.Hash) plumbing.EncodedObject {
	if o, ok := a.came[hash]; ok {
		return o
	}
	return a.on.Load().get(hash)
}

// EncodedObject returns an object that came or was there.
func (a *arrivals) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if o, ok := a.came[hash]; ok && (kind == plumbing.AnyObject || o.Type() == kind) {
		return o, nil
	}
	return a.view.EncodedObject(kind, hash)
}

// SetEncodedObject takes an object by the hash of its content.
func (a *arrivals) SetEncodedObject(o plumbing.EncodedObject) (plumbing.Hash, error) {
	hash := o.Hash()
	a.came[hash] = o
	return hash, nil
}

// bytes is the memory that what came takes, about.
func (a *arrivals) bytes() int64 {
	total := int64(0)
	for _, o := range a.came {
		total += o.Size() + objectOverhead
	}
	return total
}

// errIncomplete says that a server has not sent all that a commit needs.
var errIncomplete = errors.New("the server left out an object of the commit")

// gathering takes out of what came what commits need and the shelf lacks. What is on
// the shelf needs no look: all that it needs is there too.
type gathering struct {
	on   *shelf
	from interface {
		get(hash plumbing.Hash) plumbing.EncodedObject
	}
	taken objectSet
	bytes int64
}

// commit takes a commit and its files, without history.
func (g *gathering) commit(commit *object.Commit) error {
	if err := g.take(commit.Hash, plumbing.CommitObject); err != nil {
		return err
	}
	return g.take(commit.TreeHash, plumbing.TreeObject)
}

func (g *gathering) take(hash plumbing.Hash, kind plumbing.ObjectType) error {
	if g.taken[hash] != nil || g.on.get(hash) != nil {
		return nil
	}
	o := g.from.get(hash)
	if o == nil || o.Type() != kind {
		return fmt.Errorf("%s %s: %w", kind, hash, errIncomplete)
	}
	g.taken[hash] = o
	g.bytes += o.Size() + objectOverhead
	if kind != plumbing.TreeObject {
		return nil
	}
	tree := &object.Tree{}
	if err := tree.Decode(o); err != nil {
		return fmt.Errorf("reading tree %s: %w", hash, err)
	}
	for _, entry := range tree.Entries {
		if of := typeOf(entry.Mode); of != plumbing.InvalidObject {
			if err := g.take(entry.Hash, of); err != nil {
				return err
			}
		}
	}
	return nil
}
