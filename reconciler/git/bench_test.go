// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// BenchmarkClone measures a repository of 20,000 small files: the first clone, a
// look at an unchanged remote, and a status commit beside it.
func BenchmarkClone(b *testing.B) {
	server := gitserver.Serve(b, gitserver.Options{}, repo)
	files := map[string]string{}
	for i := range 20000 {
		files[fmt.Sprintf("d%03d/f%03d.yaml", i/100, i%100)] = fmt.Sprintf("name: %d\n", i)
	}
	if _, err := server.Push(repo, "main", files, "many"); err != nil {
		b.Fatal(err)
	}
	r := Remote{URL: server.URL(repo)}
	ctx := context.Background()
	snapshot, err := r.Clone(ctx, v1alpha1.GitRef{})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("Clone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Clone(ctx, v1alpha1.GitRef{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("Unchanged", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := r.Fetch(ctx, v1alpha1.GitRef{}, NewStock(), snapshot); !errors.Is(err, ErrUnchanged) {
				b.Fatal(err)
			}
		}
	})
	b.Run("StatusCommit", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			branch, err := r.Branch(ctx, "status", nil)
			if err != nil {
				b.Fatal(err)
			}
			change := Change{
				Files:   map[string]func() []byte{"README.md": Text(fmt.Appendf(nil, "%d", n))},
				Message: "m", Name: "n", Email: "e", When: time.Unix(1700000000, 0),
			}
			if _, _, err := branch.Commit(change); err != nil {
				b.Fatal(err)
			}
			if err := branch.Push(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkWithout leaves reports out of a repository of 10,000 folders, as each new
// commit of a branch that holds a report has it done once.
func BenchmarkWithout(b *testing.B) {
	store := memory.NewStorage()
	put := func(tree *object.Tree) plumbing.Hash {
		o := store.NewEncodedObject()
		if err := tree.Encode(o); err != nil {
			b.Fatal(err)
		}
		hash, err := store.SetEncodedObject(o)
		if err != nil {
			b.Fatal(err)
		}
		return hash
	}
	root := &object.Tree{}
	for i := range 10_000 {
		name := fmt.Sprintf("w%05d", i)
		inner := put(&object.Tree{Entries: []object.TreeEntry{{Name: name + ".yaml", Mode: filemode.Regular, Hash: plumbing.NewHash(fmt.Sprintf("%040x", i))}}})
		root.Entries = append(root.Entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: inner})
	}
	at := put(root)
	b.ResetTimer()
	for range b.N {
		if _, err := newTree(store, at).Without(mark); err != nil {
			b.Fatal(err)
		}
	}
}
