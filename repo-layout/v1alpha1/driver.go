// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"regexp"
	"strconv"
	"strings"
)

// driver is as the markers of the fields have it.
var driver = regexp.MustCompile(`^[1-9][0-9]{2}(\.[0-9]{1,3}){0,2}$`)

// IsDriver says whether a text is a branch of NVIDIA's driver, as 580, or a version of it, as
// 580.95.05.
func IsDriver(version string) bool { return driver.MatchString(version) }

// OlderDriver says whether a driver is before another, as far as both say: 580 is no older
// than 580.95.05, of which it is the branch. Of "" nothing is known, which is older than any.
func OlderDriver(version, than string) bool {
	if version == "" || than == "" {
		return version == "" && than != ""
	}
	a, b := strings.Split(version, "."), strings.Split(than, ".")
	for i := range min(len(a), len(b)) {
		x, _ := strconv.Atoi(a[i]) // numbers: see IsDriver
		y, _ := strconv.Atoi(b[i])
		if x != y {
			return x < y
		}
	}
	return false
}
