// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"

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

// otherCUDA says what would run on a driver that is too old for every image that
// is pinned.
func (c *checker) otherCUDA(out Candidate) string {
	branch := out.Instance.DriverBranch()
	if !tooOld(out.Fit) || branch < runtimes.MinDriver("12.9") || out.Instance.Schedulable() != nil {
		return ""
	}
	return fmt.Sprintf("; an image of the same version built with CUDA 12 would run there: name it in spec.runtime.image (version %q, cuda \"12.9\")", c.out.Runtime.Version)
}
