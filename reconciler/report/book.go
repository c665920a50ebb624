// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"

	"github.com/espalier-dev/espalier/reconciler/git"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Book is what is known of the last report that was written to a branch of its own: where
// the branch is, its folders, and what the documents say that are there. The next one is put
// on top without reading the branch, as long as nobody else has moved it. The zero value
// knows nothing yet. It belongs to one goroutine.
type Book struct {
	url, branch string
	head        *git.Head
	docs        map[string]*said
}

// of is what the book knows of a target; nil where it is of another.
func (b *Book) of(t Target) *git.Head {
	if b == nil || b.url != t.URL || b.branch != t.Branch || t.Folder != "" {
		return nil
	}
	return b.head
}

// note notes what the branch of a target holds now. A report in a folder of a branch is
// not noted: the folders of everybody would be held for it. Nor is a branch that somebody
// has put too much into.
func (b *Book) note(t Target, branch *git.Branch, files Report) error {
	b.forget()
	if b == nil || t.Folder != "" {
		return nil
	}
	head, err := branch.Head(repolayout.StatusOwnerFile)
	if errors.Is(err, git.ErrTooLarge) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("noting where branch %s is: %w", t.Branch, err)
	}
	docs := make(map[string]*said, len(files)/2)
	for path, file := range files {
		if file.says != nil {
			docs[path] = file.says
		}
	}
	*b = Book{url: t.URL, branch: t.Branch, head: head, docs: docs}
	return nil
}

// forget makes the next report read the branch.
func (b *Book) forget() {
	if b != nil {
		*b = Book{}
	}
}
