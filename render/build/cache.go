// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/espalier-dev/espalier/repo-layout/finding"
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

	mu    sync.Mutex
	units *simplelru.LRU[unitKey, *entry]
	bytes int64
	// byPlace finds the entries that a unit may be, byFolder those whose folder
	// has not changed at all.
	byPlace  map[unitPlace][]*entry
	byFolder map[folderKey]*entry
	plans    *simplelru.LRU[planKey, []*planEntry]
	passes   map[planKey][]*pass
	stats    CacheStats
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
	path   string
	file   bool
	root   string // the root kustomization's file, where the unit is that
	limits Limits
}

// unitKey is a digest of a unitPlace and of all that was read.
type unitKey [sha256.Size]byte

// folderKey is the path of a unit whose file or folder has a hash of the tree's
// own.
type folderKey struct{ path, hash string }

// entry is a kept result. Nothing of it is changed once it is kept.
type entry struct {
	key    unitKey
	place  unitPlace
	folder string // hash of the unit's file or folder, "" when not known
	// within are the reads below that, outside all others.
	within, outside []read
	beside          [sha256.Size]byte // digest of outside, where the folder's hash is known
	files           []sized
	from            place
	unit            Unit
	bytes           int64
}

type planKey struct {
	root   string
	limits Limits
}

type planEntry struct {
	reads []read
	files []sized
	plans []plan
}

// maxPlans bounds the roots whose units are remembered.
const maxPlans = 256

// NewCache returns an empty cache.
func NewCache(limits CacheLimits) *Cache {
	fill(&limits.Units, 50_000)
	fill(&limits.Bytes, 192<<20)
	c := &Cache{limits: limits, byPlace: map[unitPlace][]*entry{}, byFolder: map[folderKey]*entry{}, passes: map[planKey][]*pass{}}
	var err error
	if c.units, err = simplelru.NewLRU(limits.Units, c.evicted); err != nil {
		panic(fmt.Sprintf("build: a cache of %d units: %v", limits.Units, err))
	}
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
	s.Units, s.Bytes = c.units.Len(), c.bytes
	return s
}

func placeOf(p plan, limits Limits) unitPlace {
	at := unitPlace{path: p.path, file: p.file, limits: limits}
	if p.root {
		at.root = p.from.file
	}
	return at
}

// find returns the kept result of a unit, nil where there is none.
func (c *Cache) find(s *source, p plan) *entry {
	if c == nil || len(p.problems) > 0 {
		return nil
	}
	at := placeOf(p, s.limits)
	folder := s.folderHash(p.path)
	e := c.candidate(folderKey{p.path, folder})
	if e != nil && (e.place != at || !e.at(p.from) || !s.besideStill(e) || !s.holds(e.within)) {
		e = nil
	}
	if e == nil {
		e = c.search(s, at, p.from)
	}
	if e == nil || s.charge(e.files...) != nil {
		c.missed()
		return nil
	}
	return c.used(e, folder)
}

// besideStill is allStill of what a result has read outside of its folder: units that
// share a base have read the same, which is looked at once.
func (s *source) besideStill(e *entry) bool {
	if len(e.outside) == 0 {
		return true
	}
	still, known := s.stills[e.beside]
	if !known {
		still = s.allStill(e.outside)
		s.stills[e.beside] = still
	}
	return still
}

// at says whether a result is good for a unit that is listed elsewhere: only
// findings name the place.
func (e *entry) at(from place) bool { return len(e.unit.Findings) == 0 || e.from == from }

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
func (s *source) holds(reads []read) bool {
	tree, ok := s.tree.(Hashed)
	for _, r := range reads {
		if r.state.kind == regular && r.state.hash != "" && (!ok || !tree.Has(r.state.hash)) {
			return false
		}
	}
	return true
}

func (c *Cache) candidate(key folderKey) *entry {
	if key.hash == "" {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byFolder[key]
}

// search compares all that every kept result of a unit has read.
func (c *Cache) search(s *source, at unitPlace, from place) *entry {
	c.mu.Lock()
	kept := slices.Clone(c.byPlace[at])
	c.mu.Unlock()
	for _, e := range slices.Backward(kept) {
		if e.at(from) && s.allStill(e.within) && s.allStill(e.outside) {
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
	same := folder == "" || folder == e.folder
	if same && !c.halfFull() {
		return e // nothing goes soon: who was used last need not be known
	}
	if _, kept := c.units.Get(e.key); !kept || same {
		return e
	}
	again := *e
	again.folder = folder
	c.put(&again)
	return &again
}

// keep keeps what a unit was built to, and returns that; nil where it may not be kept.
func (c *Cache) keep(t *task, u *Unit) *entry {
	if c == nil || t.fleeting {
		return nil
	}
	e := &entry{place: placeOf(t.plan, t.limits), folder: t.folder, files: t.sizes, from: t.plan.from, bytes: entryBytes}
	e.key = digest(e.place, t.reads)
	for _, r := range t.reads {
		e.bytes += int64(2*len(r.path)) + readBytes
		if below(r.path, u.Path) && e.folder != "" {
			e.within = append(e.within, r)
		} else {
			e.outside = append(e.outside, r)
		}
	}
	if e.folder != "" {
		e.beside = digest(unitPlace{}, e.outside)
	}
	for name := range t.docs {
		e.bytes += int64(len(t.files[name]))
	}
	for _, o := range u.Objects {
		e.bytes += objectBytes + textFactor*int64(len(o.YAML))
	}
	if !finding.Refused(u.Findings) {
		u.Key = e.key.String()
	}
	e.unit = *u
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(e)
	return e
}

// What is kept of a unit takes about this many bytes in memory, beside its
// texts: the decoded document is a few times as large as its text.
const (
	entryBytes  = 1024
	readBytes   = 96
	objectBytes = 1024
	textFactor  = 4
)

// put keeps an entry instead of what has its key.
func (c *Cache) put(e *entry) {
	if old, ok := c.units.Peek(e.key); ok {
		c.units.Remove(old.key)
	}
	c.byPlace[e.place] = append(c.byPlace[e.place], e)
	if e.folder != "" {
		c.byFolder[folderKey{e.place.path, e.folder}] = e
	}
	c.bytes += e.bytes
	full := c.units.Add(e.key, e)
	for c.bytes > c.limits.Bytes && c.units.Len() > 0 {
		c.units.RemoveOldest()
		full = true
	}
	if full {
		clear(c.passes) // they hold on to results that are gone
	}
}

func (c *Cache) evicted(_ unitKey, e *entry) {
	c.bytes -= e.bytes
	at := e.place
	c.byPlace[at] = slices.DeleteFunc(c.byPlace[at], func(other *entry) bool { return other == e })
	if len(c.byPlace[at]) == 0 {
		delete(c.byPlace, at)
	}
	if key := (folderKey{at.path, e.folder}); c.byFolder[key] == e {
		delete(c.byFolder, key)
	}
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
		if s.allStill(e.reads) && s.charge(e.files...) == nil {
			return e.plans, nil
		}
	}
	plans, err := v.plan(root)
	if err != nil || v.fleeting {
		return plans, err
	}
	e := &planEntry{reads: v.seen(), plans: plans}
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
func digest(at unitPlace, reads []read) (key unitKey) {
	h := sha256.New()
	writeAll(h, at.path, at.root, fmt.Sprint(at.file, at.limits))
	for _, r := range reads {
		writeAll(h, r.path, string('0'+byte(r.state.kind)), r.state.why, r.state.hash)
	}
	h.Sum(key[:0])
	return key
}

func writeAll(h hash.Hash, texts ...string) {
	for _, text := range texts {
		h.Write([]byte(text))
		h.Write([]byte{0})
	}
}

// String identifies a result, wherever it was built.
func (k unitKey) String() string { return hex.EncodeToString(k[:]) }
