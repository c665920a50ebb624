// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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

// cycloneDX is the media type of a list of materials.
const cycloneDX types.MediaType = "application/vnd.cyclonedx+json"

// annotationRef is how an OCI layout says what an image is called; containerd and
// Docker take the name from it.
const annotationRef = "org.opencontainers.image.ref.name"

// Digest of the index.
func (i *Image) Digest() (v1.Hash, error) { return i.Index.Digest() }

// WriteLayout writes an OCI image layout into a folder that it makes anew. ref is
// the tag that the layout names the image by.
func (i *Image) WriteLayout(folder, ref string) error {
	if err := os.RemoveAll(folder); err != nil {
		return err
	}
	at, err := layout.Write(folder, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the image layout: %w", err)
	}
	err = at.AppendIndex(i.Index, layout.WithAnnotations(map[string]string{annotationRef: ref}))
	if err != nil {
		return fmt.Errorf("writing the image layout: %w", err)
	}
	return nil
}

// Pack writes a folder into a tar file, sorted by name and of a fixed time: of an
// image layout that is what `docker load`, `podman load` and `ctr images import`
// take.
func Pack(folder, into string) (err error) {
	out, err := os.Create(into)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := tar.NewWriter(out)
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == folder {
			return err
		}
		return pack(w, folder, path, entry)
	})
	if err != nil {
		return fmt.Errorf("packing %s: %w", folder, err)
	}
	return w.Close()
}

func pack(w *tar.Writer, folder, path string, entry fs.DirEntry) error {
	name, err := filepath.Rel(folder, path)
	if err != nil {
		return err
	}
	name = filepath.ToSlash(name)
	if entry.IsDir() {
		h := directory(name, 0o755)
		return w.WriteHeader(&h)
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	h := file(name, 0o644)
	h.Size = info.Size()
	if err := w.WriteHeader(&h); err != nil {
		return err
	}
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(w, from)
	return err
}

// Push pushes the image to registry/repository:tag and the list of materials of
// each platform beside it, as an artifact that refers to the platform's image. It
// returns the reference by digest. Credentials are those of Docker's
// configuration file.
func (i *Image) Push(ctx context.Context, to string, keychain authn.Keychain) (string, error) {
	tag, err := name.NewTag(to)
	if err != nil {
		return "", fmt.Errorf("%q is not a reference with a tag: %w", to, err)
	}
	options := []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithUserAgent("espalier")}
	if err := remote.WriteIndex(tag, i.Index, options...); err != nil {
		return "", fmt.Errorf("pushing to %s: %w", tag, err)
	}
	for _, part := range i.Parts {
		list, err := part.materials()
		if err != nil {
			return "", err
		}
		digest, err := list.Digest()
		if err != nil {
			return "", err
		}
		if err := remote.Write(tag.Context().Digest(digest.String()), list, options...); err != nil {
			return "", fmt.Errorf("pushing the list of materials of %s: %w", part.Platform, err)
		}
	}
	digest, err := i.Digest()
	if err != nil {
		return "", err
	}
	return tag.Context().Digest(digest.String()).String(), nil
}

// materials is the artifact that holds the part's list of materials.
func (p Part) materials() (v1.Image, error) {
	subject, err := descriptor(p.Image)
	if err != nil {
		return nil, err
	}
	artifact := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), cycloneDX)
	artifact, err = mutate.AppendLayers(artifact, static.NewLayer(p.SBOM, cycloneDX))
	if err != nil {
		return nil, fmt.Errorf("packing the list of materials: %w", err)
	}
	referring, ok := mutate.Subject(artifact, *subject).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("referring from %T: it is no image", artifact)
	}
	return referring, nil
}

// descriptor points at an image.
func descriptor(img v1.Image) (*v1.Descriptor, error) {
	digest, err := img.Digest()
	if err != nil {
		return nil, err
	}
	size, err := img.Size()
	if err != nil {
		return nil, err
	}
	return &v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size}, nil
}
