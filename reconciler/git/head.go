// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"io"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Head is what it takes to put another commit on a branch: its newest commit, its folders
// and the files that are read for it. The other files are known by their hashes.
type Head struct {
	commit, tree plumbing.Hash
	objects      []plumbing.EncodedObject
}

// Head is that of a branch after what was made of it was pushed, with some of its files.
func (b *Branch) Head(files ...string) (*Head, error) {
	commit, err := object.GetCommit(b.objects, b.newest)
	if err != nil {
		return nil, fmt.Errorf("reading the newest commit of %s: %w", b.ref.Short(), err)
	}
	h := &Head{commit: commit.Hash, tree: commit.TreeHash}
	if err := h.take(b.objects, plumbing.CommitObject, commit.Hash); err != nil {
		return nil, err
	}
	if err := h.folder(b.objects, commit.TreeHash); err != nil {
		return nil, err
	}
	tree := newTree(b.objects, commit.TreeHash)
	tree.lacks = true
	for _, name := range files {
		n, err := tree.find("read", name)
		if err != nil {
			return nil, err
		}
		if err := h.take(b.objects, plumbing.BlobObject, n.hash); err != nil {
			return nil, err
		}
	}
	h.objects = slices.Clip(h.objects)
	return h, nil
}

// folder takes a folder, with those in it.
func (h *Head) folder(from *objects, hash plumbing.Hash) error {
	tree, err := object.GetTree(from, hash)
	if err != nil {
		return fmt.Errorf("reading a folder: %w", err)
	}
	if err := h.take(from, plumbing.TreeObject, hash); err != nil {
		return err
	}
	for _, entry := range tree.Entries {
		if entry.Mode != filemode.Dir {
			continue
		}
		if err := h.folder(from, entry.Hash); err != nil {
			return err
		}
	}
	return nil
}

// take takes a copy of an object: what it came with is let go.
func (h *Head) take(from *objects, kind plumbing.ObjectType, hash plumbing.Hash) error {
	found, err := from.EncodedObject(kind, hash)
	if err != nil {
		return fmt.Errorf("reading object %s: %w", hash, err)
	}
	r, err := found.Reader()
	if err != nil {
		return fmt.Errorf("reading object %s: %w", hash, err)
	}
	content := make([]byte, found.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return fmt.Errorf("reading object %s: %w", hash, err)
	}
	held := &plumbing.MemoryObject{}
	held.SetType(kind)
	if _, err := held.Write(content); err != nil {
		return fmt.Errorf("holding object %s: %w", hash, err)
	}
	h.objects = append(h.objects, held)
	return r.Close()
}

// put makes the objects those of a repository.
func (h *Head) put(into *objects) error {
	for _, o := range h.objects {
		if _, err := into.SetEncodedObject(o); err != nil {
			return fmt.Errorf("putting down what is known of a branch: %w", err)
		}
	}
	return nil
}

// snapshot is what Fetch compares the remote with; nil where nothing is known.
func (h *Head) snapshot() *Snapshot {
	if h == nil {
		return nil
	}
	return &Snapshot{at: h.commit}
}
