// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Labels of GPU feature discovery for the driver: the whole of it in newer releases, and
// its parts in all of them.
const (
	labelDriver         = "nvidia.com/cuda.driver-version.full"
	labelDriverMajor    = "nvidia.com/cuda.driver.major"
	labelDriverMinor    = "nvidia.com/cuda.driver.minor"
	labelDriverRevision = "nvidia.com/cuda.driver.rev"
)

// driverOf is the driver of a node; "" where discovery says none that can be read.
func driverOf(labels map[string]string) string {
	parts := strings.Join([]string{labels[labelDriverMajor], labels[labelDriverMinor], labels[labelDriverRevision]}, ".")
	version := cmp.Or(labels[labelDriver], strings.TrimRight(parts, "."))
	if !v1alpha1.IsDriver(version) {
		return ""
	}
	return version
}

// judgeDriver says why a node cannot be used whose driver nobody of a cloud's installs: it is
// older than Git says, and the images were chosen for that. A newer one runs them.
func (f Facts) judgeDriver(n Node) string {
	said, has := f.Pool.Spec.Driver, n.Hardware.Driver
	if said == "" || has == "" || !v1alpha1.OlderDriver(has, said) {
		return ""
	}
	return fmt.Sprintf("node %s has driver %s, and Git says that none is older than %s, which the images are chosen for: update it, or write %s in Git", n.Name, has, said, has)
}
