// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"unique"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// place is the file and line that a reference is written at, for messages.
type place struct {
	file string
	line int
}

// kind of what a path names.
type kind int8

const (
	missing kind = iota
	regular
	folder
	refused // a link or a device: there, and not followed
)

// source reads a tree within limits and never follows a symbolic link. Every
// file and folder is read at most once in a Build. It belongs to one goroutine.
type source struct {
	tree    fs.FS
	limits  Limits
	hashing bool // somebody will ask what a result depends on
	folders map[string]map[string]fs.DirEntry
	looks   map[string]state
	beside  string // the folder that was looked into last
	hashes  map[string]string
	texts   map[string][]byte
	gone    func() error // why nobody waits for the Build any more
	docs    map[string][]*yaml.Node
	charged map[string]bool // files that count against the limits
	bytes   int64           // of those
	// Until the sum of all that was asked for may be over the limits, files are only
	// added up, those that several read more than once: which are the same is asked then.
	exact bool
	rough [][]sized
	taken []*entry // whose files are counted too
	count int      // files in rough and of taken, whose bytes are in bytes

	stills map[unique.Handle[packed]]bool // what allStillOf says of reads outside of folders
}

func newSource(tree fs.FS, limits Limits, hashing bool) *source {
	return &source{
		tree: tree, limits: limits, hashing: hashing,
		folders: map[string]map[string]fs.DirEntry{},
		looks:   map[string]state{},
		hashes:  map[string]string{},
		texts:   map[string][]byte{},
		docs:    map[string][]*yaml.Node{},
		charged: map[string]bool{},
		stills:  map[unique.Handle[packed]]bool{},
		gone:    func() error { return nil },
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
func (s *source) look(p string) (state, error) {
	if p == "." {
		return state{kind: folder}, nil
	}
	if known, ok := s.looks[p]; ok {
		return known, nil
	}
	found, err := s.lookUp(p)
	if err == nil {
		s.looks[p] = found
	}
	return found, err
}

func (s *source) lookUp(p string) (state, error) {
	parent := path.Dir(p)
	if parent != "." && parent != s.beside {
		above, err := s.look(parent)
		switch {
		case err != nil || above.kind == refused:
			return above, err
		case above.kind != folder:
			return state{}, nil
		}
	}
	found, err := s.typeOf(parent, path.Base(p))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return state{}, nil
	case err != nil:
		return state{}, err
	}
	s.beside = parent
	switch {
	case found&fs.ModeSymlink != 0:
		return state{kind: refused, why: p + " is a symbolic link: they are not followed; put the file itself there"}, nil
	case found.IsDir():
		return state{kind: folder}, nil
	case found.IsRegular():
		return state{kind: regular}, nil
	}
	return state{kind: refused, why: p + " is neither a file nor a folder"}, nil
}

// typeOf is the type of an entry of a folder; no link is followed. Only a Listing is
// sure to find a name without a list of all.
func (s *source) typeOf(dir, name string) (fs.FileMode, error) {
	if tree, ok := s.tree.(Listing); ok && s.folders[dir] == nil {
		info, err := tree.Lstat(path.Join(dir, name))
		if err != nil {
			return 0, err
		}
		return info.Mode().Type(), nil
	}
	entries, err := s.list(dir)
	if err != nil {
		return 0, err
	}
	e, ok := entries[name]
	if !ok {
		return 0, fs.ErrNotExist
	}
	return e.Type(), nil
}

// chargeKept is charge of the files that a result was made of.
func (s *source) chargeKept(e *entry) error {
	if s.addUp(int(e.files), e.filesBytes) {
		s.taken = append(s.taken, e)
		return nil
	}
	return s.chargeExactly(e.sizes())
}

// charge counts files against the limits of the Build, each once: all of them,
// or none when they are too many.
func (s *source) charge(files ...sized) error {
	var sum int64
	for _, f := range files {
		sum += f.bytes
	}
	if s.addUp(len(files), sum) {
		s.rough = append(s.rough, files)
		return nil
	}
	return s.chargeExactly(files)
}

func (s *source) chargeExactly(files []sized) error {
	count, bytes := len(s.charged), s.bytes
	for _, f := range files {
		if !s.charged[f.path] {
			count++
			bytes += f.bytes
		}
	}
	switch {
	case count > s.limits.Files:
		return refuse(TooLarge, "the build reads more than %d files; split the repository, or give each RepoSync a path of its own", s.limits.Files)
	case bytes > s.limits.TreeBytes:
		return refuse(TooLarge, "the build reads more than %d bytes", s.limits.TreeBytes)
	}
	for _, f := range files {
		s.charged[f.path] = true
	}
	s.bytes = bytes
	return nil
}

// addUp counts files without asking which of them were counted before, as long as
// even so they are within the limits. After that each is counted once.
func (s *source) addUp(files int, bytes int64) bool {
	if s.exact {
		return false
	}
	count, bytes := s.count+files, s.bytes+bytes
	if count > s.limits.Files || bytes > s.limits.TreeBytes {
		s.countExactly()
		return false
	}
	s.count, s.bytes = count, bytes
	return true
}

// countExactly goes on with each file counted once.
func (s *source) countExactly() {
	if s.exact {
		return
	}
	s.exact, s.bytes = true, 0
	for _, files := range s.rough {
		s.chargeEach(files)
	}
	for _, e := range s.taken {
		s.chargeEach(e.sizes())
	}
	s.rough, s.taken = nil, nil
}

func (s *source) chargeEach(files []sized) {
	for _, f := range files {
		if !s.charged[f.path] {
			s.charged[f.path] = true
			s.bytes += f.bytes
		}
	}
}

// take adds up the files of many results. False, and nothing is added, where they may
// be over the limits.
func (s *source) take(entries []*entry) bool {
	count, bytes, taken := s.count, s.bytes, make([]*entry, 0, len(entries))
	for _, e := range entries {
		if e == nil {
			continue
		}
		taken = append(taken, e)
		count += int(e.files)
		bytes += e.filesBytes
	}
	if s.exact || count > s.limits.Files || bytes > s.limits.TreeBytes {
		return false
	}
	s.count, s.bytes, s.taken = count, bytes, taken
	return true
}

// full says that there is no room for one more file.
func (s *source) full(p string) bool {
	if !s.exact && s.count < s.limits.Files {
		return false
	}
	s.countExactly()
	return len(s.charged) >= s.limits.Files && !s.charged[p]
}

// sized is a file and its size in bytes.
type sized struct {
	path  string
	bytes int64
}

// errBudget marks a refusal that says more of the Build than of the file.
var errBudget = errors.New("over a limit of the whole build")

// errAsked marks a refusal that says more of the day than of the file: it is not kept.
var errAsked = errors.New("a service did not open it")

// text returns the content of a regular file.
func (s *source) text(p string) ([]byte, error) {
	if text, ok := s.texts[p]; ok {
		return text, nil
	}
	if s.full(p) {
		return nil, errors.Join(s.charge(sized{p, 0}), errBudget)
	}
	text, err := s.read(p)
	if err != nil {
		return nil, err
	}
	if err := s.charge(sized{p, int64(len(text))}); err != nil {
		return nil, errors.Join(err, errBudget)
	}
	s.texts[p] = text
	return text, nil
}

// read reads a file up to the limit.
func (s *source) read(p string) ([]byte, error) {
	if err := s.gone(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", p, err)
	}
	f, err := s.tree.Open(p)
	var failed *sops.Failure
	switch {
	case errors.As(err, &failed):
		if err := s.charge(sized{p, failed.Bytes}); err != nil {
			return nil, errors.Join(err, errBudget)
		}
		refused := &refusal{failed.Code, place{p, failed.Line}, failed.Message}
		if failed.Asked {
			return nil, errors.Join(refused, errAsked)
		}
		return nil, refused
	case err != nil:
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

// forget drops what a view has seen below a folder: nothing but the unit of that folder
// is likely to ask for it again.
func (s *source) forget(v *view, dir string) {
	for p := range v.reads {
		if below(p, dir) {
			delete(s.texts, p)
			delete(s.docs, p)
			delete(s.looks, p)
			delete(s.hashes, p)
			delete(s.folders, p)
		}
	}
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
