// SPDX-License-Identifier: Apache-2.0

package build

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unique"
)

// TestPacked: what was read is what was packed, whatever a tree calls its files and hashes.
func TestPacked(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		dir    string
		read   read
		size   int64
	}{
		"Within":     {"Most files are in the unit's folder.", "workspaces/a", read{"workspaces/a/w.yaml", state{kind: regular, hash: "00ff12"}}, 300},
		"Listing":    {"The names in the folder itself.", "workspaces/a", read{"workspaces/a/", state{kind: folder, hash: "ab"}}, -1},
		"Folder":     {"The folder itself is not below it.", "workspaces/a", read{"workspaces/a", state{kind: folder}}, -1},
		"Beside":     {"A base is elsewhere, and a name that begins alike is too.", "workspaces/a", read{"workspaces/ab/w.yaml", state{kind: regular, hash: "1"}}, 0},
		"Root":       {"A unit may be the root.", ".", read{"w.yaml", state{kind: regular, hash: "large"}}, 1 << 40},
		"Missing":    {"What was looked for in vain counts.", "a", read{"a/Kustomization", state{}}, -1},
		"UpperCase":  {"A hash is compared letter by letter.", "a", read{"a/w.yaml", state{kind: regular, hash: "AB"}}, 7},
		"Refused":    {"Why a link is refused counts too.", "a", read{"a/link", state{kind: refused, why: strings.Repeat("a/link is a link", 20)}}, -1},
		"OddLetters": {"Names are bytes.", "a", read{"a/\x00\xff", state{kind: regular, hash: "\x00"}}, 128},
	} {
		t.Run(name, func(t *testing.T) {
			p := packer{dir: c.dir}
			for range 3 {
				p.add(c.read, c.size, true)
			}
			n := 0
			for got := range p.packed().each() {
				n++
				if !got.taken || got.read(c.dir) != c.read || got.sized != (c.size >= 0) || got.sized && got.size != c.size {
					t.Errorf("%s\ngot %+v of %d bytes", c.reason, got.read(c.dir), got.size)
				}
			}
			if n != 3 {
				t.Errorf("%d reads are there of 3", n)
			}
		})
	}
}

// TestKeptEntries compares with a list over a random history.
func TestKeptEntries(t *testing.T) {
	random, kept, list := rand.New(rand.NewPCG(1, 2)), newKeptEntries(), []*entry(nil) // the newest last
	forget := func(e *entry) {
		kept.remove(e)
		list = slices.DeleteFunc(list, func(other *entry) bool { return other == e })
	}
	added := []*entry(nil) // in that order
	for step := range 2_000 {
		switch {
		case len(list) == 0 || random.IntN(3) == 0:
			e := &entry{key: unitKey(string(rune(step))), as: unique.Make(unitKind{file: random.IntN(2) == 0})}
			e.dir, e.data = string(rune('a'+random.IntN(4))), joined([sections]string{sectionFolder: string(rune('0' + random.IntN(3)))})
			kept.add(e)
			list, added = append(list, e), append(added, e)
		case random.IntN(2) == 0:
			e := list[random.IntN(len(list))]
			kept.order.Touch(e)
			list = append(slices.DeleteFunc(list, func(other *entry) bool { return other == e }), e)
		case random.IntN(4) == 0:
			forget(kept.order.Oldest())
		default:
			forget(list[random.IntN(len(list))])
		}
		check(t, step, &kept, list, added)
	}
}

func check(t *testing.T, step int, kept *keptEntries, list, added []*entry) {
	t.Helper()
	order := slices.Collect(kept.order.All())
	slices.Reverse(order)
	if !slices.Equal(order, list) || kept.len() != len(list) {
		t.Fatalf("step %d: %d entries, %d of them in order, want %d", step, kept.len(), len(order), len(list))
	}
	there := map[*entry]bool{}
	for _, e := range list {
		there[e] = true
	}
	found := map[unitPlace][]*entry{}
	for _, e := range slices.Backward(added) {
		if there[e] {
			found[e.place()] = append(found[e.place()], e)
		}
	}
	for at, want := range found {
		if !slices.Equal(kept.of(at), want) || kept.inFolder(at, want[0].folder()) != want[0] {
			t.Fatalf("step %d: %d results of %s, want %d, the newest first", step, len(kept.of(at)), at.path, len(want))
		}
	}
	if len(list) == 0 && len(kept.byPath) > 0 {
		t.Fatalf("step %d: paths of nothing", step)
	}
}
