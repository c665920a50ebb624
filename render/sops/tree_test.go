// SPDX-License-Identifier: Apache-2.0

package sops_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/espalier-dev/espalier/render/sops"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// TestTree: a file reads decrypted, and all else as it is.
func TestTree(t *testing.T) {
	text, k := sealing(t)
	large := strings.Repeat("# a large file\n", 1<<19)
	tree := k.Tree(fstest.MapFS{
		"a/s.yaml":             {Data: []byte(text)},
		"a/kustomization.yaml": {Data: []byte(text)},
		"a/plain.txt":          {Data: []byte("sops")},
		"a/large.txt":          {Data: []byte(large)},
	})
	for name, want := range map[string]string{"a/kustomization.yaml": text, "a/plain.txt": "sops", "a/large.txt": large} {
		if got, err := fs.ReadFile(tree, name); err != nil || string(got) != want {
			t.Errorf("%s is another: %v", name, err)
		}
	}
	if got, err := fs.ReadFile(tree, "a/s.yaml"); err != nil || !strings.Contains(string(got), `token: "hunter2-hunter2"`) {
		t.Errorf("%v\n%s", err, got)
	}
	if list, err := fs.ReadDir(tree, "a"); err != nil || len(list) != 4 {
		t.Errorf("a folder: %v, %v", list, err)
	}
	is := func(name string) bool {
		_, was := tree.(interface{ Decrypted(string) ([]string, bool) }).Decrypted(name)
		return was
	}
	if !is("a/s.yaml") || is("a/kustomization.yaml") || is("a/plain.txt") {
		t.Error("what was decrypted is known, and what was not")
	}
}

// TestTreeOfMany: whoever pushes cannot keep the controller busy for hours.
func TestTreeOfMany(t *testing.T) {
	text, k := sealing(t)
	files := fstest.MapFS{}
	for i := range 1001 {
		files[fmt.Sprint(i, ".yaml")] = &fstest.MapFile{Data: []byte(text)}
	}
	tree := k.Tree(files)
	for i := range 1000 {
		if _, err := fs.ReadFile(tree, fmt.Sprint(i, ".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	var failure *sops.Failure
	_, err := fs.ReadFile(tree, "1000.yaml")
	if !errors.As(err, &failure) || failure.Code != finding.DecryptionFailed || !strings.Contains(failure.Message, "more than 1000 encrypted files") {
		t.Errorf("one more: %v", err)
	}
	if _, err := fs.ReadFile(tree, "7.yaml"); err != nil {
		t.Errorf("one that was opened before: %v", err)
	}
}
