// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Head is what it takes to put another commit on a branch: its newest commit, its folders
// and the files that are read for it. The other files are known by their hashes.
type Head struct {
	commit, tree plumbing.Hash
	objects      []record
	seen         map[plumbing.Hash]bool // while it is made
	left         int64                  // bytes that it may take, then
}

// maxHead bounds the memory of a Head, in bytes: folders of 10,000 Workspaces take 1 MiB.
const maxHead = 16 << 20

// Head is that of a branch after what was made of it was pushed, with some of its files.
// ErrTooLarge: its folders are too many, or too deep, to be held.
func (b *Branch) Head(files ...string) (*Head, error) {
	commit, err := object.GetCommit(b.objects, b.newest)
	if err != nil {
		return nil, fmt.Errorf("reading the newest commit of %s: %w", b.ref.Short(), err)
	}
	h := &Head{commit: commit.Hash, tree: commit.TreeHash, seen: map[plumbing.Hash]bool{}, left: maxHead}
	if _, err := h.take(b.objects, plumbing.CommitObject, commit.Hash); err != nil {
		return nil, err
	}
	if err := h.folder(b.objects, commit.TreeHash, 0); err != nil {
		return nil, err
	}
	tree := newTree(b.objects, commit.TreeHash)
	tree.lacks = true
	for _, name := range files {
		n, err := tree.find("read", name)
		if err != nil {
			return nil, err
		}
		if _, err := h.take(b.objects, plumbing.BlobObject, n.hash); err != nil {
			return nil, err
		}
	}
	h.objects, h.seen = slices.Clip(h.objects), nil
	return h, nil
}

// folder takes a folder, with those in it: once, in however many places it is.
func (h *Head) folder(from *objects, hash plumbing.Hash, depth int) error {
	if h.seen[hash] {
		return nil
	}
	if depth > maxDepth {
		return ErrTooLarge
	}
	content, err := h.take(from, plumbing.TreeObject, hash)
	if err != nil {
		return err
	}
	for entry, err := range entriesOf(content) {
		if err != nil {
			return fmt.Errorf("reading folder %s: %w", hash, err)
		}
		if entry.mode != filemode.Dir {
			continue
		}
		if err := h.folder(from, entry.hash, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// take takes an object: a small one as a copy, since it lies in memory with others.
func (h *Head) take(from *objects, kind plumbing.ObjectType, hash plumbing.Hash) ([]byte, error) {
	found, err := from.EncodedObject(kind, hash)
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", hash, err)
	}
	content, err := contentOf(found)
	if err != nil || h.seen[hash] {
		return content, err
	}
	h.seen[hash] = true
	if h.left -= found.Size() + comingOverhead; h.left < 0 {
		return nil, ErrTooLarge
	}
	if len(content) < ownMemory {
		content = bytes.Clone(content)
	}
	h.objects = append(h.objects, record{hash, kind, content})
	return content, nil
}

// put makes the objects those of a repository.
func (h *Head) put(into *objects) {
	for _, o := range h.objects {
		into.came.add(o)
	}
}

// snapshot is what Fetch compares the remote with; nil where nothing is known.
func (h *Head) snapshot() *Snapshot {
	if h == nil {
		return nil
	}
	return &Snapshot{at: h.commit}
}
