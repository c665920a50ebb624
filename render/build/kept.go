// SPDX-License-Identifier: Apache-2.0

package build

import "github.com/espalier-dev/espalier/render/lru"

// keptEntries are the results that a Cache keeps, in the order that they were used.
type keptEntries struct {
	// byPath has the newest result of each unit, whatever the unit is there: the others
	// follow it.
	byPath map[string]*entry
	count  int
	order  lru.Order[*entry]
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
	k.order.Add(e)
}

// remove forgets an entry.
func (k *keptEntries) remove(e *entry) {
	k.order.Remove(e)
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
	e.earlier = nil // a pass may hold it, and it nobody
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
