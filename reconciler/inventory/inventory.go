// SPDX-License-Identifier: Apache-2.0

// Package inventory knows what earlier revisions applied, and decides what of it
// may be pruned: the same answer in the cluster and in the plan of a pull request.
//
// It is pure: it never reads the cluster and deletes nothing itself.
package inventory

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Entry is the inventory entry of an object.
func Entry(o *unstructured.Unstructured, unit string) v1alpha1.InventoryEntry {
	e := EntryOf(o)
	e.Unit = unit
	return e
}

// Object is what an entry is made from; its kind must be set.
type Object interface {
	GetNamespace() string
	GetName() string
	GetObjectKind() schema.ObjectKind
}

// EntryOf is the inventory entry of an object whose unit is not known.
func EntryOf(o Object) v1alpha1.InventoryEntry {
	gvk := o.GetObjectKind().GroupVersionKind()
	return v1alpha1.InventoryEntry{ID: ID(gvk.Group, gvk.Kind, o.GetNamespace(), o.GetName()), Version: gvk.Version}
}

// ID is that of the entry of an object.
func ID(group, kind, namespace, name string) string {
	return namespace + "_" + name + "_" + group + "_" + kind
}

// Stub is an object with no more than the identity an entry speaks of.
func Stub(e v1alpha1.InventoryEntry) (*unstructured.Unstructured, error) {
	parts := strings.Split(e.ID, "_")
	if len(parts) != 4 || parts[1] == "" || parts[3] == "" {
		return nil, fmt.Errorf("inventory entry %q is not of the form namespace_name_group_kind", e.ID)
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: parts[2], Version: e.Version, Kind: parts[3]})
	o.SetNamespace(parts[0])
	o.SetName(parts[1])
	return o, nil
}

// Has says whether a list that is sorted by ID, as Union is, holds an entry.
func Has(sorted []v1alpha1.InventoryEntry, id string) bool {
	_, held := slices.BinarySearchFunc(sorted, id, func(e v1alpha1.InventoryEntry, id string) int { return strings.Compare(e.ID, id) })
	return held
}

// Stale returns the entries of old that now does not hold, in order.
func Stale(old, now []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	now = sorted(now)
	var stale []v1alpha1.InventoryEntry
	at := 0 // in now, of the first that is not before the entry of old
	for i, e := range old {
		if i > 0 && byID(old[i-1], e) > 0 {
			at = 0
		}
		for at < len(now) && byID(now[at], e) < 0 {
			at++
		}
		if at == len(now) || now[at].ID != e.ID {
			stale = append(stale, e)
		}
	}
	return stale
}

// Union joins inventories, sorted by ID, each object once; earlier ones win. What it
// returns may be one of the lists: nobody changes it in place.
func Union(lists ...[]v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	var all []v1alpha1.InventoryEntry
	for _, list := range lists {
		all = join(all, once(sorted(list)))
	}
	return all
}

// join is the union of two lists that are sorted, each with an object once.
func join(a, b []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	if len(a) == 0 {
		return b
	}
	more := Stale(b, a)
	if len(more) == 0 {
		return a
	}
	all := make([]v1alpha1.InventoryEntry, 0, len(a)+len(more))
	for len(a) > 0 && len(more) > 0 {
		if byID(a[0], more[0]) < 0 {
			all, a = append(all, a[0]), a[1:]
		} else {
			all, more = append(all, more[0]), more[1:]
		}
	}
	return append(append(all, a...), more...)
}

// sorted is a list in the order of its IDs: itself, where it is.
func sorted(list []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	if slices.IsSortedFunc(list, byID) {
		return list
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, byID)
	return list
}

// once is a sorted list with each object once, the first entry of each: itself, where it
// is that.
func once(list []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	same := func(a, b v1alpha1.InventoryEntry) bool { return a.ID == b.ID }
	for i := 1; i < len(list); i++ {
		if same(list[i-1], list[i]) {
			return slices.CompactFunc(slices.Clone(list), same)
		}
	}
	return list
}

func byID(a, b v1alpha1.InventoryEntry) int { return strings.Compare(a.ID, b.ID) }

// kindOf is the last part of an entry's ID.
func kindOf(e v1alpha1.InventoryEntry) string {
	return e.ID[strings.LastIndex(e.ID, "_")+1:]
}

// IsOurs says whether an entry is of one of our kinds, rather than an input.
func IsOurs(e v1alpha1.InventoryEntry) bool {
	return strings.Contains(e.ID, "_"+v1alpha1.Group+"_")
}
