// SPDX-License-Identifier: Apache-2.0

package check

import "github.com/espalier-dev/espalier/repo-layout/finding"

// account says where pods sign in to no registry, because nodes mount the images.
func (c *checker) account() {
	spec := c.workspace.Spec
	if spec.ServiceAccountName == "" || spec.CopiesImages() || len(spec.WithoutSecret()) == 0 || len(spec.SignedIn()) > 0 {
		return
	}
	c.warn(finding.AccountIdle, "spec.serviceAccountName", "signs in nowhere: the node mounts the images, and pulls them as itself; let the node's identity pull them, or have them copied with imageVolumes: Disabled")
}
