// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/konfig"

	"go.yaml.in/yaml/v3"
)

// Hashed is a tree that knows what its files and folders hold without reading
// them, as a Git tree does.
type Hashed interface {
	fs.FS
	// Hash of the file or folder at a path: two that have the same hash hold the
	// same, names included.
	Hash(name string) (string, error)
	// Has says whether the tree holds the content of a file with this hash, and
	// does not only name it: a hostile server can name what it never had.
	Has(hash string) bool
}

// state is what a path names, as far as a result depends on it.
type state struct {
	kind kind
	why  string // of refused
	hash string // of a file that was read, or of the names in a folder
}

// listing is the key of a folder's names among the reads of a result.
const listing = "/"

// read is a path and what it named when a result was made.
type read struct {
	path  string
	state state
}

// view reads a source for one result and notes all that the result depends on:
// files and folders that are there, and such that were looked for in vain.
type view struct {
	*source
	reads map[string]state
	// fleeting results depend on more than what was read: on what other units
	// read before, or on an error of the reader.
	fleeting bool
}

func newView(s *source) *view { return &view{source: s, reads: map[string]state{}} }

// look says what a path names; the error is the refusal of a link.
func (v *view) look(p string) (kind, error) {
	found, err := v.source.look(p)
	if err != nil {
		v.fleeting = true
		return missing, err
	}
	if v.reads[p].hash == "" {
		v.reads[p] = found
	}
	if found.kind == refused {
		return missing, refuse(Symlink, "%s", found.why)
	}
	return found.kind, nil
}

// has says whether a folder has an entry of a name, whatever it is.
func (v *view) has(dir, name string) bool {
	_, _ = v.look(path.Join(dir, name))
	return v.reads[path.Join(dir, name)].kind != missing
}

// text returns the content of a file that look has found to be one.
func (v *view) text(p string) ([]byte, error) {
	text, err := v.source.text(p)
	v.note(p, err)
	return text, err
}

// documents returns the documents of such a file.
func (v *view) documents(p string) ([]*yaml.Node, error) {
	docs, err := v.source.documents(p)
	v.note(p, err)
	return docs, err
}

// note records the content of a file, whether it could be used or not.
func (v *view) note(p string, err error) {
	if !v.hashing {
		return
	}
	hash, hashErr := v.hash(p)
	var r *refusal
	if hashErr != nil || errors.Is(err, errBudget) || errors.Is(err, errAsked) || err != nil && !errors.As(err, &r) {
		v.fleeting = true
		return
	}
	v.reads[p] = state{kind: regular, hash: hash}
}

// names returns the names in a folder in order.
func (v *view) names(dir string) ([]string, error) {
	names, err := v.source.names(dir)
	if err != nil {
		v.fleeting = true
		return nil, err
	}
	v.reads[dir+listing] = state{kind: folder, hash: hashNames(names)}
	return names, nil
}

// kustomizationFile returns the path of the kustomization of a folder, "" when
// it has none.
func (v *view) kustomizationFile(dir string) (string, error) {
	if _, err := v.list(dir); err != nil {
		return "", err
	}
	found := ""
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if !v.has(dir, name) {
			continue
		}
		p := path.Join(dir, name)
		if found != "" {
			return "", &refusal{code: BuildFailed, at: place{p, 0}, message: "the folder has two kustomizations, " + path.Base(found) + " too: keep one"}
		}
		found = p
	}
	return found, nil
}

// seen is what the view has read, by path.
func (v *view) seen() []read {
	list := make([]read, 0, len(v.reads))
	for p, st := range v.reads {
		list = append(list, read{p, st})
	}
	slices.SortFunc(list, func(a, b read) int { return strings.Compare(a.path, b.path) })
	return list
}

// sizes of the files that were read whole.
func (v *view) sizes() map[string]int64 {
	sizes := map[string]int64{}
	for p, st := range v.reads {
		if text, ok := v.texts[p]; ok && st.hash != "" {
			sizes[p] = int64(len(text))
		}
	}
	return sizes
}

// still says whether a path names what it did.
func (s *source) still(r read) bool {
	if dir, ok := strings.CutSuffix(r.path, listing); ok {
		names, err := s.names(dir)
		return err == nil && hashNames(names) == r.state.hash
	}
	now, err := s.look(r.path)
	if err != nil || now.kind != r.state.kind || now.why != r.state.why {
		return false
	}
	if r.state.hash == "" {
		return true
	}
	hash, err := s.hash(r.path)
	return err == nil && hash == r.state.hash
}

// allStillOf says whether everything is still that was read of a folder.
func (s *source) allStillOf(reads packed, dir string) bool {
	for r := range reads.each() {
		if !s.still(r.read(dir)) {
			return false
		}
	}
	return true
}

// hash of a file: the tree's own, where it has one and the content too.
func (s *source) hash(p string) (string, error) {
	if tree, ok := s.tree.(Hashed); ok {
		hash, err := tree.Hash(p)
		if err == nil && !tree.Has(hash) {
			err = fmt.Errorf("%s is named and not there: %w", p, fs.ErrNotExist)
		}
		return hash, err
	}
	if known, ok := s.hashes[p]; ok {
		return known, nil
	}
	hash, err := s.hashContent(p)
	if err == nil {
		s.hashes[p] = hash
	}
	return hash, err
}

// hashContent reads up to the limit: what is larger is refused, whatever it holds.
func (s *source) hashContent(p string) (string, error) {
	f, err := s.tree.Open(p)
	if err != nil {
		return "", fmt.Errorf("opening %s: %w", p, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, s.limits.FileBytes+1))
	switch {
	case err != nil:
		return "", fmt.Errorf("reading %s: %w", p, err)
	case n > s.limits.FileBytes:
		return "large", nil
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func hashNames(names []string) string {
	h := sha256.New()
	for _, name := range names {
		h.Write([]byte(name))
		h.Write([]byte{0})
	}
	return hex.EncodeToString(h.Sum(nil))
}

// below says whether a path is a folder or within it.
func below(p, dir string) bool {
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}
