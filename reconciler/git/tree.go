// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// ErrNotRegular is the error, within an fs.PathError, of opening what is neither
// file nor folder, or of a path that leads through such.
var ErrNotRegular = errors.New("is a symbolic link or a submodule, which are not followed")

// Tree is the files of one commit, read from Git's objects: a read-only fs.FS
// that several goroutines may use. A symbolic link is an entry of fs.ModeSymlink
// and a submodule one of fs.ModeIrregular; neither can be opened or passed
// through.
type Tree struct {
	objects storer.EncodedObjectStorer
	root    plumbing.Hash
	whole   bool
	lacks   bool     // of a Head: of most files the hash is all there is, and their size 0
	dirs    sync.Map // plumbing.Hash → *dir: what is not decoded anew each time
}

var (
	_ fs.ReadFileFS = (*Tree)(nil)
	_ fs.ReadDirFS  = (*Tree)(nil)
	_ fs.StatFS     = (*Tree)(nil)
	_ fs.ReadLinkFS = (*Tree)(nil)
)

func newTree(from storer.EncodedObjectStorer, root plumbing.Hash) *Tree {
	return &Tree{objects: from, root: root}
}

// node is one entry of a tree. It is its own fs.FileInfo and fs.DirEntry. Git
// keeps no times: ModTime is zero.
type node struct {
	name string
	mode fs.FileMode
	hash plumbing.Hash
	size int64
}

func (n *node) Name() string               { return n.name }
func (n *node) Size() int64                { return n.size }
func (n *node) Mode() fs.FileMode          { return n.mode }
func (n *node) ModTime() time.Time         { return time.Time{} }
func (n *node) IsDir() bool                { return n.mode.IsDir() }
func (n *node) Sys() any                   { return nil }
func (n *node) Type() fs.FileMode          { return n.mode.Type() }
func (n *node) Info() (fs.FileInfo, error) { return n, nil }
func (n *node) String() string             { return fs.FormatFileInfo(n) }

// Hash is Git's hash of the file or folder at a path, 40 hex digits: two that
// have the same hash have the same content.
func (t *Tree) Hash(name string) (string, error) {
	n, err := t.find("hash", name)
	if err != nil {
		return "", err
	}
	return n.hash.String(), nil
}

// Each calls yield with every entry of a folder, in the order of their names. The hash
// is in bytes, and must not be kept.
func (t *Tree) Each(name string, yield func(name string, kind fs.FileMode, hash []byte)) error {
	n, err := t.find("readdir", name)
	if err != nil {
		return err
	}
	if !n.IsDir() {
		return &fs.PathError{Op: "readdir", Path: name, Err: errors.New("is no folder")}
	}
	d, err := t.dir(n.hash)
	if err != nil {
		return &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	for i := range d {
		yield(d[i].name, d[i].mode.Type(), d[i].hash[:])
	}
	return nil
}

// Whole says that the content of every file came with the commit: Has is true for each.
func (t *Tree) Whole() bool { return t.whole }

// Has says whether the content of a file with this hash came with the commit: a
// tree may name what its server never sent.
func (t *Tree) Has(hash string) bool {
	var text [2 * len(plumbing.Hash{})]byte // asked for every file of every commit: nothing is allocated
	var of plumbing.Hash
	if len(hash) != len(text) {
		return false
	}
	copy(text[:], hash)
	_, err := hex.Decode(of[:], text[:])
	return err == nil && t.objects.HasEncodedObject(of) == nil
}

// Open opens a file or a folder.
func (t *Tree) Open(name string) (fs.File, error) {
	n, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	switch {
	case n.IsDir():
		list, err := t.list(n.hash)
		if err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		return &openDir{node: n, path: name, rest: list}, nil
	case !n.mode.IsRegular():
		return nil, &fs.PathError{Op: "open", Path: name, Err: ErrNotRegular}
	}
	content, err := t.blob(n.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &openFile{node: n, Reader: bytes.NewReader(content)}, nil
}

// ReadFile returns the content of a file; the caller may change it.
func (t *Tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find("read", name)
	if err != nil {
		return nil, err
	}
	if !n.mode.IsRegular() {
		err = ErrNotRegular
		if n.IsDir() {
			err = errors.New("is a folder")
		}
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	content, err := t.blob(n.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "read", Path: name, Err: err}
	}
	return content, nil
}

// ReadDir lists a folder, sorted by name.
func (t *Tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find("readdir", name)
	if err != nil {
		return nil, err
	}
	if !n.IsDir() {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: errors.New("is no folder")}
	}
	list, err := t.list(n.hash)
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	return list, nil
}

// Stat describes an entry; it follows no symbolic link.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.Lstat(name) }

// Lstat describes an entry.
func (t *Tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return n, nil
}

// ReadLink returns where a symbolic link points to, for a message about it.
func (t *Tree) ReadLink(name string) (string, error) {
	n, err := t.find("readlink", name)
	if err != nil {
		return "", err
	}
	if n.mode.Type() != fs.ModeSymlink {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: fs.ErrInvalid}
	}
	target, err := t.blob(n.hash)
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(target), nil
}

func (t *Tree) find(op, name string) (*node, error) {
	fail := func(err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return nil, fail(fs.ErrInvalid)
	}
	at := &node{name: ".", mode: fs.ModeDir | 0o555, hash: t.root}
	if name == "." {
		return at, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case at.mode.IsRegular():
			return nil, fail(fs.ErrNotExist)
		case !at.IsDir():
			return nil, fail(ErrNotRegular)
		}
		d, err := t.dir(at.hash)
		if err != nil {
			return nil, fail(err)
		}
		var ok bool
		if at, ok = d.named(part); !ok {
			return nil, fail(fs.ErrNotExist)
		}
	}
	if err := t.measure(at); err != nil {
		return nil, fail(err)
	}
	return at, nil
}

// quick is how many bytes a tree's object may have that is decoded anew each time, of
// a repository in memory: some ten entries, which take a microsecond. Ten thousand such
// folders would take more memory decoded than the repository does.
const quick = 1 << 10

// dir is a folder, its entries without their sizes where all of them are there.
func (t *Tree) dir(hash plumbing.Hash) (dir, error) {
	if d, ok := t.dirs.Load(hash); ok {
		return d.(dir), nil
	}
	content, err := t.content(plumbing.TreeObject, hash)
	if err != nil {
		return nil, fmt.Errorf("reading tree %s: %w", hash, err)
	}
	d, err := decoded(content)
	if err != nil {
		return nil, fmt.Errorf("reading tree %s: %w", hash, err)
	}
	if t.whole && len(content) <= quick && hash != t.root {
		return d, nil
	}
	for i := range d {
		if t.whole || t.lacks {
			break
		}
		if err := t.sized(&d[i]); err != nil {
			return nil, err
		}
	}
	kept, _ := t.dirs.LoadOrStore(hash, d)
	return kept.(dir), nil
}

// list is a folder's entries with their sizes, which the caller may change.
func (t *Tree) list(hash plumbing.Hash) ([]fs.DirEntry, error) {
	d, err := t.dir(hash)
	if err != nil {
		return nil, err
	}
	nodes, list := slices.Clone(d), make([]fs.DirEntry, len(d))
	for i := range nodes {
		if err := t.measure(&nodes[i]); err != nil {
			return nil, err
		}
		list[i] = &nodes[i]
	}
	return list, nil
}

// measure looks up the size of a file, where dir has left it out.
func (t *Tree) measure(n *node) error {
	if !t.whole {
		return nil
	}
	return t.sized(n)
}

func (t *Tree) sized(n *node) (err error) {
	if t.lacks || !n.mode.IsRegular() && n.mode.Type() != fs.ModeSymlink {
		return nil
	}
	if n.size, err = t.objects.EncodedObjectSize(n.hash); err != nil {
		return fmt.Errorf("reading blob %s: %w", n.hash, err)
	}
	return nil
}

// blob is the content of a file, which the caller may change.
func (t *Tree) blob(hash plumbing.Hash) ([]byte, error) {
	content, err := t.content(plumbing.BlobObject, hash)
	if err != nil {
		return nil, fmt.Errorf("reading blob %s: %w", hash, err)
	}
	return content, nil
}

// content is what an object holds; the caller may change that of a blob.
func (t *Tree) content(kind plumbing.ObjectType, hash plumbing.Hash) ([]byte, error) {
	o, err := t.objects.EncodedObject(kind, hash)
	if err != nil {
		return nil, err
	}
	if h, ok := o.(*held); ok && kind == plumbing.TreeObject {
		return h.content, nil
	}
	if kind == plumbing.BlobObject && o.Size() > DefaultMaxBytes { // a clone is bounded as a whole, a repository on disk is not
		return nil, ErrTooLarge
	}
	r, err := o.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	content := make([]byte, o.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, err
	}
	return content, nil
}

func modeOf(mode filemode.FileMode) fs.FileMode {
	switch mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Regular, filemode.Deprecated:
		return 0o444
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	}
	return fs.ModeIrregular
}

// typeOf is the type of the object that an entry points to, InvalidObject where
// the repository does not hold it.
func typeOf(mode filemode.FileMode) plumbing.ObjectType {
	switch mode {
	case filemode.Dir:
		return plumbing.TreeObject
	case filemode.Regular, filemode.Deprecated, filemode.Executable, filemode.Symlink:
		return plumbing.BlobObject
	}
	return plumbing.InvalidObject
}

type openFile struct {
	*node
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.node, nil }
func (f *openFile) Close() error               { return nil }
func (f *openFile) Size() int64                { return f.size }

type openDir struct {
	*node
	path string
	rest []fs.DirEntry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.node, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.path, Err: errors.New("is a folder")}
}

// ReadDir lists the next n entries, or all when n <= 0.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	list := slices.Clone(d.rest[:n])
	d.rest = d.rest[n:]
	return list, nil
}
