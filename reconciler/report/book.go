// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"

	"github.com/espalier-dev/espalier/reconciler/git"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Book is what is known of the last report that was written to a branch of its own: where
// the branch is, its folders, and what the files are that are there. The next one is put
// on top without reading the branch, as long as nobody else has moved it. The zero value
// knows nothing yet. It belongs to one goroutine.
type Book struct {
	url, branch string
	head        *git.Head
	rows        []*remembered // of the Workspaces that it tells of, by namespace and name
	others      map[string]git.Hash
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
func (b *Book) note(t Target, branch *git.Branch, report Report) error {
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
	others := make(map[string]git.Hash, len(report.others))
	for path, file := range report.others {
		others[path] = file.Hash
	}
	*b = Book{url: t.URL, branch: t.Branch, head: head, rows: report.rows, others: others}
	return nil
}

// forget makes the next report read the branch.
func (b *Book) forget() {
	if b != nil {
		*b = Book{}
	}
}
