// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

var (
	errPack    = errors.New("it is no pack of Git's")
	errNoBases = errors.New("the pack says how objects differ from some that are not there")
)

// maxRoom is for how many objects memory is taken on the word of a pack, 5 MB of it.
const maxRoom = 1 << 16

// notYet is where an object is whose base has not come.
const notYet = -1

// unpacker reads a pack as it comes. go-git's parser takes a whole pack, notes of each
// object, and every difference once more, ten times what the pack has; and what it
// inflates has no bound.
type unpacker struct {
	wire  *wire
	into  *pile
	under finder // what a thin pack may build on
	left  int64  // bytes that may be taken yet

	inflater io.ReadCloser // nil before the first object
	buffer   []byte        // the object that is being read
	hasher   plumbing.Hasher

	starts []int64 // where each object begins in the pack
	which  []int32 // which of into it is, or notYet
	// later are objects that wait for another of the pack, by its number or its hash.
	later     map[int][]difference
	laterHash map[plumbing.Hash][]difference
}

// difference is what an object has to be made of.
type difference struct {
	object int // its number in the pack
	delta  []byte
}

// unpack reads the objects of a pack, of at most limit bytes inflated, and returns how
// many they are. The sizes that a pack declares are added up before any of it is kept:
// one of a few MiB could take all the memory there is.
func unpack(from io.Reader, into *pile, under finder, limit int64) (int64, error) {
	u := &unpacker{
		wire: &wire{from: bufio.NewReaderSize(from, 16<<10), left: limit},
		into: into, under: under, left: limit, hasher: plumbing.NewHasher(plumbing.BlobObject, 0),
		later: map[int][]difference{}, laterHash: map[plumbing.Hash][]difference{},
	}
	if err := u.all(); err != nil {
		return 0, fmt.Errorf("reading a pack: %w", err)
	}
	return limit - u.left, nil
}

func (u *unpacker) all() error {
	var header [12]byte
	switch _, err := io.ReadFull(u.wire, header[:]); {
	case errors.Is(err, io.EOF):
		return nil // nothing is to be sent
	case err != nil:
		return err
	case string(header[:4]) != "PACK" || binary.BigEndian.Uint32(header[4:]) != packfile.VersionSupported:
		return errPack
	}
	count := binary.BigEndian.Uint32(header[8:])
	if u.into.records == nil {
		*u.into = pileOf(int(min(int64(count), u.left/comingOverhead, maxRoom)))
	}
	for range count {
		if err := u.next(); err != nil {
			return err
		}
	}
	if len(u.later)+len(u.laterHash) > 0 {
		return errNoBases
	}
	// A checksum is left, which proves nothing that the hashes do not, and what a
	// server has to say at the end.
	_, err := io.Copy(io.Discard, u.wire)
	return err
}

// next reads one object.
func (u *unpacker) next() error {
	start := u.wire.read
	kind, length, err := u.head()
	if err != nil {
		return err
	}
	base, err := u.base(kind, start)
	if err != nil {
		return err
	}
	if err := u.spend(length + comingOverhead); err != nil {
		return err
	}
	if err := u.inflate(length); err != nil {
		return err
	}
	object := len(u.starts)
	u.starts, u.which = append(u.starts, start), append(u.which, notYet)
	if base == nil {
		return u.put(object, u.hashed(kind, u.buffer))
	}
	if err := u.spend(deltaTarget(u.buffer)); err != nil {
		return err
	}
	from, ok := base.find(u)
	if !ok {
		base.wait(u, difference{object, bytes.Clone(u.buffer)})
		return nil
	}
	made, err := u.patched(from, u.buffer)
	if err != nil {
		return err
	}
	u.left += length // the difference itself is not kept
	return u.put(object, made)
}

// spend counts what an object takes.
func (u *unpacker) spend(bytes int64) error {
	if bytes < 0 || bytes > u.left {
		return ErrTooLarge
	}
	u.left -= bytes
	return nil
}

// head reads what kind of object comes, and how many bytes it has inflated.
func (u *unpacker) head() (kind plumbing.ObjectType, length int64, err error) {
	b, err := u.wire.ReadByte()
	if err != nil {
		return 0, 0, noEOF(err)
	}
	kind, length = plumbing.ObjectType(b>>4&7), int64(b&15)
	for shift := 4; b&0x80 != 0; shift += 7 {
		if shift > 53 { // 2^60 bytes
			return 0, 0, ErrTooLarge
		}
		if b, err = u.wire.ReadByte(); err != nil {
			return 0, 0, noEOF(err)
		}
		length |= int64(b&0x7f) << shift
	}
	return kind, length, nil
}

// base is what an object differs from: another of the pack, by its number or its hash.
type base struct {
	object int // ofHash: the hash
	hash   plumbing.Hash
}

const ofHash = -1

// base reads what an object is to be made of; nil where it is whole.
func (u *unpacker) base(kind plumbing.ObjectType, start int64) (*base, error) {
	switch kind {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return nil, nil
	case plumbing.REFDeltaObject:
		b := &base{object: ofHash}
		_, err := io.ReadFull(u.wire, b.hash[:])
		return b, noEOF(err)
	case plumbing.OFSDeltaObject:
		before, err := u.distance(start)
		if err != nil {
			return nil, err
		}
		object, ok := slices.BinarySearch(u.starts, start-before)
		if !ok {
			return nil, errPack
		}
		return &base{object: object}, nil
	}
	return nil, errPack
}

// distance reads how many bytes before an object another begins, of at most that many.
func (u *unpacker) distance(most int64) (int64, error) {
	b, err := u.wire.ReadByte()
	n := int64(b & 0x7f)
	for err == nil && b&0x80 != 0 && n < most {
		b, err = u.wire.ReadByte()
		n = (n+1)<<7 | int64(b&0x7f)
	}
	if err == nil && n > most {
		err = errPack
	}
	return n, noEOF(err)
}

// find is the base, where it has come or is held.
func (b *base) find(u *unpacker) (record, bool) {
	if b.object == ofHash {
		if r, ok := u.into.get(b.hash); ok {
			return r, true
		}
		return u.under.get(b.hash)
	}
	if at := u.which[b.object]; at != notYet {
		return u.into.records[at], true
	}
	return record{}, false
}

func (b *base) wait(u *unpacker, d difference) {
	if b.object == ofHash {
		u.laterHash[b.hash] = append(u.laterHash[b.hash], d)
		return
	}
	u.later[b.object] = append(u.later[b.object], d)
}

// inflate reads the content of an object, which has to be as long as it says, into the
// buffer. That grows with what is there, whatever was said.
func (u *unpacker) inflate(length int64) (err error) {
	if u.inflater == nil {
		u.inflater, err = zlib.NewReader(u.wire)
	} else {
		err = u.inflater.(zlib.Resetter).Reset(u.wire, nil)
	}
	if err != nil {
		return noEOF(err)
	}
	u.buffer = u.buffer[:0]
	for {
		if len(u.buffer) == cap(u.buffer) {
			u.buffer = slices.Grow(u.buffer, max(4<<10, len(u.buffer)/2))
		}
		// One byte more than is due: it must not be there.
		room := min(int64(cap(u.buffer)), length+1)
		n, err := u.inflater.Read(u.buffer[len(u.buffer):room])
		u.buffer = u.buffer[:len(u.buffer)+n]
		switch {
		case int64(len(u.buffer)) > length:
			return errPack
		case errors.Is(err, io.EOF) && int64(len(u.buffer)) == length:
			return nil
		case err != nil:
			return noEOF(err)
		}
	}
}

// hashed is an object with its hash.
func (u *unpacker) hashed(kind plumbing.ObjectType, content []byte) record {
	var head [32]byte
	u.hasher.Reset()
	_, _ = u.hasher.Write(append(strconv.AppendInt(append(append(head[:0], kind.Bytes()...), ' '), int64(len(content)), 10), 0))
	_, _ = u.hasher.Write(content)
	return record{hash: u.hasher.Sum(), kind: kind, content: content}
}

// patched is the object that a delta makes of another.
func (u *unpacker) patched(from record, delta []byte) (record, error) {
	content, err := packfile.PatchDelta(from.content, delta)
	if err != nil {
		return record{}, err
	}
	return u.hashed(from.kind, content), nil
}

// put takes an object, and those that waited for it.
func (u *unpacker) put(object int, r record) error {
	type made struct {
		object int
		record
	}
	for todo := []made{{object, r}}; len(todo) > 0; {
		is := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		at := u.into.copied(is.record)
		u.which[is.object] = at
		waited := append(u.later[is.object], u.laterHash[is.hash]...)
		if len(waited) == 0 {
			continue
		}
		delete(u.later, is.object)
		delete(u.laterHash, is.hash)
		for _, d := range waited {
			r, err := u.patched(u.into.records[at], d.delta)
			if err != nil {
				return err
			}
			u.left += int64(len(d.delta))
			todo = append(todo, made{d.object, r})
		}
	}
	return nil
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

// wire is a pack as it comes, of at most a number of bytes. The inflater takes no byte
// more than an object has.
type wire struct {
	from *bufio.Reader
	read int64
	left int64
}

// Read reads what there is.
func (w *wire) Read(p []byte) (int, error) {
	if w.left <= 0 {
		return 0, w.over()
	}
	n, err := w.from.Read(p[:min(int64(len(p)), w.left)])
	w.read, w.left = w.read+int64(n), w.left-int64(n)
	return n, err
}

// ReadByte reads one byte.
func (w *wire) ReadByte() (byte, error) {
	if w.left <= 0 {
		return 0, w.over()
	}
	b, err := w.from.ReadByte()
	if err == nil {
		w.read, w.left = w.read+1, w.left-1
	}
	return b, err
}

// over is the end, where it is one, and too much where more comes.
func (w *wire) over() error {
	if _, err := w.from.Peek(1); err != nil {
		return err
	}
	return ErrTooLarge
}

// noEOF is an error where an end comes too early.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
