// SPDX-License-Identifier: Apache-2.0

package build

import (
	"maps"
	"slices"
	"sync"
	"weak"

	"github.com/espalier-dev/espalier/render/alike"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// held are what contents are told by, which are held for as long as these. What was
// decrypted, and what a Secret holds, tells nothing of others.
var held alike.Texts

// spread is a content laid out: its objects with their texts, and where they were written.
type spread struct {
	items []item
	texts texts
}

// lately are contents that were laid out, until the next collection of garbage, and few:
// several who build the same decode it once.
var lately struct {
	mutex sync.Mutex
	known weak.Pointer[spreads]
}

type spreads map[*content]*spread

// maxSpreads bounds lately.
const maxSpreads = 128

// spread lays a content out, once for all who ask at a time.
func (c *content) spread() *spread {
	if s := c.lately(nil); s != nil {
		return s
	}
	return c.lately(c.layOut())
}

// lately is what is known, and made where nothing is.
func (c *content) lately(made *spread) *spread {
	lately.mutex.Lock()
	defer lately.mutex.Unlock()
	known := lately.known.Value()
	if known != nil {
		if s := (*known)[c]; s != nil || made == nil {
			return s
		}
	}
	if made == nil {
		return nil
	}
	if known == nil || len(*known) >= maxSpreads {
		known = &spreads{}
		lately.known = weak.Make(known)
	}
	(*known)[c] = made
	return made
}

// What is known of where an object was written.
const (
	nowhere = iota
	atEntry
	inText
	inTextAndPatches
)

// ownText says that a text may tell nothing of others.
func (t *task) ownText(file string) bool {
	return t.unit.Decrypted || slices.ContainsFunc(t.docs[file], hasSecret)
}

func (t *task) ownObject(b builtObject) bool { return t.unit.Decrypted || b.kind == "Secret" }

// packTexts packs objects and the files that they are written in: what may tell nothing of
// others apart.
func (t *task) packTexts(built []builtObject, whole, own *packing) {
	var files []string
	if slices.ContainsFunc(built, func(b builtObject) bool { _, is := b.position.(*written); return is }) {
		files = slices.Sorted(maps.Keys(t.docs))
	}
	for _, part := range []struct {
		into *packing
		mine bool
	}{{whole, false}, {own, true}} {
		into, mine := part.into, part.mine
		var list []string
		for _, file := range files {
			if t.ownText(file) == mine {
				list = append(list, file)
			}
		}
		objects := slices.DeleteFunc(slices.Clone(built), func(b builtObject) bool { return t.ownObject(b) != mine })
		if len(list)+len(objects) == 0 {
			continue
		}
		into.number(len(list))
		for _, file := range list {
			into.path(t.plan.path, file)
			into.text(string(t.files[file]))
		}
		for _, b := range objects {
			into.text(b.text)
			into.position(t.plan.path, files, b.position)
		}
	}
}

// position packs where an object was written.
func (p *packing) position(dir string, files []string, at repolayout.Position) {
	file := func(name string) {
		i, known := slices.BinarySearch(files, name)
		if !known {
			i = -1
		}
		if p.number(i + 1); !known {
			p.path(dir, name)
		}
	}
	switch at := at.(type) {
	case fixed:
		p.number(atEntry)
		file(at.file)
		p.number(at.line)
		p.text(at.name)
		p.number(len(at.entries))
		for _, e := range at.entries {
			p.text(e.key)
			file(e.file)
			p.number(e.line)
		}
	case *written:
		tag := inText
		if at.built != nil {
			tag = inTextAndPatches
		}
		p.number(tag)
		file(at.file)
		p.text(at.name)
		p.number(at.line)
	default:
		p.number(nowhere)
	}
}

// layOut is what packTexts packed.
func (c *content) layOut() *spread {
	whole, own := unpacking(c.text.Bytes()), unpacking(c.section(sectionOwn))
	s := &spread{}
	for _, from := range []*unpacking{&whole, &own} {
		if *from == "" {
			continue
		}
		for range from.number() {
			s.texts = append(s.texts, &text{path: from.path(c.dir), content: from.text()})
		}
	}
	s.texts.sort()
	rest := unpacking(c.section(sectionIDs))
	if rest == "" {
		return s
	}
	head := rest.number()
	s.items = make([]item, head>>1)
	for i := range s.items {
		it, from := &s.items[i], &whole
		mine, called := unpackID(&rest)
		if mine {
			from = &own
		}
		it.id, it.opened, it.text = called, head&1 == 1, from.text()
		it.position = from.position(c.dir, s.texts, it)
	}
	return s
}

// position is what packing.position packed, of an item of a spread.
func (u *unpacking) position(dir string, t texts, it *item) repolayout.Position {
	file := func() string {
		if i := u.number(); i > 0 {
			return t[i-1].path
		}
		return u.path(dir)
	}
	switch tag := u.number(); tag {
	case atEntry:
		f := fixed{file: file(), line: int(u.number()), name: u.text()}
		if n := u.number(); n > 0 {
			f.entries = make([]entryAt, n)
		}
		for i := range f.entries {
			f.entries[i] = entryAt{u.text(), place{file(), int(u.number())}}
		}
		return f
	case inText, inTextAndPatches:
		w := &written{texts: t, id: &it.id, file: file(), name: u.text(), line: int(u.number())}
		if tag == inTextAndPatches {
			w.built = it
		}
		return w
	}
	return nil
}
