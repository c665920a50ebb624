// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"io"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/memory"
)

// objects is go-git's storage in memory for what is written, and little memory with a
// bound for what comes in packs. go-git itself inflates whatever a server sends.
type objects struct {
	*memory.Storage
	came  *pile
	under *view // what is there beside them; nil: nothing
	limit int64 // bytes, inflated
	size  int64 // bytes, inflated, so far

	brought map[plumbing.Hash][]byte // of folders that were written, the entries that are new
	pushing atomic.Bool              // folders are shown as what is new of them
}

func newObjects(limit int64) *objects {
	return &objects{Storage: memory.NewStorage(), came: &pile{}, limit: limit}
}

// get is an object that did not come from here.
func (o *objects) get(hash plumbing.Hash) (record, bool) {
	if r, ok := o.came.get(hash); ok || o.under == nil {
		return r, ok
	}
	return o.under.on.Load().get(hash)
}

// put writes an object. The content is not to be changed from then on.
func (o *objects) put(kind plumbing.ObjectType, content []byte) plumbing.Hash {
	hash := plumbing.ComputeHash(kind, content)
	o.came.add(record{hash, kind, content})
	return hash
}

// bring writes a folder, of which these entries are not in the one before.
func (o *objects) bring(folder, entries []byte) plumbing.Hash {
	hash := o.put(plumbing.TreeObject, folder)
	if o.brought == nil {
		o.brought = map[plumbing.Hash][]byte{}
	}
	o.brought[hash] = entries
	return hash
}

// asPushed has folders shown as what is new of them, until what it returns is called.
// To find what a server lacks go-git walks all files of the commit, and of the one
// before, whose every hash it notes: for a line in one of 20,000 files twice 20,000.
// What it packs it asks for as any object, and has it whole.
func (o *objects) asPushed() (end func()) {
	o.pushing.Store(true)
	return func() { o.pushing.Store(false) }
}

// EncodedObject returns an object.
func (o *objects) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if o.pushing.Load() && kind == plumbing.TreeObject {
		return record{hash, kind, o.brought[hash]}.encoded(), o.HasEncodedObject(hash)
	}
	if r, ok := o.get(hash); ok && (kind == plumbing.AnyObject || r.kind == kind) {
		return r.encoded(), nil
	}
	return o.Storage.EncodedObject(kind, hash)
}

// HasEncodedObject is nil where the object is there.
func (o *objects) HasEncodedObject(hash plumbing.Hash) error {
	if _, ok := o.get(hash); ok {
		return nil
	}
	return o.Storage.HasEncodedObject(hash)
}

// EncodedObjectSize is the size of an object in bytes.
func (o *objects) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	if r, ok := o.get(hash); ok {
		return int64(len(r.content)), nil
	}
	return o.Storage.EncodedObjectSize(hash)
}

// PackfileWriter makes go-git hand over packs as they come.
func (o *objects) PackfileWriter() (io.WriteCloser, error) {
	return &packWriter{objects: o}, nil
}

// unpack takes the objects of a pack, all or none.
func (o *objects) unpack(pack io.Reader) error {
	came := &pile{}
	size, err := unpack(pack, came, o, o.limit-o.size)
	if err != nil {
		return err
	}
	o.size += size
	if len(o.came.records) == 0 {
		o.came = came
		return nil
	}
	for _, r := range came.records {
		o.came.add(r)
	}
	return nil
}

type packWriter struct {
	objects *objects
	pack    bytes.Buffer
}

func (w *packWriter) Write(p []byte) (int, error) {
	if int64(w.pack.Len())+int64(len(p)) > w.objects.limit {
		return 0, ErrTooLarge
	}
	return w.pack.Write(p)
}

func (w *packWriter) Close() error { return w.objects.unpack(&w.pack) }
