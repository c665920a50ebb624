// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"fmt"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// epoch stands wherever a time is demanded: a real one would change the digest.
var epoch = v1.Time{Time: time.Unix(0, 0).UTC()}

// build makes an index of one image a platform, all of the same single layer:
// weights have no architecture, but a node pulls only what names its own.
//
// It is an image and not an OCI artifact because containerd mounts only images
// as volumes (containerd#11381).
func build(f adapterFiles, packed *layer, given map[string]string) (v1.ImageIndex, error) {
	annotations := annotate(f, given)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, arch := range []string{"amd64", "arm64"} {
		image, err := platformImage(packed, arch, annotations)
		if err != nil {
			return nil, fmt.Errorf("building the image for %s: %w", arch, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	annotated, ok := mutate.Annotations(index, annotations).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating the index: %T is no index", index)
	}
	return annotated, nil
}

// annotate joins what the adapter says of itself with what was given, which
// wins: a base model read from a local folder is named by its path in there.
func annotate(f adapterFiles, given map[string]string) map[string]string {
	all := map[string]string{}
	if f.peft.Base != "" {
		all[repolayout.AnnotationBaseModel] = f.peft.Base
	}
	if f.peft.Revision != "" {
		all[repolayout.AnnotationBaseRevision] = f.peft.Revision
	}
	maps.Copy(all, given)
	return all
}

func platformImage(layer partial.CompressedLayer, arch string, annotations map[string]string) (v1.Image, error) {
	whole, err := partial.CompressedToLayer(layer)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.Append(base, mutate.Addendum{
		Layer:   whole,
		History: v1.History{Created: epoch, CreatedBy: "espalier adapter push"},
	})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", arch, epoch
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return nil, err
	}
	annotated, ok := mutate.Annotations(image, annotations).(v1.Image)
	if !ok {
		return nil, fmt.Errorf("annotating %T: it is no image", image)
	}
	return annotated, nil
}
