// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSums(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "credential")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		reason string
		files  map[string]string
		links  map[string]string // name → where it leads
		want   map[string]string
	}{
		"Files":    {"Each file by its path.", map[string]string{"a.jsonl": "a", "more/b.jsonl": "b"}, nil, map[string]string{"a.jsonl": sumOf([]byte("a")), "more/b.jsonl": sumOf([]byte("b"))}},
		"Recorded": {"What was downloaded has the sum that it was held against.", map[string]string{"a.jsonl": "a", ".espalier/a.jsonl.json": `{"total":1,"sha256":"noted"}`}, nil, map[string]string{"a.jsonl": "noted"}},
		"Changed":  {"A note of another size is of another file.", map[string]string{"a.jsonl": "a", ".espalier/a.jsonl.json": `{"total":2,"sha256":"noted"}`}, nil, map[string]string{"a.jsonl": sumOf([]byte("a"))}},
		"ConfigMap": {"Kubernetes mounts the keys of a ConfigMap as links into a hidden folder.", map[string]string{"..2026_11_26/a.jsonl": "a"},
			map[string]string{"..data": "..2026_11_26", "a.jsonl": "..data/a.jsonl"}, map[string]string{"a.jsonl": sumOf([]byte("a"))}},
		"Outside": {"What a link leads to beyond the folder is not data, and its sum nobody's.", map[string]string{"a.jsonl": "a"},
			map[string]string{"b.jsonl": outside, "c.jsonl": "nowhere"}, map[string]string{"a.jsonl": sumOf([]byte("a"))}},
		"Empty": {"Nothing is nothing.", nil, nil, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, text := range c.files {
				path := filepath.Join(dir, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
					t.Fatal(err)
				}
			}
			for name, to := range c.links {
				if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Sums(t.Context(), dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

// TestSumsBounded: a GPU does not wait for terabytes to be read, nor after it was told to go.
func TestSumsBounded(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Sums(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("told to go, it said %v", err)
	}
	if err := os.Truncate(filepath.Join(dir, "a"), maxSummedBytes+1); err != nil { // a hole, and no byte of disk
		t.Skip("the disk has no files of that size:", err)
	}
	if _, err := Sums(t.Context(), dir); !errors.Is(err, ErrTooMuch) {
		t.Errorf("it read %d GiB, or said %v", maxSummedBytes>>30, err)
	}
}
