// SPDX-License-Identifier: Apache-2.0

// Package artifact packs the Kustomize base and its overlays as an OCI artifact of
// Flux's media types: an OCIRepository fetches it, and a Kustomization applies an
// overlay of it, where the nodes reach a registry and no Git server.
//
// The same files and annotations give the same bytes, wherever and whenever it is
// packed. It holds no image, and nothing that a cluster is told.
package artifact

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Media types, as `flux push artifact` writes and source-controller reads them.
const (
	ConfigType  types.MediaType = "application/vnd.cncf.flux.config.v1+json"
	ContentType types.MediaType = "application/vnd.cncf.flux.content.v1.tar+gzip"
)

// annotationRef is how an OCI layout says what an artifact is called.
const annotationRef = "org.opencontainers.image.ref.name"

// Folders of the repository that are packed, under the names that they have there, so
// that a Kustomization names the same path whether it follows Git or the artifact.
var Folders = []string{"deploy/base", "deploy/crd", "deploy/monitoring", "deploy/overlays", "deploy/rbac", "deploy/review"}

// Pack makes the artifact out of the root of the repository.
func Pack(root fs.FS, annotations map[string]string) (v1.Image, error) {
	content, err := archive(root)
	if err != nil {
		return nil, fmt.Errorf("packing the manifests: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), ConfigType)
	packed, err := mutate.Append(base, mutate.Addendum{Layer: static.NewLayer(content, ContentType)})
	if err != nil {
		return nil, fmt.Errorf("making the artifact: %w", err)
	}
	annotated, ok := mutate.Annotations(packed, annotations).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotating %T: it is no image", packed)
	}
	return annotated, nil
}

// archive holds every file of the folders, sorted by name, of a fixed time and mode.
func archive(root fs.FS) ([]byte, error) {
	var names []string
	for _, folder := range Folders {
		err := fs.WalkDir(root, folder, func(name string, entry fs.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				names = append(names, name)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	var content bytes.Buffer
	zip := gzip.NewWriter(&content)
	out := tar.NewWriter(zip)
	for _, name := range names {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR,
		}
		if err := out.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if _, err := out.Write(text); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return content.Bytes(), nil
}

// WriteLayout writes an OCI image layout into a folder that it makes anew. ref is the
// tag that the layout names the artifact by.
func WriteLayout(artifact v1.Image, folder, ref string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	at, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the layout of the artifact: %w", err)
	}
	if err := at.AppendImage(artifact, layout.WithAnnotations(map[string]string{annotationRef: ref})); err != nil {
		return fmt.Errorf("writing the layout of the artifact: %w", err)
	}
	return nil
}

// Push pushes the artifact to registry/repository:tag and returns the reference by
// digest. oci:// before it, as Flux writes it, is no part of the address.
func Push(ctx context.Context, artifact v1.Image, to string, keychain authn.Keychain) (string, error) {
	tag, err := name.NewTag(strings.TrimPrefix(to, "oci://"))
	if err != nil {
		return "", fmt.Errorf("%q is not a reference with a tag: %w", to, err)
	}
	err = remote.Write(tag, artifact, remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithUserAgent("espalier"))
	if err != nil {
		return "", fmt.Errorf("pushing to %s: %w", tag, err)
	}
	digest, err := artifact.Digest()
	if err != nil {
		return "", err
	}
	return tag.Context().Digest(digest.String()).String(), nil
}
