// SPDX-License-Identifier: Apache-2.0

// Package lru orders entries by when they were used, with links in the entries
// themselves: a list beside them takes a hundred bytes of each, more than some of them.
// It never decides what goes, nor holds on to what has been removed.
package lru

import "iter"

// Links is what an entry embeds to stand in an Order: type entry struct { lru.Links[*entry] }.
type Links[E any] struct{ newer, older E }

func (l *Links[E]) links() *Links[E] { return l } //nolint:unused // linked demands it, of what embeds Links

// linked is a pointer to an entry that embeds Links of such pointers.
type linked[E any] interface {
	comparable
	links() *Links[E]
}

// Order is the order in which entries were used. The zero Order is empty. It is for one
// goroutine at a time.
type Order[E linked[E]] struct{ newest, oldest E }

// Oldest is what was used the longest ago; the zero value where the Order is empty.
func (o *Order[E]) Oldest() E { return o.oldest }

// All yields the entries, the one that was used last first.
func (o *Order[E]) All() iter.Seq[E] {
	return func(yield func(E) bool) {
		var none E
		for e := o.newest; e != none && yield(e); e = e.links().older {
		}
	}
}

// Add adds an entry, which stands in no Order, as the newest.
func (o *Order[E]) Add(e E) {
	var none E
	*e.links() = Links[E]{older: o.newest}
	if o.newest == none {
		o.oldest = e
	} else {
		o.newest.links().newer = e
	}
	o.newest = e
}

// Remove removes an entry of the Order.
func (o *Order[E]) Remove(e E) {
	var none E
	l := *e.links()
	if l.newer == none {
		o.newest = l.older
	} else {
		l.newer.links().older = l.older
	}
	if l.older == none {
		o.oldest = l.newer
	} else {
		l.older.links().newer = l.newer
	}
	*e.links() = Links[E]{} // who holds it holds no other
}

// Touch makes an entry of the Order the newest.
func (o *Order[E]) Touch(e E) {
	o.Remove(e)
	o.Add(e)
}
