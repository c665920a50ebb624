// SPDX-License-Identifier: Apache-2.0

package build

import (
	"iter"
	"maps"
	"slices"
	"strings"
	"unique"

	"github.com/espalier-dev/espalier/render/alike"
)

// content is what a unit was built to, and what it read, in as few pieces as can be: of
// thousands of units nobody asks for more than what they are compared by, and a collection
// of garbage goes through every piece. The zero value is of a unit that read nothing.
type content struct {
	dir  string // the unit's path
	data string // what is compared, in sections
	// text is the objects and files of the unit, which are laid out for who asks.
	text alike.Text
	// outside are the reads that are not within: those who share a base share them.
	outside unique.Handle[packed]
}

// Sections of the data of a content.
const (
	sectionIDs    = iota // of the objects
	sectionLinks         // names that the unit shares with others
	sectionOwn           // like text, of what may tell nothing of others
	sectionFolder        // hash of the unit's file or folder, empty where it is not known
	sectionWithin        // reads below that; of a content that is not kept, its files
	sections
)

func joined(parts [sections]string) string {
	var p packing
	for _, part := range parts {
		p.text(part)
	}
	return string(p)
}

func (c *content) section(n int) string {
	rest := unpacking(c.data)
	for range n {
		rest.text()
	}
	if rest == "" {
		return ""
	}
	return rest.text()
}

// folder is the hash of the unit's file or folder, as it is packed.
func (c *content) folder() string { return c.section(sectionFolder) }

// within are the reads in that.
func (c *content) within() packed { return packed(c.section(sectionWithin)) }

// beside are the reads outside of that.
func (c *content) beside() packed {
	if c.outside == (unique.Handle[packed]{}) {
		return ""
	}
	return c.outside.Value()
}

// withFolder is the same content, with the hash of another folder.
func (c *content) withFolder(hash string) content {
	var parts [sections]string
	rest := unpacking(c.data)
	for i := range parts {
		parts[i] = rest.text()
	}
	parts[sectionFolder] = hash
	again := *c
	again.data = joined(parts)
	return again
}

// held is about how many bytes a content takes.
func (c *content) held() int64 { return int64(len(c.data) + c.text.Held()) }

// reads are the files that the build consulted, in order.
func (c *content) reads() []string {
	var list []string
	for _, reads := range []packed{c.within(), c.beside()} {
		for r := range reads.each() {
			if r.taken {
				list = append(list, r.path(c.dir))
			}
		}
	}
	slices.Sort(list)
	return list
}

// ids are what the objects are called, in their order.
func (c *content) ids() iter.Seq2[int, id] {
	return func(yield func(int, id) bool) {
		rest := unpacking(c.section(sectionIDs))
		if rest == "" {
			return
		}
		n := rest.number() >> 1
		for i := range int(n) {
			_, of := unpackID(&rest)
			if !yield(i, of) {
				return
			}
		}
	}
}

// objects are the objects of the unit.
func (c *content) objects() []Object {
	var list []Object
	for i, of := range c.ids() {
		list = append(list, Object{&object{id: of, of: c, at: i}})
	}
	return list
}

// links are what linksOf found.
func (c *content) links() links {
	rest := unpacking(c.section(sectionLinks))
	if rest == "" {
		return links{}
	}
	l := links{renamed: make([]rename, rest.number())}
	for i := range l.renamed {
		l.renamed[i] = rename{rest.text(), rest.text(), rest.text(), rest.text()}
	}
	l.open = make([]open, rest.number())
	for i := range l.open {
		l.open[i] = open{rest.text(), rest.text(), rest.text(), int(rest.number()), rest.text()}
	}
	return l
}

// content packs what a task has read and built.
func (t *task) content(built []builtObject, l links) *content {
	c := &content{dir: t.plan.path}
	var parts [sections]string
	if len(built) > 0 {
		var whole, own packing
		parts[sectionIDs] = t.packIDs(built)
		parts[sectionLinks] = l.packed()
		t.packTexts(built, &whole, &own)
		parts[sectionOwn] = string(own)
		switch {
		case len(whole) > longest:
			c.text = alike.Whole(whole)
		case len(whole) > 0:
			c.text = held.Keep(kindsOf(built), whole)
		}
	}
	parts[sectionFolder] = packHash(t.folder)
	within, outside := t.packReads()
	parts[sectionWithin] = string(within)
	if outside != "" {
		c.outside = unique.Make(outside)
	}
	c.data = joined(parts)
	return c
}

// Of a text that is longer, laying it out again would take longer than having it is worth; of
// a word no more is held.
const (
	longest     = 8 << 20
	longestWord = 256
)

// packReads packs what a task has read; where nobody asks what a result depends on, its files.
func (t *task) packReads() (within, outside packed) {
	in, out := packer{dir: t.plan.path}, packer{dir: t.plan.path}
	if t.reads == nil {
		for _, file := range slices.Sorted(maps.Keys(t.files)) {
			in.add(read{path: file}, -1, true)
		}
		return in.packed(), ""
	}
	for _, r := range t.reads {
		size, whole := t.sizes[r.path]
		if !whole {
			size = -1
		}
		_, taken := t.files[r.path]
		if below(r.path, t.plan.path) && t.folder != "" {
			in.add(r, size, taken)
		} else {
			out.add(r, size, taken)
		}
	}
	return in.packed(), out.packed()
}

// kindsOf is a word for units that are built alike: which kinds are in them.
func kindsOf(built []builtObject) string {
	var kinds []string
	for _, b := range built {
		if !slices.Contains(kinds, b.kind) {
			kinds = append(kinds, b.kind)
		}
	}
	slices.Sort(kinds)
	word := strings.Join(kinds, " ")
	return word[:min(len(word), longestWord)]
}

// kinds that most objects are of, which share one word.
var kinds = func() []id {
	var list []id
	for group, kinds := range plainKinds {
		for kind := range kinds {
			list = append(list, id{group: group, kind: kind})
		}
	}
	return list
}()

// packIDs packs what objects are called.
func (t *task) packIDs(built []builtObject) string {
	var p packing
	opened := 0
	if t.unit.Decrypted {
		opened = 1
	}
	p.number(len(built)<<1 | opened)
	for _, b := range built {
		own := 0
		if t.ownObject(b) {
			own = 1
		}
		known := slices.Index(kinds, id{group: b.group, kind: b.kind}) + 1
		p.number(known<<1 | own)
		if known == 0 {
			p.text(b.group)
			p.text(b.kind)
		}
		p.text(b.namespace)
		p.text(b.name)
	}
	return string(p)
}

func unpackID(rest *unpacking) (own bool, of id) {
	flags := rest.number()
	if known := flags >> 1; known > 0 {
		of = kinds[known-1]
	} else {
		of.group, of.kind = rest.text(), rest.text()
	}
	of.namespace, of.name = rest.text(), rest.text()
	return flags&1 == 1, of
}

func (l links) packed() string {
	if len(l.renamed)+len(l.open) == 0 {
		return ""
	}
	var p packing
	p.number(len(l.renamed))
	for _, r := range l.renamed {
		p.text(r.kind, r.namespace, r.written, r.name)
	}
	p.number(len(l.open))
	for _, o := range l.open {
		p.text(o.kind, o.namespace, o.name)
		p.number(o.object)
		p.text(o.field)
	}
	return string(p)
}
