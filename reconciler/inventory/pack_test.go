// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// holding is a RepoSync with an inventory that is not packed.
func holding(entries []v1alpha1.InventoryEntry) *v1alpha1.RepoSync {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "fleet"}}
	s.Status.Inventory = entries
	return s
}

// stored is a RepoSync as a pass that knew nothing before has stored it.
func stored(t *testing.T, entries []v1alpha1.InventoryEntry) *v1alpha1.RepoSync {
	t.Helper()
	s := holding(Union(entries))
	if err := (*Memory)(nil).Pack(holding(nil), s); err != nil {
		t.Fatal(err)
	}
	return s
}

// listOf are the objects of n Workspaces with a ConfigMap each, in a folder of theirs.
func listOf(n int) []v1alpha1.InventoryEntry {
	var all []v1alpha1.InventoryEntry
	for i := range n {
		name := fmt.Sprintf("model-%05d", i)
		for _, e := range []v1alpha1.InventoryEntry{entry("Workspace", name), entry("ConfigMap", fmt.Sprintf("%s-%010x", name, i*2654435761))} {
			e.Unit = "clusters/production/workspaces/" + name
			all = append(all, e)
		}
	}
	return Union(all)
}

func TestPack(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		objects []v1alpha1.InventoryEntry
		packed  bool
		most    int // bytes of the packed list
	}{
		"Empty":       {reason: "Nothing was ever applied."},
		"Few":         {reason: "What a person reads is a list, as Flux has it.", objects: listOf(plainAtMost / 2)},
		"OneMore":     {reason: "Beyond that nobody reads it.", objects: append(listOf(plainAtMost/2), entry("Workspace", "z")), packed: true, most: 10 << 10},
		"TenThousand": {reason: "10,000 Workspaces with a ConfigMap each.", objects: listOf(10_000), packed: true, most: 200 << 10},
		"Most":        {reason: "30,000 of them.", objects: listOf(30_000), packed: true, most: packedAtMost},
	} {
		t.Run(name, func(t *testing.T) {
			for _, m := range []*Memory{nil, {}} {
				s := holding(Union(c.objects))
				if err := m.Pack(holding(nil), s); err != nil {
					t.Fatal(err)
				}
				if got := s.Status.PackedInventory; (got != nil) != c.packed || got != nil && (len(s.Status.Inventory) > 0 || got.Objects != len(c.objects) || len(got.List) > c.most) {
					t.Errorf("%s\nstored as a list of %d and %+.80v", c.reason, len(s.Status.Inventory), got)
				}
				for range 2 { // the second time from memory
					read := s.DeepCopy()
					if err := m.Unpack(read); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(Union(c.objects), read.Status.Inventory, cmpopts.EquateEmpty()); diff != "" || read.Status.PackedInventory != nil {
						t.Fatalf("%s\n-stored +read:\n%.2000s", c.reason, diff)
					}
				}
			}
		})
	}
}

// TestPackTooLarge: it is refused, and not left to the API server, which would refuse
// the status after everything was applied.
func TestPackTooLarge(t *testing.T) {
	s := holding(listOf(60_000))
	if err := (&Memory{}).Pack(holding(nil), s); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v, want %v", err, ErrTooLarge)
	}
	if len(s.Status.Inventory) != 120_000 || s.Status.PackedInventory != nil {
		t.Error("what cannot be stored is changed")
	}
}

// TestPackKeepsItsForm: a status write that is not about the inventory carries nothing
// of it, whichever release wrote it.
func TestPackKeepsItsForm(t *testing.T) {
	many := listOf(plainAtMost)
	half := stored(t, many[:len(many)/2+10])
	half.Status.Inventory = Union(many[len(many)/2:]) // by a release that knows no other form
	for name, c := range map[string]struct {
		reason string
		before *v1alpha1.RepoSync
		change func([]v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry
		plain  int
		packed bool
	}{
		"Packed":       {reason: "It is not packed again.", before: stored(t, many), packed: true},
		"LongList":     {reason: "An upgrade writes nothing.", before: holding(many), plain: len(many)},
		"Both":         {reason: "An older release added to one that it did not know.", before: half, plain: len(many) - len(many)/2, packed: true},
		"Shrunk":       {reason: "Few are a list again.", before: stored(t, many), change: func(e []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry { return e[:3] }, plain: 3},
		"LongListGrew": {reason: "What is written anew is packed.", before: holding(many[1:]), change: func([]v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry { return many }, packed: true},
		"BothGrew":     {reason: "It is one list again.", before: half, change: func(e []v1alpha1.InventoryEntry) []v1alpha1.InventoryEntry { return e[1:] }, packed: true},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := &Memory{}, c.before.DeepCopy()
			if err := m.Unpack(s); err != nil {
				t.Fatal(err)
			}
			if c.change != nil {
				s.Status.Inventory = c.change(s.Status.Inventory)
			} else if !cmp.Equal(s.Status.Inventory, many) {
				t.Errorf("%s\n%d entries are known, want %d", c.reason, len(s.Status.Inventory), len(many))
			}
			want := s.Status.Inventory
			if err := m.Pack(c.before, s); err != nil {
				t.Fatal(err)
			}
			if len(s.Status.Inventory) != c.plain || (s.Status.PackedInventory != nil) != c.packed {
				t.Errorf("%s\n%d entries in the list, packed: %v", c.reason, len(s.Status.Inventory), s.Status.PackedInventory != nil)
			}
			if same := cmp.Equal(c.before.Status, s.Status); same != (c.change == nil) {
				t.Errorf("%s\nthe status is the same: %v", c.reason, same)
			}
			if err := m.Unpack(s); err != nil || !cmp.Equal(s.Status.Inventory, want) {
				t.Errorf("%s\nread back are %d entries of %d, %v", c.reason, len(s.Status.Inventory), len(want), err)
			}
		})
	}
}

// TestUnpackUnreadable: what cannot be read is left as it is, and is never an empty
// inventory.
func TestUnpackUnreadable(t *testing.T) {
	good := stored(t, listOf(plainAtMost)).Status.PackedInventory.List
	for name, list := range map[string][]byte{
		"Empty": nil, "NoGzip": []byte("hello"), "Cut": good[:len(good)-9], "Flipped": append(append([]byte{}, good[:40]...), append([]byte{good[40] ^ 1}, good[41:]...)...),
	} {
		t.Run(name, func(t *testing.T) {
			s := holding(nil)
			s.Status.PackedInventory = &v1alpha1.PackedInventory{List: list}
			m, before := &Memory{}, s.DeepCopy()
			if err := m.Unpack(s); err == nil || !strings.Contains(err.Error(), "status.packedInventory") {
				t.Errorf("got %v", err)
			}
			if err := m.Pack(before, s); err != nil || !cmp.Equal(before, s) {
				t.Errorf("it does not stay as it is: %v", err)
			}
		})
	}
}

func FuzzUnpack(f *testing.F) {
	list, err := pack(listOf(2))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(list)
	f.Add([]byte("hello"))
	f.Fuzz(func(t *testing.T, list []byte) {
		entries, err := unpack(list)
		if err != nil {
			return
		}
		again, err := pack(entries)
		if err != nil {
			t.Skip(err) // larger than what is written
		}
		if read, err := unpack(again); err != nil || !cmp.Equal(read, entries, cmpopts.EquateEmpty()) {
			t.Errorf("%v\n%v\n%v", err, entries, read)
		}
	})
}
