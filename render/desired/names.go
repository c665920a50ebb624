// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"hash/maphash"
	"slices"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ties count what the documents of all units say of each other: only those that are tied to
// another have to be compared, which are none in most repositories. The zero value is of no
// units. Names are known by sums, which nobody can tell beforehand: where two are the same,
// documents are compared once more than they had to be.
type ties struct {
	counts [relations]map[uint64]int32
	twice  int // names that more than one document stands for
}

// relation is what a document has to do with a name.
type relation uint8

const (
	stands    relation = iota // for the object of this kind/name
	promotes                  // to the object of this kind/name: a run
	pushes                    // to this repository of images: a run
	pulls                     // an adapter from this repository, by tag
	relations                 // how many there are
)

// mention is what a document says that may tie it to another.
type mention struct {
	name uint64 // the sum of one
	relation
}

// seed of the sums of this process.
var seed = maphash.MakeSeed()

func mentioned(name string, r relation) mention { return mention{maphash.String(seed, name), r} }

// mentions of a document that stands for an object of kind/name.
func mentions(d repolayout.Decoded, object string) []mention {
	said := append(make([]mention, 0, 2), mentioned(object, stands))
	if d.Workspace == nil {
		return said[:1:1]
	}
	if t := d.Workspace.Spec.Tuning; t != nil {
		if t.Output.Image != "" {
			said = append(said, mentioned(repolayout.ImageRepository(t.Output.Image), pushes))
		}
		if t.Promote != nil {
			said = append(said, mentioned(v1alpha1.WorkspaceKind+"/"+t.Promote.To, promotes))
		}
	}
	if i := d.Workspace.Spec.Inference; i != nil {
		for _, a := range i.Adapters {
			if a.Image != "" && !repolayout.Pinned(a.Image) {
				said = append(said, mentioned(repolayout.ImageRepository(a.Image), pulls))
			}
		}
	}
	return said
}

// exchange takes units out and others in.
func (t *ties) exchange(out, in []*made) {
	for _, u := range out {
		t.add(u.said, -1)
	}
	for _, u := range in {
		t.add(u.said, 1)
	}
}

func (t *ties) add(said []mention, by int32) {
	for _, m := range said {
		counts := t.counts[m.relation]
		if counts == nil {
			counts = map[uint64]int32{}
			t.counts[m.relation] = counts
		}
		after := counts[m.name] + by
		if counts[m.name] = after; after == 0 {
			delete(counts, m.name)
		}
		switch {
		case m.relation != stands:
		case by > 0 && after == 2:
			t.twice++
		case by < 0 && after == 1:
			t.twice--
		}
	}
}

// none says that no document is tied to another.
func (t *ties) none() bool {
	return t.twice == 0 && len(t.counts[promotes]) == 0 && len(t.counts[pulls]) == 0
}

// tie says whether a document of a unit is tied to another, so that it is to be compared.
func (t *ties) tie(said []mention) bool {
	return !t.none() && slices.ContainsFunc(said, func(m mention) bool {
		switch m.relation {
		case stands:
			return t.counts[stands][m.name] > 1 || t.counts[promotes][m.name] > 0
		case pushes:
			return t.counts[pulls][m.name] > 0
		case pulls:
			return t.counts[pushes][m.name] > 0
		}
		return true // whoever promotes
	})
}

// compare compares the documents of units that are tied to others with each other.
func (t *ties) compare(units []*made) []v1alpha1.Finding {
	if t.none() {
		return nil
	}
	var entries []repolayout.Entry
	for _, u := range units {
		if t.tie(u.said) {
			entries = append(entries, u.whole.entries...)
		}
	}
	return append(repolayout.Collisions(entries), repolayout.Promotions(entries)...)
}
