// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"slices"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ties count what the documents of all units say of each other: only those that are tied to
// another have to be compared, which are none in most repositories. The zero value is of no
// units.
type ties struct {
	named  tally[objectName] // documents that stand for it
	asked  tally[objectName] // runs that promote to it
	pushed tally[string]     // runs that push to the repository of images
	pulled tally[string]     // adapters that are from there, by tag
	twice  int               // names that more than one document stands for
}

type tally[K comparable] map[K]int

func (t *tally[K]) add(key K, by int) int {
	if *t == nil {
		*t = tally[K]{}
	}
	if (*t)[key] += by; (*t)[key] == 0 {
		delete(*t, key)
	}
	return (*t)[key]
}

type objectName struct{ kind, name string }

// said is what the documents of a unit have in ties.
type said struct {
	named, asked   []objectName
	pushed, pulled []string
}

func saidBy(entries []repolayout.Entry) said {
	var s said
	for _, e := range entries {
		d := Document{Decoded: e.Decoded}
		s.named = append(s.named, objectName{d.Kind(), d.ObjectName()})
		if e.Workspace == nil {
			continue
		}
		if t := e.Workspace.Spec.Tuning; t != nil {
			if t.Output.Image != "" {
				s.pushed = append(s.pushed, repolayout.ImageRepository(t.Output.Image))
			}
			if t.Promote != nil {
				s.asked = append(s.asked, objectName{v1alpha1.WorkspaceKind, t.Promote.To})
			}
		}
		if i := e.Workspace.Spec.Inference; i != nil {
			for _, a := range i.Adapters {
				if a.Image != "" && !repolayout.Pinned(a.Image) {
					s.pulled = append(s.pulled, repolayout.ImageRepository(a.Image))
				}
			}
		}
	}
	return s
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

func (t *ties) add(s said, by int) {
	for _, name := range s.named {
		switch after := t.named.add(name, by); {
		case by > 0 && after == 2:
			t.twice++
		case by < 0 && after == 1:
			t.twice--
		}
	}
	for _, name := range s.asked {
		t.asked.add(name, by)
	}
	for _, repository := range s.pushed {
		t.pushed.add(repository, by)
	}
	for _, repository := range s.pulled {
		t.pulled.add(repository, by)
	}
}

// none says that no document is tied to another.
func (t *ties) none() bool { return t.twice == 0 && len(t.asked) == 0 && len(t.pulled) == 0 }

// tie says whether a document of a unit is tied to another, so that it is to be compared.
func (t *ties) tie(s said) bool {
	if t.none() {
		return false
	}
	return len(s.asked) > 0 ||
		slices.ContainsFunc(s.named, func(name objectName) bool { return t.named[name] > 1 || t.asked[name] > 0 }) ||
		slices.ContainsFunc(s.pushed, func(repository string) bool { return t.pulled[repository] > 0 }) ||
		slices.ContainsFunc(s.pulled, func(repository string) bool { return t.pushed[repository] > 0 })
}

// compare compares the documents of units that are tied to others with each other.
func (t *ties) compare(units []*made) []v1alpha1.Finding {
	if t.none() {
		return nil
	}
	var entries []repolayout.Entry
	for _, u := range units {
		if t.tie(u.said) {
			entries = append(entries, u.entries...)
		}
	}
	return append(repolayout.Collisions(entries), repolayout.Promotions(entries)...)
}
