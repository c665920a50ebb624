// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/utils/merkletrie"
)

const (
	// renameScore is how much of a file is the same, in percent, where it counts as
	// renamed: what git itself takes, and most forges.
	renameScore = 50
	// maxRenameBytes bounds what is compared to find out, each new file as often as there
	// are files that are gone: some seconds of work.
	maxRenameBytes = 128 << 20
)

// Renamed are the files of head that base has under another name: the name in base by
// that in head. Where there is too much to compare, they are those that were moved and
// not changed.
func Renamed(ctx context.Context, base, head *Tree) (renamed map[string]string, err error) {
	defer func() { // go-git has panicked on malformed trees before
		if v := recover(); v != nil {
			renamed, err = nil, fmt.Errorf("go-git panicked: %v", v)
		}
	}()
	var trees [2]*object.Tree
	for i, t := range []*Tree{base, head} {
		if trees[i], err = object.GetTree(t.objects, t.root); err != nil {
			return nil, fmt.Errorf("reading a tree: %w", err)
		}
	}
	all, err := object.DiffTreeContext(ctx, trees[0], trees[1])
	if err != nil {
		return nil, fmt.Errorf("comparing trees: %w", err)
	}
	moved, work := head.moved(base, all)
	moved, err = object.DetectRenames(moved, &object.DiffTreeOptions{DetectRenames: true, RenameScore: renameScore, OnlyExactRenames: work > maxRenameBytes})
	if err != nil {
		return nil, fmt.Errorf("looking for renamed files: %w", err)
	}
	renamed = map[string]string{}
	for _, c := range moved {
		if c.From.Name != "" && c.To.Name != "" {
			renamed[c.To.Name] = c.From.Name
		}
	}
	return renamed, nil
}

// moved are the changes that may be halves of a rename, files that are new and files
// that are gone, and the bytes that comparing them takes.
func (t *Tree) moved(base *Tree, all object.Changes) (halves object.Changes, work int64) {
	var gone, fresh int64
	for _, c := range all {
		action, err := c.Action()
		if err != nil {
			continue
		}
		switch action {
		case merkletrie.Insert:
			if size, ok := t.comparable(c.To.TreeEntry); ok {
				c.To.TreeEntry.Mode = filemode.Regular // as git: who may run it makes it no other file
				halves, fresh = append(halves, c), fresh+size
			}
		case merkletrie.Delete:
			if _, ok := base.comparable(c.From.TreeEntry); ok {
				c.From.TreeEntry.Mode = filemode.Regular
				halves, gone = append(halves, c), gone+1
			}
		}
	}
	return halves, gone * fresh
}

// comparable is the size of a file, and false of what is none, or of which no difference
// is shown.
func (t *Tree) comparable(e object.TreeEntry) (size int64, ok bool) {
	if !e.Mode.IsFile() || e.Mode == filemode.Symlink {
		return 0, false
	}
	blob, err := t.objects.EncodedObject(plumbing.BlobObject, e.Hash)
	if err != nil || blob.Size() > maxDiffBytes {
		return 0, false
	}
	return blob.Size(), true
}
