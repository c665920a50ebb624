// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Listing is a Hashed tree that tells the hashes of a whole folder at once, and that
// it has what it names.
type Listing interface {
	Hashed
	fs.ReadLinkFS
	Lister
}

// Lister is what is beyond io/fs in a Listing.
type Lister interface {
	// Each calls yield with every entry of a folder, in any order. The hash is that of
	// Hash, in a form of its own; it must not be kept.
	Each(dir string, yield func(name string, kind fs.FileMode, hash []byte)) error
	// Whole says that the tree holds the content of every file that it names.
	Whole() bool
}

// pass is what the units of a root came to, for the next Build of that root: units
// whose folder is what it was are not looked up one by one. It belongs to one Build
// at a time.
type pass struct {
	plans   []plan
	entries []*entry // by unit; nil where none is kept
	hashes  hashes   // of the folder or file of each unit, in the tree's own form
	units   []Unit   // nil between two Builds, when entries have them, and loose the rest
	loose   map[int]Unit
	at      map[string][]int32 // of each folder its units, by name
	// names are the objects of all units, no two of which are the same; of none where
	// they have to be compared with each other.
	names names
	moved bool // other units are listed than in the Build before, or in another order
}

// maxPasses is how many passes, and plans, of one root are remembered: many
// repositories have the same layout.
const maxPasses = 4

// lastPass takes what the Builds of a root have left, the one of these plans where
// there is one. While a cache is half full, who was used when must be known, unit by
// unit.
func (c *Cache) lastPass(root planKey, plans []plan) *pass {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept := c.passes[root]
	if len(kept) == 0 || c.halfFull() {
		return nil
	}
	i := slices.IndexFunc(kept, func(p *pass) bool { return samePlans(p.plans, plans) })
	if i < 0 {
		i = len(kept) - 1
	}
	p := kept[i]
	c.passes[root] = slices.Delete(kept, i, i+1)
	return p
}

// begin is a pass with all units that are as they were in the last. before are those
// of the last that are no more.
func (c *Cache) begin(s *source, root planKey, plans []plan) (p *pass, before []Unit) {
	if s.listing() != nil {
		p, before = c.lastPass(root, plans).follow(s, plans)
	}
	if p == nil || !s.take(p.entries) {
		p, before = newPass(s, plans), nil
	}
	return p, before
}

// listing is the tree, where passes over it can be followed.
func (s *source) listing() Listing {
	if tree, ok := s.tree.(Listing); ok && tree.Whole() {
		return tree
	}
	return nil
}

// leave keeps a pass for the next Build of its root.
func (c *Cache) leave(root planKey, p *pass) {
	if c == nil || p.at == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.halfFull() {
		return
	}
	p.rest()
	units := len(p.entries)
	for _, kept := range c.passes {
		for _, other := range kept {
			units += len(other.entries)
		}
	}
	if units > c.limits.Units {
		clear(c.passes)
	}
	kept := append(c.passes[root], p)
	c.passes[root] = kept[max(0, len(kept)-maxPasses):]
}

// rest leaves the units to whoever asked for them.
func (p *pass) rest() {
	p.loose = map[int]Unit{}
	for i, e := range p.entries {
		if e == nil {
			p.loose[i] = p.units[i]
		}
	}
	p.units = nil
}

// wake is the pass with its units.
func (p *pass) wake() {
	p.units = make([]Unit, len(p.entries))
	for i, e := range p.entries {
		if e != nil {
			p.units[i] = e.unit()
		} else {
			p.units[i] = p.loose[i]
		}
	}
	p.loose = nil
}

func (c *Cache) halfFull() bool {
	return c.units.len() >= c.limits.Units/2 || c.bytes >= c.limits.Bytes/2
}

func samePlans(a, b []plan) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// newPass is a pass that has nothing of another.
func newPass(s *source, plans []plan) *pass {
	p := &pass{plans: plans, entries: make([]*entry, len(plans)), units: make([]Unit, len(plans)), moved: true}
	if s.listing() == nil {
		return p // nobody can follow it
	}
	p.hashes.known, p.at = make([]bool, len(plans)), map[string][]int32{}
	for i, plan := range plans {
		if len(plan.problems) == 0 {
			dir := path.Dir(plan.path)
			p.at[dir] = append(p.at[dir], int32(i)) //nolint:gosec // the limits bound it
		}
	}
	for dir, units := range p.at {
		slices.SortStableFunc(units, func(a, b int32) int { return strings.Compare(p.plans[a].path, p.plans[b].path) })
		p.at[dir] = slices.Clip(units)
	}
	p.eachChanged(s, func(int) {})
	return p
}

// unit is the number of the unit at a path; false where none is. It is looked for at first
// where it would be if all were asked for in their order.
func (p *pass) unit(among []int32, name string, next *int) (unit int, ok bool) {
	is := func(i int32) int { return strings.Compare(path.Base(p.plans[i].path), name) }
	if *next >= len(among) || is(among[*next]) != 0 {
		at, found := slices.BinarySearchFunc(among, name, func(i int32, _ string) int { return is(i) })
		if *next = at; !found {
			return 0, false
		}
	}
	*next++
	return int(among[*next-1]), true
}

// eachChanged calls yield with every unit whose folder or file is not what it was, and
// notes what it is now.
func (p *pass) eachChanged(s *source, yield func(unit int)) {
	tree, seen := s.listing(), make([]bool, len(p.plans))
	for dir, units := range p.at {
		if found, err := s.look(dir); err != nil || found.kind != folder {
			continue
		}
		next := 0
		_ = tree.Each(dir, func(name string, kind fs.FileMode, hash []byte) { // what cannot be listed is not the same
			i, ok := p.unit(units, name, &next)
			if !ok || kind.IsDir() == p.plans[i].file || !kind.IsDir() && !kind.IsRegular() {
				return
			}
			seen[i] = true
			if !p.hashes.is(i, hash) {
				p.hashes.set(i, hash)
				yield(i)
			}
		})
	}
	for i := range seen {
		if !seen[i] {
			p.hashes.known[i] = false
			yield(i)
		}
	}
}

// hashes are of units by number, in one piece. Those of a tree are of one length: what is
// not, is not known.
type hashes struct {
	known []bool
	each  int // length of one
	all   []byte
}

func (h *hashes) of(i int) []byte { return h.all[i*h.each : (i+1)*h.each] }

// is says that the hash of a unit is known, and what it is.
func (h *hashes) is(i int, hash []byte) bool { return h.known[i] && bytes.Equal(h.of(i), hash) }

func (h *hashes) set(i int, hash []byte) {
	if h.all == nil {
		h.each, h.all = len(hash), make([]byte, len(hash)*len(h.known))
	}
	if h.known[i] = len(hash) == h.each; h.known[i] {
		copy(h.of(i), hash)
	}
}

// follow turns what a Build has left into the pass of this one: units that are as
// they were are there, with their entries, and the others are not. before are those
// that are there no more. It returns nil where nothing can be taken over.
func (p *pass) follow(s *source, plans []plan) (now *pass, before []Unit) {
	if p == nil {
		return nil, nil
	}
	p.wake()
	if !samePlans(p.plans, plans) {
		return p.move(s, plans)
	}
	p.moved = false
	drop := func(i int) {
		if p.entries[i] != nil || p.units[i].Path != "" {
			before = append(before, p.units[i])
			p.entries[i], p.units[i] = nil, Unit{}
		}
	}
	p.eachChanged(s, drop)
	for i, e := range p.entries {
		if e == nil || !e.at(plans[i].from) || !s.besideStill(e) {
			drop(i)
		}
	}
	return p, before
}

// stillOf says whether what was built for a unit of an unchanged folder is still what
// a plan would come to.
func (s *source) stillOf(e *entry, p plan) bool {
	return e.place() == placeOf(p, s.limits) && e.at(p.from) && s.besideStill(e)
}

// move is follow where other units are listed than before, or in another order.
func (p *pass) move(s *source, plans []plan) (now *pass, before []Unit) {
	now = newPass(s, plans)
	stays, next := make([]bool, len(p.plans)), 0
	for i, plan := range plans {
		from, ok := p.unit(p.at[path.Dir(plan.path)], path.Base(plan.path), &next)
		if !ok || stays[from] || len(plan.problems) > 0 {
			continue
		}
		e := p.entries[from]
		if e == nil || !now.hashes.known[i] || !p.hashes.is(from, now.hashes.of(i)) || !s.stillOf(e, plan) {
			continue
		}
		stays[from] = true
		now.entries[i], now.units[i] = e, p.units[from]
	}
	for i, stays := range stays {
		if !stays {
			before = append(before, p.units[i])
		}
	}
	now.names, now.moved = p.names, true
	return now, before
}

// compare refuses objects that two units build and names that lead into another unit,
// as a Build of the whole would. The units in fresh have come in the place of those
// before; the others have been compared. It says whether nothing was found.
func (p *pass) compare(fresh []int, before []Unit) bool {
	units, in := p.units, make([]Unit, 0, len(fresh))
	for _, i := range fresh {
		units[i].drop()
		in = append(in, units[i])
	}
	apart := p.names.exchange(before, in)
	if !apart {
		apart, p.names = collisions(units)
	}
	if p.moved || !sameLinks(before, in) {
		return linked(units) && apart
	}
	return apart
}

// nameIn is a name that a unit gives or uses.
type nameIn struct {
	unit string
	target
}

// sameLinks says whether units rename what they did, and use no other names than
// they did: then nobody refers to another unit who did not before.
func sameLinks(out, in []Unit) bool {
	renamed, used := map[nameIn]int{}, map[nameIn]bool{}
	for _, u := range out {
		for _, r := range u.links().renamed {
			renamed[nameIn{u.Path, target{r.kind, r.namespace, r.written}}]++
		}
		for _, o := range u.links().open {
			used[nameIn{u.Path, target{o.kind, o.namespace, o.name}}] = true
		}
	}
	for _, u := range in {
		for _, r := range u.links().renamed {
			renamed[nameIn{u.Path, target{r.kind, r.namespace, r.written}}]--
		}
		for _, o := range u.links().open {
			if !used[nameIn{u.Path, target{o.kind, o.namespace, o.name}}] {
				return false
			}
		}
	}
	for _, n := range renamed {
		if n != 0 {
			return false
		}
	}
	return true
}
