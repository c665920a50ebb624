// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"

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

// dir is a decoded tree, its entries sorted by name.
type dir []node

func (d dir) named(name string) (*node, bool) {
	i, ok := slices.BinarySearchFunc(d, name, func(n node, name string) int { return strings.Compare(n.name, name) })
	if !ok {
		return nil, false
	}
	n := d[i] // and not a part of the others
	return &n, true
}

// decoded is a tree's object, its entries sorted by name.
func decoded(content []byte) (dir, error) {
	d := make(dir, 0, len(content)/40+1) // a mode, a name and a hash
	for e, err := range entriesOf(content) {
		if err != nil {
			return nil, err
		}
		// git itself never makes such a tree; a hostile server may.
		name := string(e.name)
		if !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, "/\\\x00") {
			return nil, fmt.Errorf("%q is no name of a file", name)
		}
		d = append(d, node{name: name, mode: modeOf(e.mode), hash: e.hash})
	}
	// Git sorts folders as if their names ended in a slash.
	slices.SortFunc(d, func(a, b node) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(d); i++ {
		if d[i].name == d[i-1].name {
			return nil, fmt.Errorf("%q is there twice", d[i].name)
		}
	}
	return d, nil
}
