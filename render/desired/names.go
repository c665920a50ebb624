// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"slices"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// names are the objects that documents stand for, where all are different and none
// says anything of another: then comparing the documents has nothing to find.
type names map[objectName]bool

type objectName struct{ kind, name string }

func nameOf(e repolayout.Entry) objectName {
	d := Document{Decoded: e.Decoded}
	return objectName{d.Kind(), d.ObjectName()}
}

// compare compares the documents of all units with each other. The names are nil
// where another document may change what is found.
func compare(units []*made) ([]v1alpha1.Finding, names) {
	var entries []repolayout.Entry
	for _, u := range units {
		entries = append(entries, u.entries...)
	}
	findings := append(repolayout.Collisions(entries), repolayout.Promotions(entries)...)
	all := make(names, len(entries))
	if !all.exchange(nil, units) {
		all = nil
	}
	return findings, all
}

// exchange takes units out and others in. False: one of their documents has the name
// of another, or promotes to another, and the names are of no use any more.
func (n names) exchange(out, in []*made) bool {
	for _, u := range out {
		for _, name := range u.named {
			delete(n, name)
		}
	}
	for _, u := range in {
		if u.promotes {
			return false
		}
		for _, name := range u.named {
			if n[name] {
				return false
			}
			n[name] = true
		}
	}
	return true
}

// promotes says whether a tuning run among the documents names who serves it.
func promotes(entries []repolayout.Entry) bool {
	return slices.ContainsFunc(entries, func(e repolayout.Entry) bool {
		return e.Workspace != nil && e.Workspace.Spec.Tuning != nil && e.Workspace.Spec.Tuning.Promote != nil
	})
}
