// SPDX-License-Identifier: Apache-2.0

// Package source reads the commit a RepoSync follows, and keeps the last ones.
//
// It decides what has to come over the wire: an unchanged remote costs one look at
// its references, a changed one what is new, a pinned commit that is held nothing,
// and many who ask for the same at once ask once. It never hands one tenant what only
// another's credentials can read, keeps no more than a bounded number of bytes, and
// writes nothing to a disk.
package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Error says in one sentence, free of secrets, why there is no commit. Its
// Reason is SourceUnreachable, AuthenticationFailed, RefNotFound or SourceTooLarge.
type Error = git.Error

// Request names a commit to read.
type Request struct {
	// URL is the clone address: https, http or ssh.
	URL string
	// Ref is the branch, tag or commit. Empty: branch main.
	Ref v1alpha1.GitRef
	// Auth is the data of a Secret in Flux's form; nil where there is none.
	Auth map[string][]byte
	// Timeout bounds the look. 0: git.DefaultTimeout.
	Timeout time.Duration
}

// Commit is one commit of a repository. It is shared: treat it as read-only.
type Commit struct {
	// Revision is branch@sha1:hash, tag@sha1:hash or sha1:hash.
	Revision string
	// Hash of the commit, 40 hex digits.
	Hash string
	// Tree is the commit's files, read from Git's objects. It reports symbolic
	// links as fs.ModeSymlink and submodules as fs.ModeIrregular and follows
	// neither. It is a build.Hashed: it knows the hash of each file and folder.
	Tree fs.FS
	// Author, Subject and When of the commit, as its author wrote them.
	Author, Subject string
	When            time.Time
	// Commit and Tag are what may be signed, for whoever follows a repository that
	// Espalier clones. Tag is nil where there is none to sign.
	Commit git.Signed
	Tag    *git.Signed
}

// Options are the bounds of a Store. Zero values mean the defaults.
type Options struct {
	// Commits that are kept at most; the longest unused goes first. Default 32.
	Commits int
	// Bytes that kept commits take together at most. A single larger one is kept
	// alone. Default 256 MiB, or a quarter of Go's memory limit where that is less.
	Bytes int64
	// MaxBytes that one repository may take. Default git.DefaultMaxBytes.
	MaxBytes int64
	// MaxEntries bounds the files and folders of an artifact. Default 200,000.
	MaxEntries int
}

// Store reads commits and keeps the last ones. It may be used by several
// goroutines.
type Store struct {
	opts Options

	mu    sync.Mutex
	looks map[string]*looks
	kept  []entry // the longest unused first
	// stocks are what is held of each repository, by each credential.
	stocks map[string]*git.Stock
}

type entry struct {
	key    string
	commit *Commit
	// place and snapshot are of a commit that we fetched ourselves.
	place    string
	snapshot *git.Snapshot
	// bytes is what an artifact takes, and a commit that no stock holds.
	bytes int64
}

// NewStore returns an empty store.
func NewStore(opts Options) *Store {
	if opts.Commits <= 0 {
		opts.Commits = 32
	}
	if opts.Bytes <= 0 {
		opts.Bytes = min(256<<20, debug.SetMemoryLimit(-1)/4)
	}
	return &Store{opts: opts, looks: map[string]*looks{}, stocks: map[string]*git.Stock{}}
}

// Fetch returns the commit a request names, as it is on the server now. While
// the server's is the kept one, the same *Commit is returned.
//
// Errors are *Error, or context.Canceled when ctx was cancelled.
func (s *Store) Fetch(ctx context.Context, req Request) (*Commit, error) {
	start, f := time.Now(), s.join(ctx, req)
	select {
	case <-f.done:
		return f.commit, f.err
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return nil, ctx.Err()
		}
		return nil, s.remote(req).Unanswered(time.Since(start).Round(time.Millisecond))
	}
}

func (s *Store) remote(req Request) git.Remote {
	return git.Remote{URL: req.URL, Auth: req.Auth, Timeout: req.Timeout, MaxBytes: s.opts.MaxBytes}
}

func (s *Store) look(ctx context.Context, key string, req Request) (*Commit, error) {
	place := placeOf(req)
	kept, stock := s.take(key), s.stock(place)
	if kept != nil && req.Ref.Commit != "" {
		return kept.commit, nil // a commit cannot change
	}
	var last *git.Snapshot
	if kept != nil {
		last = kept.snapshot
	}
	snapshot, err := s.remote(req).Fetch(ctx, req.Ref, stock, last)
	if errors.Is(err, git.ErrUnchanged) {
		return kept.commit, nil
	}
	if err != nil {
		return nil, err
	}
	commit := &Commit{
		Revision: snapshot.Revision, Hash: snapshot.Hash, Tree: snapshot.Tree,
		Author: snapshot.Author, Subject: snapshot.Subject, When: snapshot.When,
		Commit: snapshot.Commit, Tag: snapshot.Tag,
	}
	s.keep(entry{key: key, place: place, commit: commit, snapshot: snapshot, bytes: snapshot.Bytes}, stock)
	return commit, nil
}

// take returns what is kept for a request, nil when there is nothing, and marks it as
// used.
func (s *Store) take(key string) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.kept, func(e entry) bool { return e.key == key })
	if i < 0 {
		return nil
	}
	e := s.kept[i]
	s.kept = append(slices.Delete(s.kept, i, i+1), e)
	return &e
}

// stock is what is held of a repository.
func (s *Store) stock(place string) *git.Stock {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stock := s.stocks[place]; stock != nil {
		return stock
	}
	return git.NewStock()
}

// Forget drops what is kept for a request, so that the next look reads it anew.
func (s *Store) Forget(req Request) {
	key, place := keyOf(req), placeOf(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(e entry) bool { return e.key == key })
	s.settle(place)
}

func (s *Store) keep(e entry, stock *git.Stock) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stock != nil && s.stocks[e.place] == nil {
		s.stocks[e.place] = stock // or another was, meanwhile
	}
	s.kept = slices.DeleteFunc(s.kept, func(old entry) bool { return old.key == e.key })
	s.kept = append(s.kept, e)
	s.settle(e.place)
	for len(s.kept) > 1 && (len(s.kept) > s.opts.Commits || s.tooMany()) {
		place := s.kept[0].place
		s.kept = slices.Delete(s.kept, 0, 1)
		s.settle(place)
	}
}

// tooMany says whether too many bytes are held, once all that is superfluous is gone.
func (s *Store) tooMany() bool {
	if s.bytes() <= s.opts.Bytes {
		return false
	}
	for _, stock := range s.stocks {
		stock.Clear()
	}
	return s.bytes() > s.opts.Bytes
}

func (s *Store) bytes() int64 {
	total := int64(0)
	for _, stock := range s.stocks {
		total += stock.Bytes()
	}
	for _, e := range s.kept {
		total += e.bytes
	}
	return total
}

// settle tells the stock of a repository which commits are of use.
func (s *Store) settle(place string) {
	stock := s.stocks[place]
	if stock == nil {
		return
	}
	var of []*git.Snapshot
	for _, e := range s.kept {
		if e.place == place {
			of = append(of, e.snapshot)
		}
	}
	stock.Keep(of...)
	if len(of) == 0 {
		delete(s.stocks, place)
	}
}

// keyOf tells requests apart.
func keyOf(req Request) string {
	return fmt.Sprintf("%s %q %q %q", placeOf(req), req.Ref.Branch, req.Ref.Tag, req.Ref.Commit)
}

// placeOf tells repositories apart. The credentials are part of it: what is held for
// one must have been readable by that one. Only their digest stays in memory.
func placeOf(req Request) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(req.Auth)) {
		fmt.Fprintf(h, "%q %q\n", name, req.Auth[name])
	}
	return fmt.Sprintf("%q %s", req.URL, hex.EncodeToString(h.Sum(nil)))
}
