// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/espalier-dev/espalier/reconciler/registry"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// maxListed is the number of data files whose sums are listed one by one: annotations are
// in every manifest of the image, which registries bound to 4 MiB.
const maxListed = 64

// Trained are the annotations that say which data an adapter was trained on, by the
// SHA-256 of the files in hex.
func Trained(sums map[string]string) map[string]string {
	if len(sums) == 0 {
		return nil
	}
	all := sha256.New()
	listed := map[string]string{}
	for _, file := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(all, "%s  %s\n", sums[file], file)
		listed[file] = "sha256:" + sums[file]
	}
	annotations := map[string]string{repolayout.AnnotationDataDigest: "sha256:" + hex.EncodeToString(all.Sum(nil))}
	if text, err := json.Marshal(listed); err == nil && len(listed) <= maxListed {
		annotations[repolayout.AnnotationDataFiles] = string(text)
	}
	return annotations
}

// image is the image to push. Where the tag holds one that differs in nothing but the
// commit it is that: the same adapter of the same inputs keeps its digest, and who serves
// it has nothing to change.
func (o Options) image(ctx context.Context, ref name.Tag, files adapterFiles, packed *layer) (v1.ImageIndex, error) {
	index, err := build(files, packed, o.Annotations)
	if err != nil || o.Annotations[repolayout.AnnotationCommit] == "" {
		return index, err
	}
	there := o.there(ctx, ref)
	if there == nil {
		return index, nil
	}
	again := maps.Clone(o.Annotations)
	again[repolayout.AnnotationCommit] = there.Annotations[repolayout.AnnotationCommit]
	same, err := build(files, packed, again)
	if err != nil {
		return nil, err
	}
	digest, err := same.Digest()
	if err != nil || !strings.HasSuffix(there.Reference, "@"+digest.String()) {
		return index, err
	}
	say(o.Progress, "%s holds this adapter already, of commit %s: it keeps its digest", ref, again[repolayout.AnnotationCommit])
	return same, nil
}

// lookFor is how long a look at the tag may take, which saves a digest and no more.
const lookFor = time.Minute

// there is what the tag holds, nil where it holds nothing or does not say. It is asked once:
// an adapter that was paid for is pushed whatever is answered.
func (o Options) there(ctx context.Context, ref name.Tag) *registry.Tag {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	tag, err := registry.Client{Transport: o.transport()}.Look(ctx, ref.Name(), o.keys())
	if err != nil {
		say(o.Progress, "%s does not say what it holds, so that the image gets the commit of this run: %v", ref, err)
		return nil
	}
	return tag
}
