// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"regexp"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxRuntimeImage bounds the reference in the CRD.
const maxRuntimeImage = 512

var (
	cudaVersion = regexp.MustCompile(`^1[23]\.[0-9]$`)
	byDigest    = regexp.MustCompile(`^[^\s@]+@sha256:[0-9a-f]{64}$`)
)

func (v *validator) imageVolumes(path string, i v1alpha1.ImageVolumes) {
	switch i {
	case "", v1alpha1.ImageVolumesEnabled, v1alpha1.ImageVolumesDisabled:
	default:
		v.refuse(finding.NotOneOf, path, "want Enabled, or Disabled where nodes mount no image: an init container copies it then")
		meant(v, i, v1alpha1.ImageVolumesEnabled, v1alpha1.ImageVolumesDisabled)
	}
}

// runtimeImage checks an image in the place of the pinned one: what runs is pinned
// here too, and its CUDA says which drivers can run it.
func (v *validator) runtimeImage(path string, r v1alpha1.RuntimeSpec) {
	if r.CUDA != "" && !cudaVersion.MatchString(r.CUDA) {
		v.refuse(finding.ImageInvalid, path+".cuda", "want CUDA 12 or 13 as major.minor in quotes, such as \"12.9\"")
	}
	if r.Image == "" {
		v.pinnedImage(path, r)
		return
	}
	if r.CUDA == "" {
		v.refuse(finding.ImageInvalid, path+".cuda", "say which CUDA the image was built with, such as \"12.9\": which drivers run it follows from that")
	}
	if r.Mirror != "" {
		v.refuse(finding.ImageInvalid, path+".mirror", "the image says itself where it is pulled from: remove mirror, or name the image there")
	}
	if r.Version == "" {
		v.refuse(finding.ImageInvalid, path+".version", "say which version the image holds: what it is started with is written for one version")
	}
	v.shorter(path+".image", r.Image, maxRuntimeImage)
	if v.image(path+".image", r.Image, imageRead); !byDigest.MatchString(r.Image) && !strings.Contains(r.Image, "<") {
		v.refuse(finding.ImageInvalid, path+".image", "name it by digest, as @sha256: and 64 hex digits: everything that runs is pinned")
	}
}

// pinnedImage checks a runtime whose image is left to the pins.
func (v *validator) pinnedImage(path string, r v1alpha1.RuntimeSpec) {
	switch {
	case r.Name == "kaito":
		v.refuse(finding.ImageInvalid, path+".image", "no digest of KAITO's base image is known here: name the image by digest, with its version and cuda")
	case r.CUDA != "":
		v.refuse(finding.ImageInvalid, path+".image", "cuda is set and belongs to an image: name it, or remove cuda")
	}
}
