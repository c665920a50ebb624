// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

// objectOverhead is what one object costs in memory beside its content, in
// bytes: map entries of the storage and the parser's notes.
const objectOverhead = 512

// objects is go-git's storage in memory, with a bound. go-git itself inflates
// whatever a server sends, so a pack of a few MiB could take all the memory there
// is; here the sizes that a pack declares are added up before any of it is kept.
type objects struct {
	*memory.Storage
	under *view // what is there beside them; nil: nothing
	limit int64 // bytes, inflated
	size  int64 // bytes, inflated, so far
}

func newObjects(limit int64) *objects {
	return &objects{Storage: memory.NewStorage(), limit: limit}
}

// EncodedObject returns an object.
func (o *objects) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	found, err := o.Storage.EncodedObject(kind, hash)
	if err != nil && o.under != nil {
		return o.under.EncodedObject(kind, hash)
	}
	return found, err
}

// HasEncodedObject is nil where the object is there.
func (o *objects) HasEncodedObject(hash plumbing.Hash) error {
	err := o.Storage.HasEncodedObject(hash)
	if err != nil && o.under != nil {
		return o.under.HasEncodedObject(hash)
	}
	return err
}

// EncodedObjectSize is the size of an object in bytes.
func (o *objects) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	size, err := o.Storage.EncodedObjectSize(hash)
	if err != nil && o.under != nil {
		return o.under.EncodedObjectSize(hash)
	}
	return size, err
}

// PackfileWriter makes go-git hand over packs as they come.
func (o *objects) PackfileWriter() (io.WriteCloser, error) {
	return &packWriter{objects: o}, nil
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

func (w *packWriter) Close() error {
	size, err := unpack(&w.pack, w.objects.Storage, w.objects.limit-w.objects.size)
	w.objects.size += size
	return err
}

// unpack reads the objects of a pack, of at most limit bytes inflated, and returns
// how many they are.
func unpack(pack *bytes.Buffer, into storer.EncodedObjectStorer, limit int64) (int64, error) {
	if pack.Len() == 0 {
		return 0, nil
	}
	size, err := measure(pack.Bytes(), limit)
	if err != nil {
		return 0, err
	}
	// Without Seek the parser takes the way that go-git takes for memory itself.
	in := struct{ io.Reader }{pack}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(in), into)
	if err != nil {
		return 0, fmt.Errorf("reading a pack: %w", err)
	}
	if _, err := parser.Parse(); err != nil {
		return 0, fmt.Errorf("reading a pack: %w", err)
	}
	return size, nil
}

// measure adds up what the objects of a pack take once inflated, and stops with
// ErrTooLarge as soon as that is over the limit.
func measure(pack []byte, limit int64) (int64, error) {
	scanner := packfile.NewScanner(bytes.NewReader(pack))
	_, count, err := scanner.Header()
	if err != nil {
		return 0, fmt.Errorf("reading a pack: %w", err)
	}
	total := int64(0)
	for range count {
		header, err := scanner.NextObjectHeader()
		if err != nil {
			return 0, fmt.Errorf("reading a pack: %w", err)
		}
		if total += objectOverhead + header.Length; header.Length < 0 || total > limit {
			return 0, ErrTooLarge
		}
		start := &beginning{}
		if _, _, err := scanner.NextObject(start); err != nil {
			return 0, fmt.Errorf("reading a pack: %w", err)
		}
		if header.Type != plumbing.OFSDeltaObject && header.Type != plumbing.REFDeltaObject {
			continue
		}
		if total += deltaTarget(start.bytes); total < 0 || total > limit {
			return 0, ErrTooLarge
		}
	}
	return total, nil
}

// beginning keeps the first bytes of what is written: enough for two numbers.
type beginning struct{ bytes []byte }

func (b *beginning) Write(p []byte) (int, error) {
	if missing := 20 - len(b.bytes); missing > 0 {
		b.bytes = append(b.bytes, p[:min(missing, len(p))]...)
	}
	return len(p), nil
}

// deltaTarget is the size of what a delta makes: the second of the two numbers
// it begins with. A number that is out of all proportion counts as such.
func deltaTarget(delta []byte) int64 {
	size := uint64(0)
	for n := 0; n < 2; n++ {
		size = 0
		for shift := 0; len(delta) > 0; shift += 7 {
			b := delta[0]
			delta = delta[1:]
			size |= uint64(b&0x7f) << shift
			if b&0x80 == 0 {
				break
			}
		}
	}
	return int64(min(size, 1<<62)) //nolint:gosec // bounded by min
}
