// SPDX-License-Identifier: Apache-2.0

// Package image makes a container image of one static Go program, without a
// container engine: one layer with the binary, an account and /tmp, for each
// platform, below one index.
//
// The same source, settings and version of Go give the same bytes, wherever and
// whenever it is built: paths, times, owners and the environment's compiler
// settings do not get in. There is no shell, no package manager and no CA bundle
// in it: the binary brings its roots itself.
package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options say what to make an image of.
type Options struct {
	// Dir is a folder of the module.
	Dir string
	// Package is the program, relative to Dir: ./cmd/espalier.
	Package string
	// Platforms are os/architecture: linux/amd64. The first of them is what an
	// engine that knows no index would take.
	Platforms []string
	// Annotations of the index and of its images, which carry them as labels too.
	Annotations map[string]string
	// Progress gets a line before and after each platform; nil: none.
	Progress io.Writer
}

// Image is a built image.
type Image struct {
	// Index has one image a platform.
	Index v1.ImageIndex
	// Parts are the images of the index, in the order of Options.Platforms.
	Parts []Part
}

// Part is the image of one platform.
type Part struct {
	Platform v1.Platform
	Image    v1.Image
	// SBOM lists, as CycloneDX JSON, the Go modules that the binary was linked of.
	SBOM []byte
}

// epoch stands wherever a time is demanded: a real one would change the digest.
var epoch = time.Unix(0, 0).UTC()

// Build compiles the program for each platform and makes the image.
func Build(ctx context.Context, o Options) (*Image, error) {
	if len(o.Platforms) == 0 {
		return nil, errors.New("no platform to build for: name one, such as linux/amd64")
	}
	built := &Image{Index: mutate.IndexMediaType(empty.Index, types.OCIImageIndex)}
	for _, name := range o.Platforms {
		part, err := o.part(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("building %s for %s: %w", o.Package, name, err)
		}
		built.Parts = append(built.Parts, part)
		built.Index = mutate.AppendManifests(built.Index, mutate.IndexAddendum{
			Add: part.Image, Descriptor: v1.Descriptor{Platform: &part.Platform},
		})
	}
	annotated, ok := mutate.Annotations(built.Index, o.Annotations).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating %T: it is no index", built.Index)
	}
	built.Index = annotated
	return built, nil
}

func (o Options) part(ctx context.Context, name string) (Part, error) {
	platform, err := v1.ParsePlatform(name)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return Part{}, fmt.Errorf("%q is no platform: want os/architecture, such as linux/amd64", name)
	}
	binary, err := o.compile(ctx, *platform)
	if err != nil {
		return Part{}, err
	}
	sbom, err := billOfMaterials(binary, o.name(), o.Annotations)
	if err != nil {
		return Part{}, err
	}
	img, err := o.assemble(*platform, binary)
	return Part{Platform: *platform, Image: img, SBOM: sbom}, err
}

// name of the program.
func (o Options) name() string { return path.Base(o.Package) }

// assemble makes the image around a binary.
func (o Options) assemble(platform v1.Platform, binary []byte) (v1.Image, error) {
	content, err := archive(o.name(), binary)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("compressing the layer: %w", err)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.Append(base, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "deploy/image"},
	})
	if err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: epoch}
	config.Config = v1.Config{
		User:       fmt.Sprintf("%d:%d", account, account),
		Env:        []string{"PATH=/" + programs, "HOME=/" + home},
		Entrypoint: []string{"/" + path.Join(programs, o.name())},
		WorkingDir: "/",
		Labels:     maps.Clone(o.Annotations),
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(img, o.Annotations).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotating %T: it is no image", img)
	}
	return annotated, nil
}
