// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ErrUnchanged is what Fetch returns when the remote is still where the caller has
// been.
var ErrUnchanged = errors.New("the remote is unchanged")

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
	// Bytes is the memory that the objects take, about, where the stock cannot hold them
	// because some did not come; else 0: it holds them.
	Bytes int64

	at   plumbing.Hash // what the reference pointed to: an annotated tag's own object
	head head
	view *view // nil where not all of it came
}

// Clone reads a commit: the newest of a branch or a tag, with no history, or a
// pinned one.
//
// Errors are *Error, or context.Canceled when ctx was.
func (r Remote) Clone(ctx context.Context, ref v1alpha1.GitRef) (*Snapshot, error) {
	return r.Fetch(ctx, ref, NewStock(), nil)
}

// Fetch reads a commit as Clone does, and asks only for what is not in stock; whoever
// wants to build on the commit has the stock Keep it. Where last is what the remote
// still has, it returns ErrUnchanged after one look at the references. A pinned commit
// cannot change: do not ask twice.
//
// A server that cannot build on what is held is asked for the whole commit.
//
// Errors are *Error, or context.Canceled when ctx was.
func (r Remote) Fetch(ctx context.Context, ref v1alpha1.GitRef, from *Stock, last *Snapshot) (*Snapshot, error) {
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if ref.Branch == "" && ref.Tag == "" && ref.Commit == "" {
		ref.Branch = repolayout.BranchDefault
	}
	snapshot, err := r.fetch(ctx, ref, from, last)
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

func (r Remote) fetch(ctx context.Context, ref v1alpha1.GitRef, from *Stock, last *Snapshot) (*Snapshot, error) {
	on, have := from.held()
	s, err := r.fetchOn(ctx, fetching{ref: ref, last: last, stock: from, on: on, have: have})
	var stumbled *stumble
	if !errors.As(err, &stumbled) || ctx.Err() != nil || errors.Is(err, ErrTooLarge) {
		return s, err
	}
	s, err = r.fetchOn(ctx, fetching{ref: ref, last: last, stock: from, on: &shelf{}})
	if err == nil {
		from.stumbled()
	}
	return s, err
}

// fetching is one try to read a commit.
type fetching struct {
	ref   v1alpha1.GitRef
	last  *Snapshot
	stock *Stock
	on    *shelf          // what a pack may build on
	have  []plumbing.Hash // the commits of that, which a server is told of
}

// stumble is an error of a fetch that built on what is held, after the server named
// its references: a fetch of the whole commit may do without it.
type stumble struct{ error }

func (s *stumble) Unwrap() error { return s.error }

func (r Remote) fetchOn(ctx context.Context, f fetching) (s *Snapshot, err error) {
	defer caught(&err)
	server, err := r.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.Close() }()
	if f.ref.Commit != "" {
		f.have = nil // nothing is built on
		return r.pinned(ctx, server, f)
	}
	to, err := server.target(f.ref)
	switch {
	case err != nil:
		return nil, err
	case f.last != nil && f.last.at == to.at:
		return nil, ErrUnchanged
	}
	if len(f.have) == 0 {
		return r.newest(ctx, server, f, to)
	}
	ctx, cancel := halfOf(ctx)
	defer cancel()
	if s, err = r.newest(ctx, server, f, to); err != nil {
		return nil, &stumble{err}
	}
	return s, nil
}

// halfOf is a context with half the time that is left, so that there is some for a
// second try.
func halfOf(ctx context.Context) (context.Context, context.CancelFunc) {
	until, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(until)/2)
}

// newest reads what a reference stands for.
func (r Remote) newest(ctx context.Context, server *session, f fetching, to target) (s *Snapshot, err error) {
	defer caught(&err)
	came := arrivalsOn(f.on)
	// A branch may point to what another had.
	if _, ok := f.on.get(to.at); to.at != to.commit || !ok {
		if err := server.get(ctx, order{want: []plumbing.Hash{to.at}, have: f.have}, came, r.maxBytes()); err != nil {
			return nil, err
		}
	}
	commit, tag, err := came.follow(to.at)
	if err != nil {
		return nil, err
	}
	if s, err = f.snapshot(commit, tag, came, r.maxBytes()); err == nil && len(f.have) > 0 {
		f.stock.builtOn()
	}
	return s, err
}

// caught turns a panic into an error: go-git has panicked on malformed packs before,
// and a server can send any.
func caught(err *error) {
	if v := recover(); v != nil {
		*err = fmt.Errorf("go-git panicked: %v", v)
	}
}

// pinned reads a commit out of the history of its branch, or of all: only that proves
// that it belongs to the repository.
func (r Remote) pinned(ctx context.Context, server *session, f fetching) (s *Snapshot, err error) {
	defer caught(&err)
	want := server.heads(f.ref.Branch)
	if len(want) == 0 {
		return nil, plumbing.ErrReferenceNotFound
	}
	came := arrivalsOn(&shelf{})
	if err := server.get(ctx, order{want: want, whole: true}, came, r.maxBytes()); err != nil {
		return nil, err
	}
	commit, err := object.GetCommit(came, plumbing.NewHash(f.ref.Commit))
	if err != nil {
		return nil, fmt.Errorf("reading commit %s: %w", f.ref.Commit, err)
	}
	return f.snapshot(commit, nil, came, r.maxBytes())
}

// follow is the commit that an object stands for, with the tag that does so, nil where
// none does.
func (a *arrivals) follow(at plumbing.Hash) (commit *object.Commit, tag *object.Tag, err error) {
	for range maxTags {
		o, ok := a.get(at)
		if !ok {
			return nil, nil, fmt.Errorf("%s: %w", at, errIncomplete)
		}
		if o.kind != plumbing.TagObject {
			commit, err = object.GetCommit(a, at)
			if err != nil {
				return nil, nil, fmt.Errorf("reading commit %s: %w", at, err)
			}
			return commit, tag, nil
		}
		named, err := object.GetTag(a, at)
		if err != nil {
			return nil, nil, fmt.Errorf("reading tag %s: %w", at, err)
		}
		if tag == nil {
			tag = named
		}
		at = named.Target
	}
	return nil, nil, fmt.Errorf("tag %s is one of a tag of a tag without end", at)
}

// maxTags is how many tags may stand for one another.
const maxTags = 8

func (f fetching) snapshot(commit *object.Commit, tag *object.Tag, came *arrivals, limit int64) (*Snapshot, error) {
	view, err := f.stock.take(head{commit.Hash, commit.TreeHash}, came, limit)
	s := newSnapshot(f.ref, view, commit)
	s.view, s.at, s.Tree.whole = view, commit.Hash, true
	if errors.Is(err, errIncomplete) && len(f.have) == 0 {
		// Whatever needs the missing object says so, and nobody builds on the rest.
		s, err = newSnapshot(f.ref, came, commit), nil
		s.Bytes, s.at = came.came.coming(), commit.Hash
	}
	if err != nil {
		return nil, err
	}
	if s.Commit, err = signedCommit(commit); err != nil {
		return nil, err
	}
	if tag != nil {
		s.at = tag.Hash
		s.Tag, err = signedTag(tag)
	}
	return s, err
}

func newSnapshot(ref v1alpha1.GitRef, from storer.EncodedObjectStorer, commit *object.Commit) *Snapshot {
	subject, _, _ := strings.Cut(strings.TrimSpace(commit.Message), "\n")
	return &Snapshot{
		Revision: revision(ref, commit.Hash), Hash: commit.Hash.String(),
		Author: commit.Author.Name, Subject: subject, When: commit.Author.When.UTC(),
		Tree: newTree(from, commit.TreeHash),
		head: head{commit.Hash, commit.TreeHash}, // and not the commit itself, which holds on to all that came
	}
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
