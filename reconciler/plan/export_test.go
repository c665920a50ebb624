// SPDX-License-Identifier: Apache-2.0

package plan

// CompareAtMost is Compare with another bound on what is rendered.
func CompareAtMost(base, head Side, most int) Plan { return compare(base, head, most, nil) }
