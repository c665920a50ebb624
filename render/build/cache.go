// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"slices"
	"sync"
	"unique"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/espalier-dev/espalier/render/lru"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// CacheLimits bound what a Cache keeps; a zero field is its default.
type CacheLimits struct {
	// Units that are kept at most. Default 50,000.
	Units int
	// Bytes that they take together, about. Default 192 MiB.
	Bytes int64
}

// Cache keeps what units were built to, for as long as all that their builds
// read is the same: content by hash, and what was looked for in vain. It may be
// shared by everybody in the process and used by several goroutines: a result
// is handed out only for a tree that holds everything it was made of.
//
// A nil *Cache keeps nothing.
type Cache struct {
	limits CacheLimits

	mu     sync.Mutex
	units  keptEntries
	bytes  int64
	plans  *simplelru.LRU[planKey, []*planEntry]
	passes map[planKey][]*pass
	stats  CacheStats
}

// CacheStats counts what a Cache was asked.
type CacheStats struct {
	// Hits and Misses are units that were kept, and such that had to be built.
	Hits, Misses int64
	// Followed are those of the hits that were not looked up, because the Build before
	// had them in a folder that is the same.
	Followed int64
	// Units and Bytes are what is kept now.
	Units int
	Bytes int64
}

// unitPlace is what a unit is, apart from content.
type unitPlace struct {
	path string
	as   unique.Handle[unitKind]
}

// unitKind is the rest of that, the same for most units.
type unitKind struct {
	file   bool
	root   string // the root kustomization's file, where the unit is that
	limits Limits
}

// unitKey is a digest, in bytes, of a unitPlace and of all that was read.
type unitKey string

// entry is a kept result. Nothing of it is changed once it is kept, but for its
// neighbours among those that are kept.
type entry struct {
	key unitKey
	as  unique.Handle[unitKind]
	content
	said       *said // nil: nothing
	files      int32 // that were read whole
	decrypted  bool
	encrypted  bool
	filesBytes int64 // of the files

	lru.Links[*entry]        // of keptEntries, by use
	earlier           *entry // of the same path
}

// said is what a build says of a unit that is listed at a place.
type said struct {
	from     place
	findings []v1alpha1.Finding
}

// place of the unit.
func (e *entry) place() unitPlace { return unitPlace{e.dir, e.as} }

// unit is what is kept.
func (e *entry) unit() Unit {
	u := Unit{Path: e.dir, Decrypted: e.decrypted, Encrypted: e.encrypted, content: &e.content}
	if e.said != nil {
		u.Findings = e.said.findings
	}
	if !finding.Refused(u.Findings) {
		u.Key = string(e.key)
	}
	return u
}

type planKey struct {
	root   string
	limits Limits
}

type planEntry struct {
	reads packed
	files []sized
	plans []plan
}

// maxPlans bounds the roots whose units are remembered.
const maxPlans = 256

// NewCache returns an empty cache.
func NewCache(limits CacheLimits) *Cache {
	fill(&limits.Units, 50_000)
	fill(&limits.Bytes, 192<<20)
	c := &Cache{limits: limits, units: newKeptEntries(), passes: map[planKey][]*pass{}}
	var err error
	if c.plans, err = simplelru.NewLRU[planKey, []*planEntry](maxPlans, nil); err != nil {
		panic(fmt.Sprintf("build: a cache of %d plans: %v", maxPlans, err))
	}
	return c
}

// Stats says how the cache does.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Units, s.Bytes = c.units.len(), c.bytes
	return s
}

func placeOf(p plan, limits Limits) unitPlace {
	as := unitKind{file: p.file, limits: limits}
	if p.root {
		as.root = p.from.file
	}
	return unitPlace{p.path, unique.Make(as)}
}

// find returns the kept result of a unit, nil where there is none.
func (c *Cache) find(s *source, p plan) *entry {
	if c == nil || len(p.problems) > 0 {
		return nil
	}
	at := placeOf(p, s.limits)
	folder := s.folderHash(p.path)
	e := c.candidate(at, folder)
	if e != nil && (!e.at(p.from) || !s.besideStill(e) || !s.holds(e.within())) {
		e = nil
	}
	if e == nil {
		e = c.search(s, at, p.from)
	}
	if e == nil || s.chargeKept(e) != nil {
		c.missed()
		return nil
	}
	return c.used(e, folder)
}

// besideStill is allStill of what a result has read outside of its folder: units that
// share a base have read the same, which is looked at once.
func (s *source) besideStill(e *entry) bool {
	outside := e.beside()
	if outside == "" {
		return true
	}
	if e.folder() == "" { // paths in it are from the unit's on
		return s.allStillOf(outside, e.dir)
	}
	still, known := s.stills[e.outside]
	if !known {
		still = s.allStillOf(outside, e.dir)
		s.stills[e.outside] = still
	}
	return still
}

// at says whether a result is good for a unit that is listed elsewhere: only
// findings name the place.
func (e *entry) at(from place) bool { return e.said == nil || e.said.from == from }

// sizes of the files that were read whole.
func (e *entry) sizes() []sized {
	return append(e.within().sizes(e.dir), e.beside().sizes(e.dir)...)
}

// folderHash is the tree's own hash of a file or folder, "" where it has none.
func (s *source) folderHash(p string) string {
	tree, ok := s.tree.(Hashed)
	if !ok {
		return ""
	}
	if at, err := s.look(p); err != nil || at.kind != folder && at.kind != regular {
		return ""
	}
	hash, err := tree.Hash(p)
	if err != nil {
		return ""
	}
	return hash
}

// holds says whether the tree has the content of files, whose hashes are known
// to be right.
func (s *source) holds(reads packed) bool {
	tree, ok := s.tree.(Hashed)
	for r := range reads.each() {
		if r.kind == regular && r.hash != "" && (!ok || !tree.Has(r.hashText())) {
			return false
		}
	}
	return true
}

func (c *Cache) candidate(at unitPlace, folder string) *entry {
	if folder == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.units.inFolder(at, packHash(folder))
}

// search compares all that every kept result of a unit has read.
func (c *Cache) search(s *source, at unitPlace, from place) *entry {
	c.mu.Lock()
	kept := c.units.of(at)
	c.mu.Unlock()
	for _, e := range kept {
		if e.at(from) && s.allStillOf(e.within(), at.path) && s.allStillOf(e.beside(), at.path) {
			return e
		}
	}
	return nil
}

func (c *Cache) missed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Misses++
}

func (c *Cache) followed(units int) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Hits += int64(units)
	c.stats.Followed += int64(units)
}

// used marks a result as used, and remembers the folder that it is good for.
func (c *Cache) used(e *entry, folder string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Hits++
	same := folder == "" || packHash(folder) == e.folder()
	if same && !c.halfFull() {
		return e // nothing goes soon: who was used last need not be known
	}
	kept := c.units.like(e)
	if kept != nil {
		c.units.order.Touch(kept)
	}
	if kept == nil || same {
		return e
	}
	again := *e
	again.content = e.withFolder(packHash(folder))
	c.put(&again)
	return &again
}

// keep keeps what a unit was built to, and returns that; nil where it may not be kept.
func (c *Cache) keep(t *task, u *Unit) *entry {
	if c == nil || t.fleeting {
		return nil
	}
	at := placeOf(t.plan, t.limits)
	e := &entry{
		key: digest(at, t.reads), as: at.as, content: *u.content, decrypted: u.Decrypted, encrypted: u.Encrypted,
		files: int32(len(t.sizes)), //nolint:gosec // the limits bound it
	}
	for _, size := range t.sizes {
		e.filesBytes += size
	}
	if len(u.Findings) > 0 {
		e.said = &said{t.plan.from, u.Findings}
	}
	*u = e.unit()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(e)
	return e
}

// entryBytes is about what is kept of a unit in memory, beside its content.
const entryBytes = 512

func (e *entry) bytes() int64 { return entryBytes + e.held() }

// put keeps an entry instead of what has its key.
func (c *Cache) put(e *entry) {
	if old := c.units.like(e); old != nil {
		c.remove(old)
	}
	c.units.add(e)
	c.bytes += e.bytes()
	full := false
	for c.units.len() > c.limits.Units || c.bytes > c.limits.Bytes && c.units.len() > 0 {
		c.remove(c.units.order.Oldest())
		full = true
	}
	if full {
		clear(c.passes) // they hold on to results that are gone
	}
}

func (c *Cache) remove(e *entry) {
	c.bytes -= e.bytes()
	c.units.remove(e)
}

// plan splits a root into units, as it was split before where nothing that
// decides it has changed.
func (c *Cache) plan(s *source, root string) ([]plan, error) {
	v := newView(s)
	if c == nil {
		return v.plan(root)
	}
	key := planKey{root, s.limits}
	c.mu.Lock()
	kept, _ := c.plans.Get(key)
	c.mu.Unlock()
	for _, e := range slices.Backward(kept) {
		if s.allStillOf(e.reads, root) && s.charge(e.files...) == nil {
			return e.plans, nil
		}
	}
	plans, err := v.plan(root)
	if err != nil || v.fleeting {
		return plans, err
	}
	reads := packer{dir: root}
	for _, r := range v.seen() {
		reads.add(r, -1, false)
	}
	e := &planEntry{reads: reads.packed(), plans: plans}
	for p, text := range s.texts { // nothing was read before
		e.files = append(e.files, sized{p, int64(len(text))})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	kept, _ = c.plans.Peek(key)
	kept = append(slices.Clone(kept), e)
	c.plans.Add(key, kept[max(0, len(kept)-maxPasses):])
	return plans, nil
}

// digest of everything that a result depends on.
func digest(at unitPlace, reads []read) unitKey {
	h := sha256.New()
	as := at.as.Value()
	writeAll(h, at.path, as.root, fmt.Sprint(as.file, as.limits))
	writeReads(h, reads)
	return unitKey(h.Sum(nil))
}

func writeReads(h hash.Hash, reads []read) {
	for _, r := range reads {
		writeAll(h, r.path, string('0'+byte(r.state.kind)), r.state.why, r.state.hash)
	}
}

func writeAll(h hash.Hash, texts ...string) {
	for _, text := range texts {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
}
