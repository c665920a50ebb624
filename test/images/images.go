// SPDX-License-Identifier: Apache-2.0

// Package images reads, for tests, what a registry holds: by the way of anybody who has the
// name of an image and no key. It writes nothing.
package images

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Annotations of the index that a tag or a digest names.
func Annotations(t *testing.T, image string) map[string]string {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(ref)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest.Annotations
}
