// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Errors of Local, each within a sentence that says what to do.
var (
	ErrNoRepository = errors.New("no Git repository")
	ErrNoRevision   = errors.New("no such revision")
	ErrNoMergeBase  = errors.New("no common commit")
)

// Local is a repository on this machine's disk. It is read from its objects: no
// file of the work tree is looked at or changed, no git command and no hook runs.
type Local struct {
	repository *gogit.Repository
	storage    *localStorage
	root       string
}

// OpenLocal opens the repository that a folder is in: a work tree, a linked work
// tree or a bare repository.
func OpenLocal(dir string) (*Local, error) {
	root, gitDir, err := findRepository(dir)
	if err != nil {
		return nil, err
	}
	storage, err := storageOf(gitDir)
	if err != nil {
		return nil, fmt.Errorf("opening the repository %s: %w", root, err)
	}
	repository, err := gogit.Open(storage, nil)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%w in %s", ErrNoRepository, root)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the repository %s: %w", root, err)
	}
	return &Local{repository: repository, storage: storage, root: root}, nil
}

// Close closes the files of the repository.
func (l *Local) Close() error { return l.storage.Close() }

// Root is the folder of the work tree, or of the bare repository.
func (l *Local) Root() string { return l.root }

// Commit reads the commit that a revision names as git would: a branch, a tag, a
// hash or its beginning, HEAD~1 and so on. Its Revision is NAME@sha1:HASH for a
// branch or tag, sha1:HASH otherwise.
func (l *Local) Commit(revision string) (*Snapshot, error) {
	commit, err := l.commit(revision)
	if err != nil {
		return nil, err
	}
	return l.snapshot(revision, commit), nil
}

func (l *Local) commit(revision string) (*object.Commit, error) {
	hash, err := l.repository.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return nil, fmt.Errorf("%w %q in %s%s", ErrNoRevision, revision, l.root, l.ifShallow())
	}
	commit, err := l.repository.CommitObject(*hash)
	if err != nil {
		return nil, fmt.Errorf("%w %q in %s%s", ErrNoRevision, revision, l.root, l.ifShallow())
	}
	return commit, nil
}

// ifShallow is advice for a clone that holds a part of the history only, which is
// what continuous integration makes unless it is told otherwise.
func (l *Local) ifShallow() string {
	cut, err := l.repository.Storer.Shallow()
	if err != nil || len(cut) == 0 {
		return ""
	}
	return ": the clone is shallow; fetch the whole history (fetch-depth: 0 of actions/checkout, GIT_DEPTH: \"0\" of GitLab CI, fetchDepth: 0 of Azure Pipelines, git fetch --unshallow)"
}

func (l *Local) snapshot(revision string, commit *object.Commit) *Snapshot {
	subject, _, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	s := &Snapshot{
		Revision: "sha1:" + commit.Hash.String(), Hash: commit.Hash.String(),
		Author: commit.Author.Name, Subject: subject, When: commit.Author.When.UTC(),
		Tree: newTree(l.storage, commit.TreeHash),
	}
	for _, kind := range []string{"refs/heads/", "refs/remotes/", "refs/tags/"} {
		if _, err := l.repository.Reference(plumbing.ReferenceName(kind+revision), true); err == nil {
			s.Revision = revision + "@" + s.Revision
			break
		}
	}
	return s
}

// MergeBase reads the commit that head left base at: the newest that both hold.
func (l *Local) MergeBase(base, head string) (*Snapshot, error) {
	b, err := l.commit(base)
	if err != nil {
		return nil, err
	}
	h, err := l.commit(head)
	if err != nil {
		return nil, err
	}
	common, err := h.MergeBase(b)
	if err != nil || len(common) == 0 {
		return nil, fmt.Errorf("%w of %s and %s%s", ErrNoMergeBase, base, head, l.ifShallow())
	}
	if common[0].Hash == b.Hash {
		return l.snapshot(base, b), nil
	}
	return l.snapshot("", common[0]), nil
}

// FirstOf returns the first of the revisions that the repository has, "" for none.
func (l *Local) FirstOf(revisions ...string) string {
	for _, r := range revisions {
		if _, err := l.commit(r); err == nil {
			return r
		}
	}
	return ""
}
