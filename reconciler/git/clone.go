// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	fluxgit "github.com/fluxcd/pkg/git"
	"github.com/fluxcd/pkg/git/repository"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ErrUnchanged is what Clone returns when the remote is still at the revision
// the caller has.
var ErrUnchanged = errors.New("the remote is unchanged")

// noFolder makes gogit check out nothing: no folder of a Git tree has this name,
// and the files are read from the objects anyway.
var noFolder = []string{"\x00"}

// Snapshot is one commit, held in memory.
type Snapshot struct {
	// Revision is branch@sha1:hash, tag@sha1:hash or sha1:hash.
	Revision string
	// Hash of the commit, 40 hex digits.
	Hash string
	// Author, Subject and When of the commit, as its author wrote them.
	Author, Subject string
	When            time.Time
	// Commit and Tag are what may be signed. Tag is nil where the commit was not read
	// by a tag, or by one without an object of its own.
	Commit Signed
	Tag    *Signed
	// Tree is the commit's files.
	Tree *Tree
	// Bytes is the memory that the objects take, about.
	Bytes int64

	objects *objects
}

// Clone reads a commit: the newest of a branch or a tag, with no history, or a
// pinned one. Where observed is the revision the remote still has, it returns
// ErrUnchanged after one look at the references. A pinned commit cannot change:
// do not ask twice.
//
// Errors are *Error, or context.Canceled when ctx was.
func (r Remote) Clone(ctx context.Context, ref v1alpha1.GitRef, observed string) (*Snapshot, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	snapshot, _, err := r.clone(ctx, ref, observed)
	if err != nil && !errors.Is(err, ErrUnchanged) {
		return nil, r.explain(cause(parent, ctx), err, Describe(ref), r.timeout())
	}
	return snapshot, err
}

// cause picks the context to judge by: a caller that has gone away matters more
// than the time being up.
func cause(parent, ctx context.Context) context.Context {
	if parent.Err() != nil {
		return parent
	}
	return ctx
}

func (r Remote) clone(ctx context.Context, ref v1alpha1.GitRef, observed string) (s *Snapshot, p pusher, err error) {
	// go-git has panicked on malformed packs before, and a server can send any.
	defer func() {
		if v := recover(); v != nil {
			s, err = nil, fmt.Errorf("go-git panicked: %v", v)
		}
	}()
	into := newObjects(r.maxBytes())
	client, err := r.client(ctx, into)
	if err != nil {
		return nil, nil, err
	}
	if ref.Branch == "" && ref.Tag == "" && ref.Commit == "" {
		ref.Branch = repolayout.BranchDefault
	}
	commit, err := client.Clone(ctx, r.URL, repository.CloneConfig{
		CheckoutStrategy:          repository.CheckoutStrategy{Branch: ref.Branch, Tag: ref.Tag, Commit: ref.Commit},
		ShallowClone:              ref.Commit == "",
		LastObservedCommit:        observed,
		SparseCheckoutDirectories: noFolder,
	})
	switch {
	// gogit makes a repository of an empty one by itself, and stumbles over the one
	// that go-git has begun in the same storage: nothing else begins one there.
	case errors.Is(err, gogit.ErrRepositoryAlreadyExists), err == nil && commit == nil:
		return nil, client, r.empty()
	case err != nil:
		return nil, client, err
	case !fluxgit.IsConcreteCommit(*commit):
		return nil, client, ErrUnchanged
	}
	if s, err = newSnapshot(ref, into, plumbing.NewHash(commit.Hash.String())); err == nil {
		s.Commit, s.Tag = signedCommit(commit), signedTag(commit)
	}
	return s, client, err
}

// pusher is the part of gogit's client that is used after a clone.
type pusher interface {
	Push(ctx context.Context, cfg repository.PushConfig) error
}

func newSnapshot(ref v1alpha1.GitRef, from *objects, hash plumbing.Hash) (*Snapshot, error) {
	commit, err := object.GetCommit(from, hash)
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", hash, err)
	}
	if ref.Commit != "" {
		// A pinned commit came with the history of its branch: drop that.
		if from, err = from.only(commit); err != nil {
			return nil, err
		}
	}
	subject, _, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	return &Snapshot{
		Revision: revision(ref, hash), Hash: hash.String(),
		Author: commit.Author.Name, Subject: subject, When: commit.Author.When.UTC(),
		Tree:  newTree(from, commit.TreeHash),
		Bytes: from.size, objects: from,
	}, nil
}

// only copies a commit and its files, without history.
func (o *objects) only(commit *object.Commit) (*objects, error) {
	to := newObjects(o.limit)
	if err := copyObject(to, o, commit.Hash); err != nil {
		return nil, err
	}
	return to, copyTree(to, o, commit.TreeHash)
}

func copyTree(to, from *objects, hash plumbing.Hash) error {
	if to.HasEncodedObject(hash) == nil {
		return nil
	}
	if err := copyObject(to, from, hash); err != nil {
		return err
	}
	tree, err := object.GetTree(from, hash)
	if err != nil {
		return fmt.Errorf("reading tree %s: %w", hash, err)
	}
	for _, entry := range tree.Entries {
		switch typeOf(entry.Mode) {
		case plumbing.TreeObject:
			err = copyTree(to, from, entry.Hash)
		case plumbing.BlobObject:
			err = copyObject(to, from, entry.Hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyObject(to, from *objects, hash plumbing.Hash) error {
	if to.HasEncodedObject(hash) == nil {
		return nil
	}
	o, err := from.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return fmt.Errorf("reading object %s: %w", hash, err)
	}
	to.size += o.Size() + objectOverhead
	_, err = to.SetEncodedObject(o)
	return err
}

func revision(ref v1alpha1.GitRef, hash plumbing.Hash) string {
	name := ref.Branch
	if ref.Tag != "" && ref.Commit == "" {
		name = ref.Tag
	}
	if name == "" {
		return "sha1:" + hash.String()
	}
	return name + "@sha1:" + hash.String()
}

// Describe names a reference as a person would.
func Describe(ref v1alpha1.GitRef) string {
	switch {
	case ref.Commit != "" && ref.Branch != "":
		return "commit " + ref.Commit + " on branch " + ref.Branch
	case ref.Commit != "":
		return "commit " + ref.Commit
	case ref.Tag != "":
		return "tag " + ref.Tag
	case ref.Branch != "":
		return "branch " + ref.Branch
	}
	return "branch " + repolayout.BranchDefault
}
