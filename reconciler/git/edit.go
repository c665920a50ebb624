// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// edit is what becomes of a folder: what it is to hold under some names. All other
// entries stay as they are, to the byte, and nothing of them is read.
type edit struct {
	files   map[string]plumbing.Hash // the zero hash: it goes
	folders map[string]*edit
}

// set notes what is to be at a path; the zero hash is nothing.
func (e *edit) set(path string, hash plumbing.Hash) error {
	name, rest, deeper := strings.Cut(path, "/")
	if !deeper {
		if e.folders[name] != nil && !hash.IsZero() {
			return errors.New("there is a folder of that name")
		}
		if e.files == nil {
			e.files = map[string]plumbing.Hash{}
		}
		e.files[name] = hash
		return nil
	}
	if put, ok := e.files[name]; ok && !put.IsZero() {
		return errors.New("a file is in the place of its folder")
	}
	if e.folders == nil {
		e.folders = map[string]*edit{}
	}
	if e.folders[name] == nil {
		e.folders[name] = &edit{}
	}
	return e.folders[name].set(rest, hash)
}

// line is an entry to be written into a tree.
type line struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash // zero: none
}

// lines are what an edit makes of its names, in the order of Git. old has the folders
// that are there.
func (b *Branch) lines(e *edit, old map[string]plumbing.Hash) ([]line, error) {
	lines := make([]line, 0, len(e.files)+len(e.folders))
	for name, hash := range e.files {
		lines = append(lines, line{name, filemode.Regular, hash})
	}
	for _, name := range slices.Sorted(maps.Keys(e.folders)) {
		hash, err := b.edited(e.folders[name], old[name])
		if err != nil {
			return nil, err
		}
		lines = append(lines, line{name, filemode.Dir, hash})
	}
	slices.SortFunc(lines, func(x, y line) int { return compareNames(x.name, x.mode, y.name, y.mode) })
	return lines, nil
}

// edited is the folder with an edit done to it; the zero hash where nothing is left of
// it, and where there is none yet.
func (b *Branch) edited(e *edit, folder plumbing.Hash) (plumbing.Hash, error) {
	content, err := b.content(folder)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	old, err := e.into(content)
	if errors.Is(err, errTree) {
		return plumbing.ZeroHash, fmt.Errorf("reading folder %s: %w", folder, err)
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	lines, err := b.lines(e, old)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	all, brought, err := merged(content, lines)
	switch {
	case err != nil:
		return plumbing.ZeroHash, fmt.Errorf("reading folder %s: %w", folder, err)
	case bytes.Equal(all, content):
		return folder, nil
	case len(all) == 0:
		return plumbing.ZeroHash, nil // Git keeps no empty folder
	}
	return b.objects.bring(all, brought), nil
}

// content of a folder's object.
func (b *Branch) content(folder plumbing.Hash) ([]byte, error) {
	if folder.IsZero() {
		return nil, nil
	}
	o, err := b.objects.EncodedObject(plumbing.TreeObject, folder)
	if err != nil {
		return nil, fmt.Errorf("reading folder %s: %w", folder, err)
	}
	return contentOf(o)
}

// contentOf is what an object holds. It is not to be changed.
func contentOf(o plumbing.EncodedObject) ([]byte, error) {
	if h, ok := o.(*held); ok {
		return h.content, nil
	}
	r, err := o.Reader()
	if err != nil {
		return nil, fmt.Errorf("reading object %s: %w", o.Hash(), err)
	}
	content := make([]byte, o.Size())
	if _, err := io.ReadFull(r, content); err != nil {
		return nil, fmt.Errorf("reading object %s: %w", o.Hash(), err)
	}
	return content, r.Close()
}

// into are the folders of a tree's object that an edit leads into. It refuses one that
// would have a file and a folder of one name.
func (e *edit) into(content []byte) (map[string]plumbing.Hash, error) {
	var folders map[string]plumbing.Hash
	var last entry
	for entry, err := range entriesOf(content) {
		if err != nil || last.name != nil && compareNames(last.name, last.mode, entry.name, entry.mode) >= 0 {
			return nil, errTree
		}
		last = entry
		_, leads := e.folders[string(entry.name)]
		put := e.files[string(entry.name)]
		switch isFolder := entry.mode == filemode.Dir; {
		case isFolder && !put.IsZero():
			return nil, fmt.Errorf("writing %s: there is a folder of that name", entry.name)
		case leads && !isFolder:
			return nil, fmt.Errorf("writing into %s: a file is in the place of its folder", entry.name)
		case leads:
			if folders == nil {
				folders = map[string]plumbing.Hash{}
			}
			folders[string(entry.name)] = entry.hash
		}
	}
	return folders, nil
}

// merging is a tree's object that is being written.
type merging struct{ all, brought []byte }

func (m *merging) put(l line) {
	if !l.hash.IsZero() {
		from := len(m.all)
		m.all = l.append(m.all)
		m.brought = append(m.brought, m.all[from:]...)
	}
}

// merged is a tree's object with lines in it, each in the place of the entry of its name,
// and what is new of it. The entries are in order: see into.
func merged(content []byte, lines []line) (all, brought []byte, err error) {
	m := merging{all: make([]byte, 0, len(content)+64*len(lines))}
	for len(content) > 0 {
		is, rest, ok := cutEntry(content)
		if !ok {
			return nil, nil, errTree
		}
		raw := content[:len(content)-len(rest)]
		content = rest
		for len(lines) > 0 && lines[0].compare(is) < 0 {
			m.put(lines[0])
			lines = lines[1:]
		}
		switch {
		case len(lines) == 0 || lines[0].compare(is) > 0:
			m.all = append(m.all, raw...)
			continue
		case lines[0].hash == is.hash && lines[0].mode == is.mode:
			m.all = append(m.all, raw...) // it is so already
		default:
			m.put(lines[0])
		}
		lines = lines[1:]
	}
	for _, l := range lines {
		m.put(l)
	}
	return m.all, m.brought, nil
}

// append writes the line as Git does.
func (l line) append(to []byte) []byte {
	to = strconv.AppendUint(to, uint64(l.mode), 8)
	to = append(append(to, ' '), l.name...)
	return append(append(to, 0), l.hash[:]...)
}

// compare has the order of a tree's entries.
func (l line) compare(with entry) int { return compareNames(l.name, l.mode, with.name, with.mode) }

// compareNames has the order of a tree's entries: a folder is sorted as if its name ended
// in a slash.
func compareNames[T, U string | []byte](a T, aMode filemode.FileMode, b U, bMode filemode.FileMode) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return cmp.Compare(a[i], b[i])
		}
	}
	return cmp.Compare(after(a, n, aMode), after(b, n, bMode))
}

// after is what follows the first n bytes of a name.
func after[T string | []byte](name T, n int, mode filemode.FileMode) byte {
	switch {
	case n < len(name):
		return name[n]
	case mode == filemode.Dir:
		return '/'
	}
	return 0
}
