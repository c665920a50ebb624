// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/binary"
	"encoding/hex"
	"iter"
	"strings"
)

// packed are reads in one piece, in their order: thousands of units have ten each. Paths below
// the unit's are written from there, hashes in bytes.
type packed string

// What the first byte of a packed read says, beside its kind.
const (
	packedKind  = 3      // which bits are the kind
	packedBelow = 1 << 2 // the path is below that of the unit
	packedHex   = 1 << 3 // the hash is a number
	packedWhy   = 1 << 4 // it says why it is refused
	packedSized = 1 << 5 // its size is known
)

// packer packs the reads of a unit. The zero value is of none.
type packer struct {
	dir  string // the unit's path
	into []byte
}

// add adds a read; size is that of a file that was read whole, else less than 0.
func (p *packer) add(r read, size int64) {
	flags := byte(r.state.kind) & packedKind
	name, below := strings.CutPrefix(r.path, p.dir+"/")
	if below {
		flags |= packedBelow
	}
	hash, err := hex.DecodeString(r.state.hash)
	if isNumber := err == nil && hex.EncodeToString(hash) == r.state.hash; isNumber {
		flags |= packedHex
	} else {
		hash = []byte(r.state.hash)
	}
	if r.state.why != "" {
		flags |= packedWhy
	}
	if size >= 0 {
		flags |= packedSized
	}
	p.into = append(p.into, flags)
	p.text(name)
	p.text(string(hash))
	if r.state.why != "" {
		p.text(r.state.why)
	}
	if size >= 0 {
		p.into = binary.AppendUvarint(p.into, uint64(size))
	}
}

func (p *packer) text(s string) {
	p.into = binary.AppendUvarint(p.into, uint64(len(s)))
	p.into = append(p.into, s...)
}

// packed is what was added.
func (p *packer) packed() packed { return packed(p.into) }

// packedRead is a read as it was packed: what is asked of it is made.
type packedRead struct {
	kind   kind
	below  bool
	number bool
	name   string
	hash   string
	why    string
	size   int64
	sized  bool
}

// each read.
func (p packed) each() iter.Seq[packedRead] {
	return func(yield func(packedRead) bool) {
		for rest := string(p); rest != ""; {
			flags := rest[0]
			rest = rest[1:]
			r := packedRead{kind: kind(flags & packedKind), below: flags&packedBelow != 0, number: flags&packedHex != 0}
			r.name, rest = unpackText(rest)
			r.hash, rest = unpackText(rest)
			if flags&packedWhy != 0 {
				r.why, rest = unpackText(rest)
			}
			if flags&packedSized != 0 {
				r.sized = true
				r.size, rest = unpackNumber(rest)
			}
			if !yield(r) {
				return
			}
		}
	}
}

// path of the read of a unit.
func (r packedRead) path(dir string) string {
	if r.below {
		return dir + "/" + r.name
	}
	return r.name
}

// read of a unit.
func (r packedRead) read(dir string) read {
	return read{r.path(dir), state{r.kind, r.why, r.hashText()}}
}

// hashText is the hash as the tree says it.
func (r packedRead) hashText() string {
	if r.number {
		return hex.EncodeToString([]byte(r.hash))
	}
	return r.hash
}

func unpackText(s string) (text, rest string) {
	n, s := unpackNumber(s)
	return s[:n], s[n:]
}

func unpackNumber(s string) (n int64, rest string) {
	for shift := 0; ; shift += 7 {
		b := s[0]
		s = s[1:]
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			return n, s
		}
	}
}

// sizes of the files that were read whole.
func (p packed) sizes(dir string) []sized {
	var list []sized
	for r := range p.each() {
		if r.sized {
			list = append(list, sized{r.path(dir), r.size})
		}
	}
	return list
}
