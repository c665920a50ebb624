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
	return v1alpha1.InventoryEntry{
		ID:      strings.Join([]string{o.GetNamespace(), o.GetName(), gvk.Group, gvk.Kind}, "_"),
		Version: gvk.Version,
	}
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

// Stale returns the entries of old that now does not hold, in order.
func Stale(old, now []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	held := make(map[string]bool, len(now))
	for _, e := range now {
		held[e.ID] = true
	}
	var stale []v1alpha1.InventoryEntry
	for _, e := range old {
		if !held[e.ID] {
			stale = append(stale, e)
		}
	}
	return stale
}

// Union joins inventories, sorted by ID, each object once; earlier ones win.
func Union(lists ...[]v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry {
	seen := map[string]bool{}
	var all []v1alpha1.InventoryEntry
	for _, list := range lists {
		for _, e := range list {
			if !seen[e.ID] {
				seen[e.ID] = true
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b v1alpha1.InventoryEntry) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// kindOf is the last part of an entry's ID.
func kindOf(e v1alpha1.InventoryEntry) string {
	return e.ID[strings.LastIndex(e.ID, "_")+1:]
}

// IsOurs says whether an entry is of one of our kinds, rather than an input.
func IsOurs(e v1alpha1.InventoryEntry) bool {
	return strings.Contains(e.ID, "_"+v1alpha1.Group+"_")
}
