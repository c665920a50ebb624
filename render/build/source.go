// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// place is the file and line that a reference is written at, for messages.
type place struct {
	file string
	line int
}

// kind of what a path names.
type kind int

const (
	missing kind = iota
	regular
	folder
)

// source reads a tree within limits and never follows a symbolic link. Every
// file and folder is read at most once in a Build.
type source struct {
	tree    fs.FS
	limits  Limits
	folders map[string]map[string]fs.DirEntry
	texts   map[string][]byte
	docs    map[string][]*yaml.Node
	bytes   int64
}

func newSource(tree fs.FS, limits Limits) *source {
	return &source{
		tree: tree, limits: limits,
		folders: map[string]map[string]fs.DirEntry{},
		texts:   map[string][]byte{},
		docs:    map[string][]*yaml.Node{},
	}
}

// list returns the entries of a folder by name.
func (s *source) list(dir string) (map[string]fs.DirEntry, error) {
	if entries, ok := s.folders[dir]; ok {
		return entries, nil
	}
	list, err := fs.ReadDir(s.tree, dir)
	if err != nil {
		return nil, fmt.Errorf("reading folder %s: %w", dir, err)
	}
	entries := make(map[string]fs.DirEntry, len(list))
	for _, e := range list {
		entries[e.Name()] = e
	}
	s.folders[dir] = entries
	return entries, nil
}

// look says what a path names. It walks down from the root, so that no folder
// on the way is a link either: file systems of the operating system follow them.
func (s *source) look(p string) (kind, error) {
	if p == "." {
		return folder, nil
	}
	if parent := path.Dir(p); parent != "." {
		k, err := s.look(parent)
		if err != nil || k != folder {
			return missing, err
		}
	}
	entries, err := s.list(path.Dir(p))
	if errors.Is(err, fs.ErrNotExist) {
		return missing, nil
	}
	if err != nil {
		return missing, err
	}
	e, ok := entries[path.Base(p)]
	switch {
	case !ok:
		return missing, nil
	case e.Type()&fs.ModeSymlink != 0:
		return missing, refuse(Symlink, "%s is a symbolic link: they are not followed; put the file itself there", p)
	case e.IsDir():
		return folder, nil
	case e.Type().IsRegular():
		return regular, nil
	}
	return missing, refuse(Symlink, "%s is neither a file nor a folder", p)
}

// text returns the content of a regular file.
func (s *source) text(p string) ([]byte, error) {
	if text, ok := s.texts[p]; ok {
		return text, nil
	}
	if len(s.texts) >= s.limits.Files {
		return nil, refuse(TooLarge, "the build reads more than %d files; split the repository, or give each RepoSync a path of its own", s.limits.Files)
	}
	f, err := s.tree.Open(p)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", p, err)
	}
	defer f.Close()
	// The size in the listing is not trusted: read one byte past the limit.
	text, err := io.ReadAll(io.LimitReader(f, s.limits.FileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", p, err)
	}
	if int64(len(text)) > s.limits.FileBytes {
		return nil, refuse(TooLarge, "%s is larger than %d bytes", p, s.limits.FileBytes)
	}
	if s.bytes += int64(len(text)); s.bytes > s.limits.TreeBytes {
		return nil, refuse(TooLarge, "the build reads more than %d bytes", s.limits.TreeBytes)
	}
	s.texts[p] = text
	return text, nil
}

// documents returns the parsed documents of a YAML file, aliases counted.
func (s *source) documents(p string) ([]*yaml.Node, error) {
	if docs, ok := s.docs[p]; ok {
		return docs, nil
	}
	text, err := s.text(p)
	if err != nil {
		return nil, err
	}
	docs, err := yamltext.Parse(text, s.limits.AliasBytes)
	if err != nil {
		return nil, atText(err, p)
	}
	s.docs[p] = docs
	return docs, nil
}

// atText turns an error of yamltext into a refusal at a file.
func atText(err error, file string) error {
	var bad *yamltext.Error
	if !errors.As(err, &bad) {
		return fmt.Errorf("parsing %s: %w", file, err)
	}
	code := finding.InvalidYAML
	if errors.Is(err, yamltext.ErrExpands) {
		code = AliasBomb
	}
	return &refusal{code: code, at: place{file, bad.Line}, message: bad.Error()}
}

// names returns the names in a folder in order.
func (s *source) names(dir string) ([]string, error) {
	entries, err := s.list(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}
