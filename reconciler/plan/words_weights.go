// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// weightsOf is where weights come from.
func weightsOf(w *v1alpha1.Weights) string {
	if w == nil {
		return "of the model's repository"
	}
	text := "in " + w.Place()
	if w.Stream {
		text += ", streamed"
	}
	switch {
	case w.Secret != "":
		return text + " with Secret " + w.Secret
	case w.ServiceAccountName != "":
		return text + " as " + w.ServiceAccountName
	}
	return text
}

// cacheOf is where weights are kept.
func cacheOf(c *v1alpha1.WeightCache) string {
	switch {
	case c == nil:
		return "on the node"
	case c.Claim != "" && c.Path != "":
		return "on claim " + c.Claim + ", folder " + c.Path
	case c.Claim != "":
		return "on claim " + c.Claim
	case c.StorageClass != "":
		return c.Size + " a pod of class " + c.StorageClass
	}
	return c.Size + " a pod of the cluster's class"
}

// fewest is a number of GPUs that the fit chooses where none is said.
func fewest(n int32) string {
	if n == 0 {
		return "as few as it fits"
	}
	return fmt.Sprint(n)
}

// partOf is what of nodes that exist a pool uses.
func partOf(s v1alpha1.GPUNodePoolSpec) string {
	var w []string
	if slices := s.Slices(); slices != "" && s.Existing != nil {
		w = append(w, "slices of "+slices)
	}
	if s.Existing != nil && s.Existing.GPUs > 0 {
		w = append(w, fmt.Sprintf("%d left", s.Existing.GPUs))
	}
	if len(w) == 0 {
		return "all that the candidate has"
	}
	return strings.Join(w, ", ")
}
