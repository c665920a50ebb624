// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	fluxgogit "github.com/fluxcd/pkg/git/gogit"
	"github.com/fluxcd/pkg/git/repository"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Branch is the head of one branch, to put a commit on top of.
//
// gogit clones it and pushes, but does not commit: its Commit writes a worktree,
// walks it, and stages whatever differs, where the few blobs, trees and the commit
// of a report can be written as objects at a cost that knows only the report.
type Branch struct {
	// Hash of the newest commit, "" where the branch is not there yet.
	Hash string
	// Tree is its files, nil where the branch is not there yet.
	Tree *Tree
	// Known says that nothing was read: the branch is where it was known to be.
	Known bool

	remote  Remote
	ref     plumbing.ReferenceName
	objects *objects
	pusher  *fluxgogit.Client
	newest  plumbing.Hash // the commit that was made, else Hash
}

// Branch reads the head of a branch, which need not be there. Where known is still that,
// one look at the references is all, and Tree has the files alone that known has.
func (r Remote) Branch(ctx context.Context, name string, known *Head) (*Branch, error) {
	ref := plumbing.NewBranchReferenceName(name)
	if err := ref.Validate(); err != nil || strings.HasPrefix(name, "-") {
		return nil, r.Errorf(v1alpha1.ReasonReportFailed, "%q is no name of a branch", name)
	}
	into := newObjects(r.maxBytes())
	b := &Branch{remote: r, ref: ref, objects: into}
	snapshot, err := r.Fetch(ctx, v1alpha1.GitRef{Branch: name}, NewStock(), known.snapshot())
	var failure *Error
	switch {
	case errors.Is(err, ErrUnchanged):
		b.Hash, b.Tree, b.Known = known.commit.String(), newTree(into, known.tree), true
		b.Tree.lacks = true
		known.put(into)
	case err == nil:
		b.Hash, b.Tree, into.under = snapshot.Hash, snapshot.Tree, snapshot.view
	case !errors.As(err, &failure) || failure.Reason != v1alpha1.ReasonRefNotFound:
		return nil, err
	}
	if b.Hash != "" && into.under == nil && !b.Known {
		return nil, r.Errorf(v1alpha1.ReasonReportFailed, "The server of %s left out some files of branch %s: nothing can be put on top of it", r.Address(), name)
	}
	// A push over SSH ends when the time of this context is up, and no other's.
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if b.pusher, err = r.client(ctx, into); err != nil {
		return nil, err
	}
	return b, b.begin(ctx, name)
}

// begin makes the objects a repository that is at the head of the branch.
func (b *Branch) begin(ctx context.Context, name string) error {
	if err := b.pusher.Init(ctx, b.remote.URL, name); err != nil {
		return fmt.Errorf("preparing branch %s: %w", name, err)
	}
	if err := b.packPlainly(); err != nil {
		return fmt.Errorf("preparing branch %s: %w", name, err)
	}
	if b.Hash == "" {
		return nil
	}
	head := plumbing.NewHash(b.Hash)
	b.newest = head
	if err := b.objects.SetShallow([]plumbing.Hash{head}); err != nil {
		return fmt.Errorf("preparing branch %s: %w", name, err)
	}
	if err := b.objects.SetReference(plumbing.NewHashReference(b.ref, head)); err != nil {
		return fmt.Errorf("preparing branch %s: %w", name, err)
	}
	return nil
}

// packPlainly has objects pushed as they are: to look for what one has in common with ten
// others takes longer than to send ten thousand of them.
func (b *Branch) packPlainly() error {
	config, err := b.objects.Config()
	if err != nil {
		return err
	}
	config.Pack.Window = 0
	return b.objects.SetConfig(config)
}

// As is the same head under another name: what is committed to it and pushed makes
// that branch, which must not be there, and leaves this one.
func (b *Branch) As(name string) (*Branch, error) {
	ref := plumbing.NewBranchReferenceName(name)
	if err := ref.Validate(); err != nil || strings.HasPrefix(name, "-") {
		return nil, b.remote.Errorf(v1alpha1.ReasonReportFailed, "%q is no name of a branch", name)
	}
	other := *b
	other.ref = ref
	return &other, nil
}

// Change is a commit to make. What it does not name stays as it is, at no cost.
type Change struct {
	// Files to put, path by content, which is asked for one after the other: many are in
	// memory once at most. They are no programs and no links.
	Files map[string]func() []byte
	// Gone are paths of files to take away. One that is not there is none.
	Gone []string
	// Message of the commit.
	Message string
	// Name, Email and When of its author and committer.
	Name, Email string
	When        time.Time
	// Signer signs it; nil: nobody does.
	Signer Signer
}

// Text is a file that is in memory anyway.
func Text(content []byte) func() []byte { return func() []byte { return content } }

// Commit makes a commit in memory on top of the branch, for Push. changed is
// false, and no commit made, where the files are there already.
func (b *Branch) Commit(c Change) (hash string, changed bool, err error) {
	defer caught(&err)
	tree, err := b.writeFiles(c)
	if err != nil {
		return "", false, err
	}
	if b.Tree != nil && tree == b.Tree.root {
		return b.Hash, false, nil
	}
	who := object.Signature{Name: oneLine(c.Name), Email: oneLine(c.Email), When: c.When.UTC()}
	commit := &object.Commit{Author: who, Committer: who, Message: c.Message, TreeHash: tree}
	if b.Hash != "" {
		commit.ParentHashes = []plumbing.Hash{plumbing.NewHash(b.Hash)}
	}
	if c.Signer != nil {
		if err := b.sign(commit, c.Signer); err != nil {
			return "", false, err
		}
	}
	written, err := b.write(commit)
	if err != nil {
		return "", false, err
	}
	if err := b.objects.SetReference(plumbing.NewHashReference(b.ref, written)); err != nil {
		return "", false, fmt.Errorf("setting %s: %w", b.ref, err)
	}
	b.newest = written
	return written.String(), true, nil
}

// Push sends what Commit made, without force. ErrRefused is in the chain where
// the server was there and would not take it.
func (b *Branch) Push(ctx context.Context) (err error) {
	defer caught(&err)
	parent := ctx
	ctx, cancel := context.WithTimeout(ctx, b.remote.timeout())
	defer cancel()
	defer b.objects.asPushed()()
	err = b.pusher.Push(ctx, repository.PushConfig{Refspecs: []string{b.ref.String() + ":" + b.ref.String()}})
	if err == nil || errors.Is(err, gogit.NoErrAlreadyUpToDate) {
		return nil
	}
	// go-git has texts only for these: a reported refusal, and its own check that
	// the remote's head is an ancestor, which a shallow clone may fail to answer.
	text := err.Error()
	moved := strings.Contains(text, "non-fast-forward") || errors.Is(err, plumbing.ErrObjectNotFound)
	if moved || strings.Contains(text, "command error on") || strings.Contains(text, "unpack error") {
		advice := "allow the account of the Secret to push there; see protected branches and push rules"
		if strings.Contains(text, "update ref") || strings.Contains(text, "lock") {
			// Git keeps branches as files: a and a/b cannot both be.
			advice = "see whether a branch is in its way whose name is the beginning of this one"
		}
		why := strings.TrimPrefix(text, "failed to push to remote: ")
		return b.remote.errorIs(ErrRefused, v1alpha1.ReasonReportFailed, "The server refuses the push to branch %s of %s (%s): %s",
			b.ref.Short(), b.remote.Address(), short(strings.TrimPrefix(why, "command error on "+b.ref.String()+": ")), advice)
	}
	return b.remote.explain(cause(parent, ctx), err, "branch "+b.ref.Short(), b.remote.timeout())
}

// Hash is what Git knows the content of a file by.
type Hash [20]byte

// HashOf is the Hash of a content.
func HashOf(content []byte) Hash { return Hash(plumbing.ComputeHash(plumbing.BlobObject, content)) }

// ErrRefused is in the chain of a push that the server did not take.
var ErrRefused = errors.New("the server refused the push")

// writeFiles writes the blobs and trees of a change and returns the root.
func (b *Branch) writeFiles(c Change) (plumbing.Hash, error) {
	root, from := &edit{}, plumbing.ZeroHash
	if b.Tree != nil {
		from = b.Tree.root
	}
	for _, name := range c.Gone {
		if err := root.set(name, plumbing.ZeroHash); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("taking away %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		if !fs.ValidPath(name) || name == "." {
			return plumbing.ZeroHash, fmt.Errorf("%q is no path that may be written", name)
		}
		if err := root.set(name, b.objects.put(plumbing.BlobObject, c.Files[name]())); err != nil {
			return plumbing.ZeroHash, fmt.Errorf("writing %s: %w", name, err)
		}
	}
	tree, err := b.edited(root, from)
	if err == nil && tree.IsZero() {
		return b.objects.put(plumbing.TreeObject, nil), nil
	}
	return tree, err
}

func (b *Branch) write(o interface {
	Encode(plumbing.EncodedObject) error
}) (plumbing.Hash, error) {
	encoded := b.objects.NewEncodedObject()
	if err := o.Encode(encoded); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("encoding a Git object: %w", err)
	}
	hash, err := b.objects.SetEncodedObject(encoded)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("writing a Git object: %w", err)
	}
	return hash, nil
}

// oneLine makes a name fit into the header of a commit.
func oneLine(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' || r == '<' || r == '>' || r == 0x7f {
			return -1
		}
		return r
	}, s))
}
