// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	fluxfetch "github.com/fluxcd/pkg/http/fetch"
	"github.com/fluxcd/pkg/tar"
	"github.com/go-git/go-billy/v5/helper/iofs"
	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/util"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// artifactRetries is how often a download is tried within its timeout.
const artifactRetries = 2

// Artifact names the artifact of a Flux source.
type Artifact struct {
	// URL, Revision and Digest as the source's status says them.
	URL, Revision, Digest string
	// Timeout bounds the download. 0: git.DefaultTimeout.
	Timeout time.Duration
}

// FetchArtifact returns the files of an artifact as a Commit without an author.
// The digest is verified before anything is unpacked, and identifies what is
// kept: an artifact that is held costs no request.
//
// Errors are *Error, or context.Canceled when ctx was cancelled.
func (s *Store) FetchArtifact(ctx context.Context, a Artifact) (*Commit, error) {
	key := "artifact " + a.URL + " " + a.Digest
	if kept := s.take(key); kept != nil {
		return kept.commit, nil
	}
	timeout := a.Timeout
	if timeout <= 0 {
		timeout = git.DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	dir, err := os.MkdirTemp("", "espalier-artifact-")
	if err != nil {
		return nil, fmt.Errorf("making a folder for the artifact: %w", err)
	}
	defer os.RemoveAll(dir)
	limit := s.maxBytes()
	entries := 0 // the archive bounds bytes alone, of which an empty file has none
	tooMany := func(string, os.FileInfo) bool {
		entries++
		return entries > s.maxEntries() || ctx.Err() != nil
	}
	fetcher := fluxfetch.New(fluxfetch.WithRetries(artifactRetries), fluxfetch.WithMaxDownloadSize(limit),
		fluxfetch.WithUntar(tar.WithMaxUntarSize(limit), tar.WithSkipSymlinks(), tar.WithFilter(tooMany)))
	if err := fetcher.FetchWithContext(ctx, a.URL, a.Digest, dir); err != nil {
		return nil, artifactError(ctx, a, err)
	}
	switch {
	case entries > s.maxEntries():
		return nil, &Error{Reason: v1alpha1.ReasonSourceUnreachable, Err: fmt.Errorf(
			"the artifact of revision %s has more than %d files and folders: leave out what the path needs not, by spec.ignore of its Flux source", a.Revision, s.maxEntries())}
	case ctx.Err() != nil:
		return nil, artifactError(ctx, a, ctx.Err())
	}
	tree, bytes, err := intoMemory(dir)
	if err != nil {
		return nil, err
	}
	commit := &Commit{Revision: a.Revision, Hash: hashOf(a), Tree: tree}
	s.keep(entry{key: key, commit: commit, bytes: bytes}, nil)
	return commit, nil
}

func (s *Store) maxEntries() int { return cmp.Or(s.opts.MaxEntries, 200_000) }

func (s *Store) maxBytes() int {
	if s.opts.MaxBytes > 0 {
		return int(s.opts.MaxBytes)
	}
	return int(git.DefaultMaxBytes)
}

// hashOf is the commit in an artifact's revision, branch@sha1:hash; the digest
// where the revision names none.
func hashOf(a Artifact) string {
	if i := strings.LastIndex(a.Revision, ":"); i >= 0 {
		return a.Revision[i+1:]
	}
	return strings.TrimPrefix(a.Digest, "sha256:")
}

func artifactError(ctx context.Context, a Artifact, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	case errors.Is(err, fluxfetch.ErrFileNotFound):
		err = fmt.Errorf("the artifact of revision %s is gone from source-controller: a newer one replaces it, which is looked for again", a.Revision)
	default:
		err = fmt.Errorf("the artifact of revision %s could not be fetched from source-controller: %w", a.Revision, err)
	}
	return &Error{Reason: v1alpha1.ReasonSourceUnreachable, Err: err}
}

// entryBytes is about what a file or folder takes in memory beside its content and its name.
const entryBytes = 512

// intoMemory reads a folder into memory, so that nothing of it stays on a disk,
// and says about how many bytes it takes there.
func intoMemory(dir string) (fs.FS, int64, error) {
	memory := memfs.New()
	tree := &artifactTree{FS: iofs.New(memory), hashes: map[string]string{}, content: map[string]bool{}}
	var bytes int64
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if bytes += entryBytes + int64(len(d.Name())); !d.Type().IsRegular() {
			return nil
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		bytes += int64(len(content))
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		tree.add(filepath.ToSlash(relative), content)
		return util.WriteFile(memory, filepath.ToSlash(relative), content, 0o444)
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading the artifact: %w", err)
	}
	if _, err := tree.hashFolder("."); err != nil {
		return nil, 0, fmt.Errorf("reading the artifact: %w", err)
	}
	return tree, bytes, nil
}

// artifactTree is the files of an artifact with a hash of each file and folder,
// as a Git tree has them: what a later artifact has not changed is known by it.
type artifactTree struct {
	fs.FS
	hashes  map[string]string
	content map[string]bool
}

func (t *artifactTree) add(name string, content []byte) {
	sum := sha256.Sum256(content)
	t.hashes[name] = hex.EncodeToString(sum[:])
	t.content[t.hashes[name]] = true
}

// hashFolder hashes the names in a folder and what they stand for.
func (t *artifactTree) hashFolder(dir string) (string, error) {
	entries, err := fs.ReadDir(t.FS, dir)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	for _, e := range entries {
		p := path.Join(dir, e.Name())
		hash := t.hashes[p]
		if e.IsDir() {
			if hash, err = t.hashFolder(p); err != nil {
				return "", err
			}
		}
		fmt.Fprintf(h, "%v %q %s\n", e.IsDir(), e.Name(), hash)
	}
	t.hashes[dir] = hex.EncodeToString(h.Sum(nil))
	return t.hashes[dir], nil
}

// Hash returns the SHA-256 of a file's content, or of all that a folder holds.
func (t *artifactTree) Hash(name string) (string, error) {
	hash, ok := t.hashes[name]
	if !ok {
		return "", &fs.PathError{Op: "hash", Path: name, Err: fs.ErrNotExist}
	}
	return hash, nil
}

// Has says whether a file of the artifact has this hash.
func (t *artifactTree) Has(hash string) bool { return t.content[hash] }

// Whole says that every file of the artifact is there.
func (t *artifactTree) Whole() bool { return true }

// Each calls yield with every entry of a folder.
func (t *artifactTree) Each(dir string, yield func(name string, kind fs.FileMode, hash []byte)) error {
	if at, err := fs.Stat(t.FS, dir); err != nil || !at.IsDir() {
		return &fs.PathError{Op: "readdir", Path: dir, Err: fs.ErrNotExist}
	}
	entries, err := fs.ReadDir(t.FS, dir)
	for _, e := range entries {
		yield(e.Name(), e.Type(), []byte(t.hashes[path.Join(dir, e.Name())]))
	}
	return err
}

// Lstat describes an entry.
func (t *artifactTree) Lstat(name string) (fs.FileInfo, error) { return fs.Stat(t.FS, name) }

// ReadLink has nothing to read: links are left out when an artifact is unpacked.
func (t *artifactTree) ReadLink(name string) (string, error) {
	return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
}
