// SPDX-License-Identifier: Apache-2.0

package build

// keptEntries are the results that a Cache keeps, in the order that they were used.
type keptEntries struct {
	// byPath has the newest result of each unit, whatever the unit is there: the others
	// follow it.
	byPath         map[string]*entry
	count          int
	newest, oldest *entry // by use
}

func newKeptEntries() keptEntries { return keptEntries{byPath: map[string]*entry{}} }

func (k *keptEntries) len() int { return k.count }

// like is the result that has the key of another, nil where there is none.
func (k *keptEntries) like(other *entry) *entry {
	for e := k.byPath[other.dir]; e != nil; e = e.earlier {
		if e.key == other.key {
			return e
		}
	}
	return nil
}

// add adds an entry whose key is new.
func (k *keptEntries) add(e *entry) {
	k.count++
	e.earlier = k.byPath[e.dir]
	k.byPath[e.dir] = e
	k.use(e)
}

// use makes an entry, which is in no order, the newest.
func (k *keptEntries) use(e *entry) {
	e.newer, e.older = nil, k.newest
	if k.newest == nil {
		k.oldest = e
	} else {
		k.newest.newer = e
	}
	k.newest = e
}

// touch says that an entry is used.
func (k *keptEntries) touch(e *entry) {
	k.unlink(e)
	k.use(e)
}

// unlink takes an entry out of the order.
func (k *keptEntries) unlink(e *entry) {
	if e.newer == nil {
		k.newest = e.older
	} else {
		e.newer.older = e.older
	}
	if e.older == nil {
		k.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
}

// remove forgets an entry.
func (k *keptEntries) remove(e *entry) {
	k.unlink(e)
	k.count--
	first := k.byPath[e.dir]
	if first != e {
		for first.earlier != e {
			first = first.earlier
		}
		first.earlier = e.earlier
	} else if e.earlier != nil {
		k.byPath[e.dir] = e.earlier
	} else {
		delete(k.byPath, e.dir)
	}
	e.newer, e.older, e.earlier = nil, nil, nil // a pass may hold it, and it nobody
}

// of are the results of what a unit is, the newest first.
func (k *keptEntries) of(at unitPlace) []*entry {
	var all []*entry
	for e := k.byPath[at.path]; e != nil; e = e.earlier {
		if e.place() == at {
			all = append(all, e)
		}
	}
	return all
}

// inFolder is the newest result of a unit whose file or folder has a hash, nil where there
// is none.
func (k *keptEntries) inFolder(at unitPlace, hash string) *entry {
	for e := k.byPath[at.path]; e != nil; e = e.earlier {
		if e.folder() == hash && e.place() == at {
			return e
		}
	}
	return nil
}
