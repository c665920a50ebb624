// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// maxFile bounds what is decrypted of a tree, in bytes: whoever builds takes no
// larger file either.
const maxFile = 5 << 20

// maxEncrypted bounds how many files of a tree are decrypted: each costs a try of every
// key on every recipient, whoever pushed it.
const maxEncrypted = 1000

// maxAll bounds what is decrypted of a tree together, in bytes of the encrypted files.
const maxAll = 16 << 20

// Failure is why a file of a tree is not decrypted.
type Failure struct {
	// Code of the finding, File and Line that it is about.
	Code string
	File string
	Line int
	// Message holds nothing of the file.
	Message string
	// Bytes that were read of it.
	Bytes int64
	// Asked says that it was a vault that did not open it: the same file may open when it
	// is asked again.
	Asked bool
}

func (f *Failure) Error() string { return f.Message }

// decrypting is a tree whose encrypted files read as plain text. Kustomizations stay
// as they are: what is built is for everybody to see.
type decrypting struct {
	fs.FS
	keys *Keys

	mu    sync.Mutex
	known map[string]*known // by name
	bytes int               // of these
	tries tries
}

// known is an encrypted file that was opened once: what fails is not tried again.
type known struct {
	secrets []string
	failure *Failure
}

// hashed is a tree that knows the hashes of its files and folders.
type hashed interface {
	fs.ReadLinkFS
	Hash(name string) (string, error)
	Has(hash string) bool
}

// listed is beyond it in one that knows those of a whole folder.
type listed interface {
	Each(dir string, yield func(name string, kind fs.FileMode, hash []byte)) error
	Whole() bool
}

// Tree is a tree whose encrypted files read as plain text: with a *Failure where that
// is not possible. Where the tree knows hashes, those of this one are others with
// other keys.
func (k *Keys) Tree(tree fs.FS) fs.FS {
	d := &decrypting{FS: tree, keys: k, known: map[string]*known{}, tries: newTries()}
	hashes, ok := tree.(hashed)
	lists, ok2 := tree.(listed)
	if !ok || !ok2 {
		return d
	}
	return &decryptingHashed{d, hashes, lists}
}

// Decrypted says whether a file that was opened was encrypted, and returns each value of
// it that was.
func (d *decrypting) Decrypted(name string) (secrets []string, was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[name]; k != nil {
		return k.secrets, true
	}
	return nil, false
}

// Open opens a folder as it is, and a file decrypted.
func (d *decrypting) Open(name string) (fs.File, error) {
	f, err := d.FS.Open(name)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() || isKustomization(name) {
		return f, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if len(text) > maxFile {
		return &rest{f, io.MultiReader(bytes.NewReader(text), f)}, nil
	}
	if !Is(name, text) {
		return &rest{f, bytes.NewReader(text)}, nil
	}
	plain, failed := d.decrypt(name, text)
	if failed != nil {
		return nil, errors.Join(failed, f.Close())
	}
	return &rest{f, bytes.NewReader(plain)}, nil
}

// decrypt opens a file within the bounds of the tree. One that fails is not tried again.
func (d *decrypting) decrypt(name string, text []byte) ([]byte, *Failure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.known[name]
	if k != nil && k.failure != nil {
		return nil, k.failure
	}
	var err error
	t := d.tries.again() // who was opened once opens again
	if k == nil {
		k, t = &known{}, &d.tries
		d.known[name] = k
		err = d.charge(name, len(text))
	}
	var o opened
	if err == nil {
		o, err = d.keys.decrypt(name, text, t)
	}
	if err != nil {
		k.failure = failure(name, err)
		k.failure.Bytes = int64(len(text))
		return nil, k.failure
	}
	k.secrets = o.secrets
	return o.plain, nil
}

// charge counts a file, and refuses it where there are too many, or too large ones.
func (d *decrypting) charge(name string, size int) error {
	d.bytes += size
	switch {
	case len(d.known) > maxEncrypted:
		return fmt.Errorf("%s is not decrypted: there are more than %d encrypted files; divide them among RepoSyncs", name, maxEncrypted)
	case d.bytes > maxAll:
		return fmt.Errorf("%s is not decrypted: the encrypted files have more than %d bytes; divide them among RepoSyncs", name, maxAll)
	}
	return nil
}

func isKustomization(name string) bool {
	for _, known := range konfig.RecognizedKustomizationFileNames() {
		if path.Base(name) == known {
			return true
		}
	}
	return false
}

func failure(name string, err error) *Failure {
	var refused *Refused
	if errors.As(err, &refused) {
		return &Failure{Code: refused.Code, File: name, Line: refused.Line, Message: refused.Error()}
	}
	var asked *vaultError
	return &Failure{Code: finding.DecryptionFailed, File: name, Message: err.Error(), Asked: errors.As(err, &asked)}
}

// rest is an open file of which something was read.
type rest struct {
	fs.File
	from io.Reader
}

func (r *rest) Read(p []byte) (int, error) { return r.from.Read(p) }

// decryptingHashed knows the hashes of a tree, with the keys in them.
type decryptingHashed struct {
	*decrypting
	known hashed
	lists listed
}

func (d *decryptingHashed) mark() string { return "+" + d.keys.fingerprint }

// Hash of a file or folder, which is another with other keys.
func (d *decryptingHashed) Hash(name string) (string, error) {
	hash, err := d.known.Hash(name)
	if err != nil {
		return "", fmt.Errorf("hash of %s: %w", name, err)
	}
	return hash + d.mark(), nil
}

// Has says whether the content of a file with a hash is there.
func (d *decryptingHashed) Has(hash string) bool {
	own, ok := strings.CutSuffix(hash, d.mark())
	return ok && d.known.Has(own)
}

// Each calls yield with every entry of a folder.
func (d *decryptingHashed) Each(dir string, yield func(name string, kind fs.FileMode, hash []byte)) error {
	return d.lists.Each(dir, func(name string, kind fs.FileMode, hash []byte) {
		yield(name, kind, append(bytes.Clone(hash), d.mark()...))
	})
}

// Whole says that the content of every file is there.
func (d *decryptingHashed) Whole() bool { return d.lists.Whole() }

// Lstat describes an entry. The size is that of the encrypted file.
func (d *decryptingHashed) Lstat(name string) (fs.FileInfo, error) { return d.known.Lstat(name) }

// ReadLink returns where a symbolic link points to.
func (d *decryptingHashed) ReadLink(name string) (string, error) { return d.known.ReadLink(name) }

// ReadDir lists a folder.
func (d *decrypting) ReadDir(name string) ([]fs.DirEntry, error) { return fs.ReadDir(d.FS, name) }
