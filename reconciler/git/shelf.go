// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// errReadOnly is the answer to whoever would write into what is only read.
var errReadOnly = errors.New("these objects are only read")

// shelf is objects that nobody changes any more: with is a new one. Most lie in
// old, which the shelves before and after share.
type shelf struct {
	old, added *sheet
	sum
}

func (s *shelf) get(hash plumbing.Hash) (record, bool) {
	if r, ok := s.added.get(hash); ok {
		return r, true
	}
	return s.old.get(hash)
}

// with is the shelf and some more objects, none of which are on it. Once the new
// ones are many they are put to the old, so that a push pays for what it brings.
func (s *shelf) with(more *pile) *shelf {
	to := &shelf{old: s.old, sum: s.plus(more.sum)}
	if fresh := s.added.len() + len(more.records); fresh > s.old.len()/4+64 {
		to.old = sheetOf(s.old.records(), s.added.records(), more.records)
		return to
	}
	to.added = sheetOf(s.added.records(), more.records)
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
	r, ok := v.on.Load().get(hash)
	if !ok || kind != plumbing.AnyObject && r.kind != kind {
		return nil, plumbing.ErrObjectNotFound
	}
	return r.encoded(), nil
}

// HasEncodedObject is nil where the object is there.
func (v *view) HasEncodedObject(hash plumbing.Hash) error {
	if _, ok := v.on.Load().get(hash); !ok {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize is the size of an object in bytes.
func (v *view) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	r, ok := v.on.Load().get(hash)
	if !ok {
		return 0, plumbing.ErrObjectNotFound
	}
	return int64(len(r.content)), nil
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
	came pile
}

func arrivalsOn(s *shelf) *arrivals { return &arrivals{view: viewOf(s)} }

func (a *arrivals) get(hash plumbing.Hash) (record, bool) {
	if r, ok := a.came.get(hash); ok {
		return r, true
	}
	return a.on.Load().get(hash)
}

// EncodedObject returns an object that came or was there.
func (a *arrivals) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if r, ok := a.came.get(hash); ok && (kind == plumbing.AnyObject || r.kind == kind) {
		return r.encoded(), nil
	}
	return a.view.EncodedObject(kind, hash)
}

// HasEncodedObject is nil where the object came or was there.
func (a *arrivals) HasEncodedObject(hash plumbing.Hash) error {
	if _, ok := a.get(hash); !ok {
		return plumbing.ErrObjectNotFound
	}
	return nil
}

// EncodedObjectSize is the size of an object in bytes.
func (a *arrivals) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	r, ok := a.get(hash)
	if !ok {
		return 0, plumbing.ErrObjectNotFound
	}
	return int64(len(r.content)), nil
}

// errIncomplete says that a server has not sent all that a commit needs.
var errIncomplete = errors.New("the server left out an object of the commit")

// gathering takes out of what came what commits need and the shelf lacks. What is on
// the shelf needs no look: all that it needs is there too.
type gathering struct {
	on    *shelf
	from  finder
	taken pile
}

// finder finds objects.
type finder interface {
	get(hash plumbing.Hash) (record, bool)
}

// head is a commit and its files.
type head struct{ commit, files plumbing.Hash }

// commit takes a commit and its files, without history. Folders are no calls within one
// another: a hostile server may send any number.
func (g *gathering) commit(at head) error {
	folders, err := g.take(nil, at.commit, plumbing.CommitObject)
	if err != nil {
		return err
	}
	if folders, err = g.take(folders, at.files, plumbing.TreeObject); err != nil {
		return err
	}
	for len(folders) > 0 {
		tree := folders[len(folders)-1]
		folders = folders[:len(folders)-1]
		for e, err := range entriesOf(tree.content) {
			if err != nil {
				return fmt.Errorf("reading tree %s: %w", tree.hash, err)
			}
			of := typeOf(e.mode)
			if of == plumbing.InvalidObject {
				continue
			}
			if folders, err = g.take(folders, e.hash, of); err != nil {
				return err
			}
		}
	}
	return nil
}

// take takes one object, and puts a folder to those that are to be looked into.
func (g *gathering) take(folders []record, hash plumbing.Hash, kind plumbing.ObjectType) ([]record, error) {
	if _, ok := g.taken.get(hash); ok {
		return folders, nil
	}
	if _, ok := g.on.get(hash); ok {
		return folders, nil
	}
	r, ok := g.from.get(hash)
	if !ok || r.kind != kind {
		return nil, fmt.Errorf("%s %s: %w", kind, hash, errIncomplete)
	}
	if g.taken.add(r); kind == plumbing.TreeObject {
		folders = append(folders, r)
	}
	return folders, nil
}
