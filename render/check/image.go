// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/presets/runtimes"
)

// ownImage puts the image of the spec in the place of the pinned one. What it
// demands of a driver follows from the CUDA that it was built with; the oldest GPU
// is the pinned one's, of which it is the same version.
func (c *checker) ownImage(r runtimes.Runtime) runtimes.Runtime {
	spec := c.workspace.Spec.Runtime
	if spec == nil || spec.Image == "" {
		return r
	}
	r.Image, r.CUDA = spec.Image, spec.CUDA
	r.Requires.MinDriver = runtimes.MinDriver(spec.CUDA)
	r.Requires.Name = fmt.Sprintf("%s %s (own, CUDA %s)", r.Name, r.Version, spec.CUDA)
	return r
}

// imageOn is what the image of this version demands that a Workspace would run which names
// that size. The one that was chosen is for the driver of the sizes that it names now.
func (c *checker) imageOn(i sku.Instance) fit.Image {
	chosen := c.out.Runtime
	if spec := c.workspace.Spec.Runtime; spec != nil && spec.Image != "" {
		return chosen.Requires
	}
	if r, ok := runtimes.Lookup(chosen.Name, chosen.Version, i.Driver); ok {
		chosen = r.For(chosen.Task)
	}
	return chosen.Requires
}

// otherCUDA says what would run on a driver that is too old for every image that
// is pinned.
func (c *checker) otherCUDA(out Candidate) string {
	branch := out.Instance.DriverBranch()
	if !tooOld(out.Fit) || branch < runtimes.MinDriver("12.9") || out.Instance.Schedulable() != nil {
		return ""
	}
	return fmt.Sprintf("; an image of the same version built with CUDA 12 would run there: name it in spec.runtime.image (version %q, cuda \"12.9\")", c.out.Runtime.Version)
}
