// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// maxDepth is how deep folders are looked into for marks: nobody keeps anything
// deeper, and a hostile server may send a chain without end.
const maxDepth = 64

// Without is the tree as it would be if no folder in it held a file of that name:
// each that does is left out, with all that it holds, and so is what is empty
// without it. The root itself stays. Two trees that differ in such folders alone have
// one hash then.
func (t *Tree) Without(mark string) (*Tree, error) {
	c := &cutter{mark: mark, from: t.objects, made: map[plumbing.Hash]plumbing.EncodedObject{}, done: map[plumbing.Hash]plumbing.Hash{}}
	root, err := c.cut(t.root, 0)
	if err != nil {
		return nil, err
	}
	if root == t.root {
		return t, nil
	}
	cut := newTree(&overlay{EncodedObjectStorer: t.objects, made: c.made}, root)
	cut.whole = t.whole
	return cut, nil
}

// cutter leaves marked folders out. A tree that is there several times is cut once:
// a small pack can name one without number.
type cutter struct {
	mark string
	from storer.EncodedObjectStorer
	made map[plumbing.Hash]plumbing.EncodedObject
	done map[plumbing.Hash]plumbing.Hash
}

// cut is what becomes of a tree; the zero hash where nothing is left of it.
func (c *cutter) cut(hash plumbing.Hash, depth int) (plumbing.Hash, error) {
	if cut, ok := c.done[hash]; ok && depth > 0 {
		return cut, nil
	}
	tree, err := object.GetTree(c.from, hash)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("reading tree %s: %w", hash, err)
	}
	cut := hash
	switch {
	case depth > 0 && c.marked(tree):
		cut = plumbing.ZeroHash
	case depth < maxDepth:
		cut, err = c.rest(hash, tree, depth)
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if depth > 0 {
		c.done[hash] = cut
	}
	return cut, nil
}

func (c *cutter) marked(tree *object.Tree) bool {
	for _, e := range tree.Entries {
		if e.Name == c.mark && e.Mode == filemode.Regular {
			return true
		}
	}
	return false
}

// rest is what is left of a tree whose folders are cut.
func (c *cutter) rest(hash plumbing.Hash, tree *object.Tree, depth int) (plumbing.Hash, error) {
	left := &object.Tree{}
	changed := false
	for _, e := range tree.Entries {
		if e.Mode == filemode.Dir {
			cut, err := c.cut(e.Hash, depth+1)
			if err != nil {
				return plumbing.ZeroHash, err
			}
			if changed = changed || cut != e.Hash; cut.IsZero() {
				continue
			}
			e.Hash = cut
		}
		left.Entries = append(left.Entries, e)
	}
	switch {
	case !changed:
		return hash, nil
	case len(left.Entries) == 0 && depth > 0:
		return plumbing.ZeroHash, nil // Git keeps no empty folder
	}
	made := &plumbing.MemoryObject{}
	if err := left.Encode(made); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("encoding a tree: %w", err)
	}
	c.made[made.Hash()] = made
	return made.Hash(), nil
}

// overlay is a storage with trees beside it that are in no commit. It is only read.
type overlay struct {
	storer.EncodedObjectStorer
	made map[plumbing.Hash]plumbing.EncodedObject
}

// EncodedObject returns an object.
func (o *overlay) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if made, ok := o.made[hash]; ok && (kind == plumbing.TreeObject || kind == plumbing.AnyObject) {
		return made, nil
	}
	return o.EncodedObjectStorer.EncodedObject(kind, hash)
}
