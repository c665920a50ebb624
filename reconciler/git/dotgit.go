// SPDX-License-Identifier: Apache-2.0

package git

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	formatcfg "github.com/go-git/go-git/v5/plumbing/format/config"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

// findRepository looks for the repository around a folder, upwards: the folder
// of the work tree, or of a bare repository, and the one with Git's own files.
func findRepository(dir string) (root, gitDir string, err error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", "", fmt.Errorf("resolving %s: %w", dir, err)
	}
	for at := from; ; at = filepath.Dir(at) {
		own := filepath.Join(at, gogit.GitDirName)
		info, err := os.Stat(own)
		switch {
		case err == nil && info.IsDir():
			return at, own, nil
		case err == nil:
			own, err = linkedGitDir(own)
			return at, own, err
		case isBare(at):
			return at, at, nil
		case at == filepath.Dir(at):
			return "", "", fmt.Errorf("%w around %s", ErrNoRepository, dir)
		}
	}
}

// isBare says whether a folder itself holds what git keeps.
func isBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// linkedGitDir reads the file .git of a linked work tree or a submodule.
func linkedGitDir(file string) (string, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(content)), "gitdir: ")
	if !ok {
		return "", fmt.Errorf("%w: %s does not say where it is", ErrNoRepository, file)
	}
	if filepath.IsAbs(to) {
		return to, nil
	}
	return filepath.Join(filepath.Dir(file), to), nil
}

// storageOf opens Git's files for reading. Thousands of objects are read: packs
// stay open. Borrowed objects may be anywhere on the disk.
func storageOf(gitDir string) (*localStorage, error) {
	files := osfs.New(gitDir)
	common, err := os.ReadFile(filepath.Join(gitDir, "commondir"))
	switch {
	case err == nil:
		shared := strings.TrimSpace(string(common))
		if !filepath.IsAbs(shared) {
			shared = filepath.Join(gitDir, shared)
		}
		files = dotgit.NewRepositoryFilesystem(files, osfs.New(shared))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("reading commondir: %w", err)
	}
	return &localStorage{Storage: filesystem.NewStorageWithOptions(files, cache.NewObjectLRUDefault(), filesystem.Options{
		KeepDescriptors: true, AlternatesFS: osfs.New(string(filepath.Separator)),
	})}, nil
}

// localStorage is a repository on disk, whose configuration go-git reads more
// strictly than reading objects needs. Several goroutines may read objects: go-git
// seeks in a pack that is open, so that one at a time does.
type localStorage struct {
	*filesystem.Storage
	reading sync.Mutex
}

// EncodedObject reads an object whole, into memory.
func (s *localStorage) EncodedObject(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.Storage.EncodedObject(kind, hash)
}

// HasEncodedObject is nil where the object is there.
func (s *localStorage) HasEncodedObject(hash plumbing.Hash) error {
	s.reading.Lock()
	defer s.reading.Unlock()
	return s.Storage.HasEncodedObject(hash)
}

// EncodedObjectSize looks among borrowed objects too, as reading one does.
func (s *localStorage) EncodedObjectSize(hash plumbing.Hash) (int64, error) {
	s.reading.Lock()
	size, err := s.Storage.EncodedObjectSize(hash)
	s.reading.Unlock()
	if !errors.Is(err, plumbing.ErrObjectNotFound) {
		return size, err
	}
	o, err := s.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return 0, err
	}
	return o.Size(), nil
}

// harmless are extensions that change nothing for who reads objects. With
// partialclone some may not be there, which is said when one is missing.
var harmless = []string{"worktreeconfig", "partialclone", "preciousobjects", "relativeworktrees"}

// Config leaves the harmless extensions out.
func (s *localStorage) Config() (*config.Config, error) {
	c, err := s.Storage.Config()
	if err != nil || !c.Raw.HasSection("extensions") {
		return c, err
	}
	section := c.Raw.Section("extensions")
	section.Options = slices.DeleteFunc(section.Options, func(o *formatcfg.Option) bool {
		return slices.Contains(harmless, strings.ToLower(o.Key))
	})
	return c, nil
}
