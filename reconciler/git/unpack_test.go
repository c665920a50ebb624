// SPDX-License-Identifier: Apache-2.0

package git

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/storage/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/test/gitserver"
)

// contents are objects by their hash, with their kind.
func contents(records []record) map[string]string {
	got := map[string]string{}
	for _, r := range records {
		got[r.hash.String()] = r.kind.String() + " " + string(r.content)
	}
	return got
}

// parsed is what go-git reads out of a pack, on top of some objects.
func parsed(pack []byte, under []record) (got map[string]string, err error) {
	defer caught(&err)
	store := memory.NewStorage()
	for _, r := range under {
		if _, err := store.SetEncodedObject(r.encoded()); err != nil {
			return nil, err
		}
	}
	parser, err := packfile.NewParserWithStorage(packfile.NewScanner(struct{ io.Reader }{bytes.NewReader(pack)}), store)
	if err != nil {
		return nil, err
	}
	if _, err := parser.Parse(); err != nil {
		return nil, err
	}
	got = map[string]string{}
	for hash, o := range store.Objects {
		r, err := o.Reader()
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		got[hash.String()] = o.Type().String() + " " + string(content)
	}
	for _, r := range under {
		delete(got, r.hash.String())
	}
	return got, nil
}

// TestUnpackIsParse reads what git packs, in each of the forms that it has, and compares
// with what go-git reads.
func TestUnpackIsParse(t *testing.T) {
	server := serve(t, gitserver.Options{})
	h := &history{Rand: rand.New(rand.NewPCG(3, 3)), t: t, server: server, files: map[string]map[string]string{}}
	for range 12 {
		h.edit("main")
	}
	if err := server.Tag(repo, "v1", "main", "a tag"); err != nil {
		t.Fatal(err)
	}
	old, tip := h.git("rev-parse", "main~6"), h.git("rev-parse", "v1")
	under := pile{}
	if _, err := unpack(bytes.NewReader(packed(t, server, old)), &under, &shelf{}, 1<<30); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		revs   string
		args   []string
		on     []record
	}{
		"Whole":   {reason: "Objects as they are.", revs: tip, args: []string{"--window=0"}},
		"Hashes":  {reason: "Differences name what they build on by its hash.", revs: tip},
		"Offsets": {reason: "Or by where it is.", revs: tip, args: []string{"--delta-base-offset"}},
		"Deep":    {reason: "One builds on another.", revs: tip, args: []string{"--delta-base-offset", "--depth=50", "--window=100"}},
		"Thin":    {reason: "Or on what is not in the pack.", revs: tip + "\n^" + old, args: []string{"--thin"}, on: under.records},
		"ThinToo": {reason: "And others on that.", revs: tip + "\n^" + old, args: []string{"--thin", "--delta-base-offset"}, on: under.records},
	} {
		t.Run(name, func(t *testing.T) {
			pack := packed(t, server, tc.revs, tc.args...)
			want, err := parsed(pack, tc.on)
			if err != nil {
				t.Fatal(err)
			}
			on := (&shelf{}).with(&pile{records: tc.on})
			got := pile{}
			took, err := unpack(bytes.NewReader(pack), &got, on, 1<<30)
			if err != nil {
				t.Fatal(err)
			}
			if tc.on == nil && took != got.coming() {
				t.Errorf("%s\nit took %d bytes of what it may, and %d when it has come: what came in pieces may be too large after a start", tc.reason, took, got.coming())
			}
			all := contents(got.records)
			for _, r := range tc.on {
				delete(all, r.hash.String()) // go-git does not say which came again
			}
			if d := cmp.Diff(want, all); d != "" || len(want) == 0 {
				t.Errorf("%s\n(-go-git +got):\n%s", tc.reason, d)
			}
			if _, err := unpack(bytes.NewReader(pack[:len(pack)-40]), &pile{}, on, 1<<30); err == nil {
				t.Error("half a pack was taken for one")
			}
		})
	}
}

// packed is what git packs of some commits.
func packed(t *testing.T, server *gitserver.Server, revs string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", server.Dir(repo), "pack-objects", "--revs", "--stdout", "-q", "--no-reuse-delta", "--no-reuse-object"}, args...)...)
	cmd.Stdin = strings.NewReader(revs + "\n")
	pack, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return pack
}

// packing is a pack that is written by hand.
type packing struct {
	bytes.Buffer
	count uint32
	at    []int // where each object begins
}

func (p *packing) object(kind plumbing.ObjectType, base []byte, content []byte) {
	if p.Len() == 0 {
		p.Write(make([]byte, 12))
	}
	p.count++
	p.at = append(p.at, p.Len())
	size := len(content)
	first := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	p.WriteByte(first)
	p.Write(base)
	z := zlib.NewWriter(p)
	_, _ = z.Write(content)
	_ = z.Close()
}

func (p *packing) blob(content string) { p.object(plumbing.BlobObject, nil, []byte(content)) }

// on puts a difference of an object known by its hash, which adds a text to its end.
func (p *packing) on(base, more string) {
	hash := plumbing.ComputeHash(plumbing.BlobObject, []byte(base))
	p.object(plumbing.REFDeltaObject, hash[:], appending(base, more))
}

// onThe does so with an object of the pack known by its number.
func (p *packing) onThe(object int, base, more string) {
	before := p.Len() - p.at[object]
	bytes := []byte{byte(before & 0x7f)}
	for before >>= 7; before > 0; before >>= 7 {
		before--
		bytes = append([]byte{byte(before&0x7f) | 0x80}, bytes...)
	}
	p.object(plumbing.OFSDeltaObject, bytes, appending(base, more))
}

// appending is the delta that adds a short text to another.
func appending(base, more string) []byte {
	delta := binary.AppendUvarint(nil, uint64(len(base)))
	delta = binary.AppendUvarint(delta, uint64(len(base)+len(more)))
	delta = append(delta, 0x80|0x10|0x20, byte(len(base)), byte(len(base)>>8), byte(len(more)))
	return append(delta, more...)
}

func (p *packing) pack() []byte {
	pack := append([]byte(nil), p.Bytes()...)
	copy(pack, "PACK")
	binary.BigEndian.PutUint32(pack[4:], 2)
	binary.BigEndian.PutUint32(pack[8:], p.count)
	return append(pack, make([]byte, 20)...)
}

func TestUnpack(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		write  func(p *packing)
		held   []string
		want   []string
		err    error
	}{
		"Twice": {
			reason: "An object that comes twice is there once.",
			write:  func(p *packing) { p.blob("a"); p.blob("a") }, want: []string{"a"},
		},
		"LaterBase": {
			reason: "What an object is made of may come after it.",
			write:  func(p *packing) { p.on("a", "b"); p.blob("a") }, want: []string{"a", "ab"},
		},
		"LaterChain": {
			reason: "And others may be made of both: one waits for the other.",
			write: func(p *packing) {
				p.on("ab", "c")
				p.onThe(0, "abc", "d")
				p.on("a", "b")
				p.onThe(1, "abcd", "e")
				p.blob("a")
			},
			want: []string{"a", "ab", "abc", "abcd", "abcde"},
		},
		"Held": {
			reason: "A thin pack builds on what is held, which does not come with it.",
			write:  func(p *packing) { p.on("a", "b"); p.onThe(0, "ab", "c") }, held: []string{"a"}, want: []string{"ab", "abc"},
		},
		"Nowhere": {
			reason: "What builds on nothing cannot be made.",
			write:  func(p *packing) { p.blob("a"); p.on("x", "b") }, err: errNoBases,
		},
		"Circle": {
			reason: "Nor what waits for one another.",
			write:  func(p *packing) { p.on("ab", "a"); p.onThe(0, "aba", "c") }, err: errNoBases,
		},
		"ZeroHash": {
			reason: "The zero hash is that of nothing.",
			write:  func(p *packing) { p.object(plumbing.REFDeltaObject, make([]byte, 20), appending("a", "b")) }, err: errNoBases,
		},
		"Itself": {
			reason: "No object lies before itself at no distance.",
			write:  func(p *packing) { p.blob("a"); p.object(plumbing.OFSDeltaObject, []byte{0}, appending("a", "b")) }, err: errPack,
		},
		"Between": {
			reason: "A distance leads to the beginning of an object.",
			write:  func(p *packing) { p.blob("a"); p.object(plumbing.OFSDeltaObject, []byte{1}, appending("a", "b")) }, err: errPack,
		},
		"Before": {
			reason: "And not out of the pack.",
			write: func(p *packing) {
				p.object(plumbing.OFSDeltaObject, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, appending("a", "b"))
			},
			err: errPack,
		},
		"WrongBase": {
			reason: "A difference is of an object of that size.",
			write:  func(p *packing) { p.blob("a"); p.onThe(0, "abc", "d") }, err: packfile.ErrInvalidDelta,
		},
		"Kind": {
			reason: "There are six kinds of objects.",
			write:  func(p *packing) { p.object(5, nil, []byte("a")) }, err: errPack,
		},
		"Bomb": {
			reason: "What a difference would make counts before it is made.",
			write: func(p *packing) {
				p.blob("a")
				p.object(plumbing.OFSDeltaObject, []byte{byte(p.Len() - p.at[0])}, append([]byte{1}, 0xff, 0xff, 0xff, 0x7f, 0))
			},
			err: ErrTooLarge,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, under, came := &packing{}, pile{}, pile{}
			tc.write(p)
			for _, text := range tc.held {
				under.add(record{plumbing.ComputeHash(plumbing.BlobObject, []byte(text)), plumbing.BlobObject, []byte(text)})
			}
			_, err := unpack(bytes.NewReader(p.pack()), &came, (&shelf{}).with(&under), 1<<20)
			if !errors.Is(err, tc.err) {
				t.Fatalf("%s\ngot %v, want %v", tc.reason, err, tc.err)
			}
			if tc.err != nil {
				return
			}
			want := map[string]string{}
			for _, text := range tc.want {
				want[plumbing.ComputeHash(plumbing.BlobObject, []byte(text)).String()] = "blob " + text
			}
			if d := cmp.Diff(want, contents(came.records)); d != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, d)
			}
		})
	}
}

// A pack costs what it has, and not what it says.
func TestUnpackTakesNoWord(t *testing.T) {
	p := &packing{}
	p.blob("a")
	pack := p.pack()
	binary.BigEndian.PutUint32(pack[8:], 1<<32-1)
	grown := testing.AllocsPerRun(1, func() {
		if _, err := unpack(bytes.NewReader(pack), &pile{}, &shelf{}, DefaultMaxBytes); err == nil {
			t.Error("a pack without most of its objects was taken")
		}
	})
	if grown > 1000 {
		t.Errorf("%v allocations", grown)
	}
}

func TestSheet(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 300, 5000} {
		var all []record
		for i := range n {
			content := []byte(fmt.Sprint(i))
			if i%50 == 3 {
				content = bytes.Repeat(content, ownMemory)
			}
			r := record{plumbing.ComputeHash(plumbing.BlobObject, content), plumbing.BlobObject, content}
			if i%40 == 0 { // a server may see to it that many begin alike
				copy(r.hash[:8], "\xff\xff\xff\xff\xff\xff\xff\xff")
			}
			all = append(all, r)
		}
		s := sheetOf(all[:n/3], all[n/3:])
		for _, want := range all {
			if got, ok := s.get(want.hash); !ok || got.kind != want.kind || !bytes.Equal(got.content, want.content) {
				t.Fatalf("%d: object %s is not as it was", n, want.hash)
			}
			none := want.hash
			none[19]++
			if _, ok := s.get(none); ok {
				t.Fatalf("%d: there is an object that never was", n)
			}
		}
		if d := cmp.Diff(contents(all), contents(s.records())); d != "" || s.len() != n {
			t.Errorf("%d (-want +got):\n%s", n, d)
		}
	}
}

// What a server left out is missed where it is needed, and nowhere else.
func TestPartOfACommit(t *testing.T) {
	p := &packing{}
	p.blob("here")
	here, gone := plumbing.ComputeHash(plumbing.BlobObject, []byte("here")), plumbing.ComputeHash(plumbing.BlobObject, []byte("gone"))
	line := func(mode, name string, hash plumbing.Hash) string {
		return mode + " " + name + "\x00" + string(hash[:])
	}
	good, bad := line("100644", "f", here), line("100644", "f", gone)
	folder := func(content string) plumbing.Hash {
		p.object(plumbing.TreeObject, nil, []byte(content))
		return plumbing.ComputeHash(plumbing.TreeObject, []byte(content))
	}
	root := folder(line("40000", "bad", folder(bad)) + line("40000", "good", folder(good)))
	came := arrivalsOn(&shelf{})
	if _, err := unpack(bytes.NewReader(p.pack()), &came.came, came.on.Load(), 1<<20); err != nil {
		t.Fatal(err)
	}
	tree := newTree(came, root)
	if content, err := tree.ReadFile("good/f"); err != nil || string(content) != "here" || !tree.Has(here.String()) {
		t.Errorf("got %q, %v", content, err)
	}
	if _, err := tree.ReadDir("bad"); err == nil || tree.Has(gone.String()) {
		t.Error("what is not there is not missed")
	}
}
