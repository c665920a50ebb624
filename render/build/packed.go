// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/hex"
	"iter"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"
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
	packedTaken = 1 << 6 // it is a file that the build consulted
	packedUsual = 1 << 7 // the name is one of usualNames
)

// usualNames are looked for in every folder, or are in most.
var usualNames = append(slices.Clone(konfig.RecognizedKustomizationFileNames()), "", "workspace.yaml", "configmap.yaml", "inference_config.yaml", "training_config.yaml")

// packer packs the reads of a unit. The zero value is of none.
type packer struct {
	dir  string // the unit's path
	into packing
}

// add adds a read; size is that of a file that was read whole, else less than 0. taken: it
// is a file that the build consulted.
func (p *packer) add(r read, size int64, taken bool) {
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
	if taken {
		flags |= packedTaken
	}
	usual := slices.Index(usualNames, name)
	if usual >= 0 {
		flags |= packedUsual
	}
	p.into = append(p.into, flags)
	if usual >= 0 {
		p.into.number(usual)
	} else {
		p.into.text(name)
	}
	p.into.text(string(hash))
	if r.state.why != "" {
		p.into.text(r.state.why)
	}
	if size >= 0 {
		p.into.number(int(size))
	}
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
	taken  bool
}

// each read.
func (p packed) each() iter.Seq[packedRead] {
	return func(yield func(packedRead) bool) {
		for rest := string(p); rest != ""; {
			flags := rest[0]
			rest = rest[1:]
			r := packedRead{kind: kind(flags & packedKind), below: flags&packedBelow != 0, number: flags&packedHex != 0, taken: flags&packedTaken != 0}
			if flags&packedUsual != 0 {
				usual := int64(0)
				usual, rest = unpackNumber(rest)
				r.name = usualNames[usual]
			} else {
				r.name, rest = unpackText(rest)
			}
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
