// SPDX-License-Identifier: Apache-2.0

// Package source reads the commit a RepoSync follows, and keeps the last ones.
//
// It decides when a clone can be saved: an unchanged remote costs one look at its
// references, a pinned commit that is held costs nothing, and two who ask for the
// same at once ask once. It never hands one tenant what only another's credentials
// can read, keeps no more than a bounded number of bytes, and writes nothing to a
// disk.
package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

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
	// alone. Default 256 MiB.
	Bytes int64
	// MaxBytes that one repository may take. Default git.DefaultMaxBytes.
	MaxBytes int64
}

// Store reads commits and keeps the last ones. It may be used by several
// goroutines.
type Store struct {
	opts    Options
	flights singleflight.Group

	mu   sync.Mutex
	kept []entry // the longest unused first
}

type entry struct {
	key    string
	commit *Commit
	bytes  int64
}

// NewStore returns an empty store.
func NewStore(opts Options) *Store {
	if opts.Commits <= 0 {
		opts.Commits = 32
	}
	if opts.Bytes <= 0 {
		opts.Bytes = 256 << 20
	}
	return &Store{opts: opts}
}

// Fetch returns the commit a request names, as it is on the server now. While
// the server's is the kept one, the same *Commit is returned.
//
// Errors are *Error, or context.Canceled when ctx was cancelled.
func (s *Store) Fetch(ctx context.Context, req Request) (*Commit, error) {
	key, start := keyOf(req), time.Now()
	// Whoever comes second joins the look of the first, and must not lose it when
	// the first goes away: the look has a context of its own.
	flight := s.flights.DoChan(key, func() (any, error) {
		return s.look(context.WithoutCancel(ctx), key, req)
	})
	select {
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*Commit), nil
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
	kept := s.take(key)
	observed := ""
	if kept != nil {
		if req.Ref.Commit != "" {
			return kept, nil // a commit cannot change
		}
		observed = kept.Revision
	}
	snapshot, err := s.remote(req).Clone(ctx, req.Ref, observed)
	if errors.Is(err, git.ErrUnchanged) {
		return kept, nil
	}
	if err != nil {
		return nil, err
	}
	commit := &Commit{
		Revision: snapshot.Revision, Hash: snapshot.Hash, Tree: snapshot.Tree,
		Author: snapshot.Author, Subject: snapshot.Subject, When: snapshot.When,
		Commit: snapshot.Commit, Tag: snapshot.Tag,
	}
	s.keep(entry{key: key, commit: commit, bytes: snapshot.Bytes})
	return commit, nil
}

// take returns a kept commit, nil when there is none, and marks it as used.
func (s *Store) take(key string) *Commit {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.kept, func(e entry) bool { return e.key == key })
	if i < 0 {
		return nil
	}
	e := s.kept[i]
	s.kept = append(slices.Delete(s.kept, i, i+1), e)
	return e.commit
}

// Forget drops what is kept for a request: a tag that was made anew on the same
// commit looks unchanged, and may carry the signature that the old one lacked.
func (s *Store) Forget(req Request) {
	key := keyOf(req)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(e entry) bool { return e.key == key })
}

func (s *Store) keep(e entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = slices.DeleteFunc(s.kept, func(old entry) bool { return old.key == e.key })
	s.kept = append(s.kept, e)
	total := int64(0)
	for _, k := range s.kept {
		total += k.bytes
	}
	for len(s.kept) > 1 && (len(s.kept) > s.opts.Commits || total > s.opts.Bytes) {
		total -= s.kept[0].bytes
		s.kept = slices.Delete(s.kept, 0, 1)
	}
}

// keyOf tells requests apart. The credentials are part of it: what is kept for
// one must have been readable by that one. Only their digest stays in memory.
func keyOf(req Request) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(req.Auth)) {
		fmt.Fprintf(h, "%q %q\n", name, req.Auth[name])
	}
	return fmt.Sprintf("%q %q %q %q %s", req.URL, req.Ref.Branch, req.Ref.Tag, req.Ref.Commit, hex.EncodeToString(h.Sum(nil)))
}
