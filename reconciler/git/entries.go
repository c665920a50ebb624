// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"iter"
	"strconv"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// entry is one line of a tree's object. The name is a part of that.
type entry struct {
	mode filemode.FileMode
	name []byte
	hash plumbing.Hash
}

var errTree = errors.New("it is no tree that Git writes")

// entriesOf reads a tree's object, and ends with an error where it is none: what
// go-git's Tree.Decode does, without memory for what nobody asks for.
func entriesOf(content []byte) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		for len(content) > 0 {
			e, rest, ok := cutEntry(content)
			if !ok {
				yield(entry{}, errTree)
				return
			}
			if content = rest; !yield(e, nil) {
				return
			}
		}
	}
}

func cutEntry(content []byte) (e entry, rest []byte, ok bool) {
	mode, rest, ok := bytes.Cut(content, []byte{' '})
	if !ok {
		return e, nil, false
	}
	bits, err := strconv.ParseUint(string(mode), 8, 32)
	if err != nil {
		return e, nil, false
	}
	name, rest, ok := bytes.Cut(rest, []byte{0})
	if !ok || len(name) == 0 || len(rest) < len(e.hash) {
		return e, nil, false
	}
	return entry{mode: canonical(bits), name: name, hash: plumbing.Hash(rest[:len(e.hash)])}, rest[len(e.hash):], true
}

// canonical is the mode that Git takes another for: of who may do what it knows
// whether a file can be run.
func canonical(bits uint64) filemode.FileMode {
	switch bits & 0o170000 {
	case 0o040000:
		return filemode.Dir
	case 0o100000:
		if bits&0o111 != 0 {
			return filemode.Executable
		}
		return filemode.Regular
	case 0o120000:
		return filemode.Symlink
	}
	return filemode.Submodule
}
