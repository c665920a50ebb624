// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of what a status carries (docs/design/0073).
const (
	// plainAtMost entries stand in the status as they are; more are packed.
	plainAtMost = 500
	// packedAtMost bytes become 1 MiB in an object, of the 1.5 MiB that etcd takes.
	packedAtMost = 768 << 10
	// unpackedAtMost bytes are read of a packed list, which nobody but the controller
	// should have written.
	unpackedAtMost = 256 << 20
)

// ErrTooLarge is that an inventory does not fit into the status of one RepoSync.
var ErrTooLarge = errors.New("the inventory is too large for the status of one RepoSync")

// Memory keeps what the inventories of RepoSyncs were unpacked to last: they are
// asked for far more often than they change. The zero Memory is empty, and a nil one
// keeps nothing.
type Memory struct {
	last sync.Map // types.NamespacedName of the RepoSync → unpacked
}

// unpacked is a packed list and what it says.
type unpacked struct {
	list    []byte
	entries []v1alpha1.InventoryEntry
}

// Unpack turns the inventory of a RepoSync as it is stored into the list that it
// stands for, which is shared and must not be written to. One that cannot be read
// stays as it is.
func (m *Memory) Unpack(s *v1alpha1.RepoSync) error {
	entries, err := m.stored(s)
	if err != nil {
		return err
	}
	s.Status.Inventory, s.Status.PackedInventory = entries, nil
	return nil
}

// stored is the inventory of a RepoSync, in whichever form. Where an older release
// wrote a list beside one that it did not know, both count: more is known than was
// applied, never less.
func (m *Memory) stored(s *v1alpha1.RepoSync) ([]v1alpha1.InventoryEntry, error) {
	packed := s.Status.PackedInventory
	if packed == nil {
		return s.Status.Inventory, nil
	}
	entries, err := m.unpack(keyOf(s), packed.List)
	if err != nil || len(s.Status.Inventory) == 0 {
		return entries, err
	}
	return Union(s.Status.Inventory, entries), nil
}

func (m *Memory) unpack(sync types.NamespacedName, list []byte) ([]v1alpha1.InventoryEntry, error) {
	if m == nil {
		return unpack(list)
	}
	if known, ok := m.last.Load(sync); ok && bytes.Equal(known.(unpacked).list, list) {
		return known.(unpacked).entries, nil
	}
	entries, err := unpack(list)
	if err != nil {
		return nil, err
	}
	m.last.Store(sync, unpacked{list, entries})
	return entries, nil
}

// Pack gives the status of a RepoSync the form in which it is stored. An inventory
// that is what before has keeps the form that it has there, and is not written again.
func (m *Memory) Pack(before, s *v1alpha1.RepoSync) error {
	if s.Status.PackedInventory != nil {
		return nil // it was never unpacked
	}
	if was, err := m.stored(before); err == nil && slices.Equal(was, s.Status.Inventory) {
		s.Status.Inventory, s.Status.PackedInventory = before.Status.Inventory, before.Status.PackedInventory
		return nil
	}
	if len(s.Status.Inventory) <= plainAtMost {
		return nil
	}
	list, err := pack(s.Status.Inventory)
	if err != nil {
		return err
	}
	if m != nil {
		m.last.Store(keyOf(s), unpacked{list, s.Status.Inventory})
	}
	s.Status.PackedInventory = &v1alpha1.PackedInventory{Objects: len(s.Status.Inventory), List: list}
	s.Status.Inventory = nil
	return nil
}

// Forget drops what is kept of a RepoSync.
func (m *Memory) Forget(sync types.NamespacedName) {
	if m != nil {
		m.last.Delete(sync)
	}
}

func keyOf(s *v1alpha1.RepoSync) types.NamespacedName {
	return types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
}

func pack(entries []v1alpha1.InventoryEntry) ([]byte, error) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if err := errors.Join(json.NewEncoder(w).Encode(entries), w.Close()); err != nil {
		return nil, fmt.Errorf("packing the inventory: %w", err)
	}
	if packed.Len() > packedAtMost {
		return nil, fmt.Errorf("%w: %d objects, packed to %d KiB of at most %d", ErrTooLarge, len(entries), packed.Len()>>10, packedAtMost>>10)
	}
	return packed.Bytes(), nil
}

func unpack(list []byte) ([]v1alpha1.InventoryEntry, error) {
	r, err := gzip.NewReader(bytes.NewReader(list))
	if err != nil {
		return nil, fmt.Errorf("reading status.packedInventory: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, unpackedAtMost))
	if err != nil {
		return nil, fmt.Errorf("reading status.packedInventory: %w", err)
	}
	var entries []v1alpha1.InventoryEntry
	if err := json.Unmarshal(text, &entries); err != nil {
		return nil, fmt.Errorf("reading status.packedInventory: %w", err)
	}
	return Union(entries), nil
}
