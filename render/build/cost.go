// SPDX-License-Identifier: Apache-2.0

package build

// size is a count that stops at a bound far above every limit instead of
// overflowing: nested kustomizations multiply.
type size int64

const sizeBound = size(1) << 40

func (s size) plus(t size) size { return min(s+t, sizeBound) }

func (s size) times(t size) size {
	if s != 0 && t > sizeBound/s {
		return sizeBound
	}
	return s * t
}

// cost is an upper bound of what a build does, known before it starts: a base
// that two overlays list counts twice.
type cost struct {
	kustomizations size // read, each as often as it is reached
	objects        size // accumulated before patches
	compared       size // pairs of objects, in every kustomization on the way
	bytes          size // of input, each file as often as it is read
	patched        size // objects times bytes of the patches over them
	largest        size // bytes of the largest file
	copies         size // replacements that may make an object contain itself
}

func (c cost) plus(d cost) cost {
	return cost{
		kustomizations: c.kustomizations.plus(d.kustomizations),
		objects:        c.objects.plus(d.objects),
		compared:       c.compared.plus(d.compared),
		bytes:          c.bytes.plus(d.bytes),
		patched:        c.patched.plus(d.patched),
		largest:        max(c.largest, d.largest),
		copies:         c.copies.plus(d.copies),
	}
}

// check refuses a build that is not worth starting.
func (c cost) check(l Limits) error {
	switch {
	case c.kustomizations > size(l.Kustomizations):
		return refuse(TooLarge, "the build reads more than %d kustomizations, counted as often as they are listed", l.Kustomizations)
	case c.objects > size(l.Objects):
		return refuse(TooLarge, "the build takes together more than %d objects, with every base counted as often as it is listed: %s", l.Objects, split)
	case c.compared > size(l.Objects).times(size(l.Objects)).times(levelFactor):
		return refuse(TooLarge, "%d objects through too many kustomizations: %s", c.objects, split)
	case c.bytes > size(l.OutputBytes):
		return refuse(TooLarge, "the build adds up to more than %d bytes, with every base counted as often as it is listed", l.OutputBytes)
	case c.patched > size(l.OutputBytes).times(patchFactor):
		return refuse(TooLarge, "the patches add up to too much over %d objects: patch less, or give the folders kustomizations of their own", c.objects)
	case c.doubled() > size(l.OutputBytes):
		return refuse(TooLarge, "%d replacements with a delimiter or a whole section as source could double an object each time: use fewer of them, or replace single values", c.copies)
	}
	return nil
}

// split is what to do about a unit that is too large.
const split = "make several units of it, by a root kustomization that only lists folders"

// levelFactor allows that many kustomizations, one over the other, with the most
// objects. Kustomize compares every object with every other in each of them:
// 2,000 take about 3 s of a processor at every level.
const levelFactor = 4

// patchFactor allows patches, which usually touch few of the objects they are
// tried on, this many times the bytes of output.
const patchFactor = 16

// doubled is the size an object may reach: each copy of a part of an object
// into itself may double it, and memory would be gone before the deadline.
func (c cost) doubled() size {
	d := c.largest
	for range min(c.copies, 40) {
		d = d.times(2)
	}
	return d
}
