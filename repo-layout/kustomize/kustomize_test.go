// SPDX-License-Identifier: Apache-2.0

package kustomize_test

import (
	"bytes"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// TestReleased: a copy in a repository is known by its content. Whoever changes
// one of the files adds its checksum to released.txt and keeps the old ones:
//
//	sha256sum names.yaml merge-keys.yaml >> released.txt
func TestReleased(t *testing.T) {
	if !kustomize.IsNames(kustomize.Names()) || !kustomize.IsSchema(kustomize.Schema()) {
		t.Error("released.txt does not have the files as they are")
	}
	if kustomize.IsNames(kustomize.Schema()) || kustomize.IsSchema(append(kustomize.Schema(), '\n')) || kustomize.IsSchema(nil) {
		t.Error("another content is not known")
	}
}

// TestCopies: what is handed out can be changed without harm.
func TestCopies(t *testing.T) {
	names := kustomize.Names()
	clear(names)
	if bytes.Equal(names, kustomize.Names()) {
		t.Error("a caller changed the built-in configuration")
	}
}
